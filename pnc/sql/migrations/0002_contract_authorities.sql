-- Which authorities below a root may issue contract certificates: one V2G root also certifies the authorities of
-- charging stations, vehicle makers and provisioning services.

-- An authority is named by the SHA-256 of its public key's bits, which OCPP calls issuerKeyHash; it is the same
-- whichever certificate vouches for the authority.
CREATE TABLE pnc.contract_authority (
    environment   text        NOT NULL,
    anchor_sha256 bytea       NOT NULL,
    key_sha256    bytea       NOT NULL CHECK (octet_length(key_sha256) = 32),
    subject       text        NOT NULL DEFAULT '',  -- RFC 4514, for people; empty when only the hash was given
    added_at      timestamptz NOT NULL,
    PRIMARY KEY (environment, anchor_sha256, key_sha256),
    FOREIGN KEY (environment, anchor_sha256) REFERENCES pnc.trust_anchor
);

ALTER TABLE pnc.trust_event DROP CONSTRAINT trust_event_kind_check;
ALTER TABLE pnc.trust_event ADD CONSTRAINT trust_event_kind_check CHECK (kind IN (
    'anchor_added', 'anchor_retired', 'policy_changed', 'cross_certificate_added', 'cross_certificate_retired',
    'endpoint_allowed', 'endpoint_removed', 'contract_authority_allowed', 'contract_authority_removed'));
