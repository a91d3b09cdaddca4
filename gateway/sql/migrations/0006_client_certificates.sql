-- Client certificates bound to a party: while it has one in force, its API keys work only over a connection that
-- proves one of them (mutual TLS). Only the fingerprint is kept, with what people need to recognize it.

CREATE TABLE gateway.client_certificate (
    sha256      bytea PRIMARY KEY CHECK (octet_length(sha256) = 32),    -- of the DER; one party only
    party_id    text NOT NULL REFERENCES gateway.party (id),
    subject     text NOT NULL,                                          -- RFC 4514, for people
    not_after   timestamptz NOT NULL,
    added_at    timestamptz NOT NULL,
    retired_at  timestamptz CHECK (retired_at >= added_at)
);
CREATE INDEX client_certificate_party ON gateway.client_certificate (party_id);
