-- How messages of an endpoint are signed, what headers go with them, in which version of the API they are, when its
-- party was warned; and each attempt to deliver with the receiver's answer.

-- The scheme of each secret: 'v1' is a shared secret, 'v1a' an Ed25519 private key whose public key stands beside it.
-- Headers are one sealed JSON object; their names are plain, so that they are shown without opening it.
ALTER TABLE gateway.webhook_endpoint
    ADD COLUMN signature text NOT NULL DEFAULT 'v1' CHECK (signature IN ('v1', 'v1a')),
    ADD COLUMN previous_signature text CHECK (previous_signature IN ('v1', 'v1a')),
    ADD COLUMN public_key bytea CHECK (octet_length(public_key) = 32),
    ADD COLUMN previous_public_key bytea CHECK (octet_length(previous_public_key) = 32),
    ADD COLUMN header_names text[] NOT NULL DEFAULT '{}',
    ADD COLUMN headers bytea CHECK (octet_length(headers) <= 16384),
    ADD COLUMN headers_encryption_key text CHECK (headers_encryption_key <> ''),
    ADD COLUMN api_version text NOT NULL DEFAULT '2026-11-30' CHECK (api_version ~ '^\d{4}-\d{2}-\d{2}$'),
    ADD COLUMN warnings smallint NOT NULL DEFAULT 0 CHECK (warnings >= 0);  -- since it has been failing

-- Each attempt to send an event to an endpoint, newest last. Times are wall time.
CREATE TABLE gateway.delivery_attempt (
    shard        smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    endpoint_id  uuid        NOT NULL,
    event_id     uuid        NOT NULL,
    id           uuid        NOT NULL,
    status       smallint,              -- HTTP status of the answer; null: none came
    error        text,                  -- why it is no acknowledgment, without what the answer said
    answer       text        CHECK (octet_length(answer) <= 1024),  -- how the answer's body begins; null: it had none
    answer_cut   boolean     NOT NULL,  -- the body was longer
    duration_ms  integer     NOT NULL CHECK (duration_ms >= 0),
    attempted_at timestamptz NOT NULL,
    PRIMARY KEY (shard, endpoint_id, event_id, id)
);
-- Rows come in the order of their time: the old ones are found by block.
CREATE INDEX delivery_attempt_age ON gateway.delivery_attempt USING brin (attempted_at);
