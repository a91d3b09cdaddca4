-- The calls of each credentials handshake with what was answered, for whoever connects two platforms; no token.
CREATE TABLE gateway.ocpi_handshake_step (
    id          uuid        PRIMARY KEY,  -- UUIDv7: the order of the calls
    party_id    text        NOT NULL REFERENCES gateway.party (id),
    direction   text        NOT NULL CHECK (direction IN ('received', 'sent')),
    method      text        NOT NULL,
    url         text        NOT NULL,     -- without a query
    http_status smallint,                 -- of the answer; null: there was none
    ocpi_status smallint,                 -- of the answer's envelope; null: it had none
    message     text        NOT NULL,     -- what was wrong, or what was agreed
    occurred_at timestamptz NOT NULL      -- wall time
);
CREATE INDEX ocpi_handshake_step_party ON gateway.ocpi_handshake_step (party_id, id);
