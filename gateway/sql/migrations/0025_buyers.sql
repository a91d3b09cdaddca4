-- Businesses that buy charging sessions, by the party that brings them, and whose invoice a session's is.

-- A buyer of a party. Its name, address and VAT id are in clearing, under the same id.
CREATE TABLE gateway.buyer (
    id         text        PRIMARY KEY,
    party_id   text        NOT NULL REFERENCES gateway.party (id),
    created_at timestamptz NOT NULL
);
CREATE INDEX buyer_party ON gateway.buyer (party_id, id);

-- Who buys a session. Set before it is cleared: its VAT is decided by it.
CREATE TABLE gateway.session_buyer (
    shard      smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    session_id uuid        NOT NULL,
    buyer_id   text        NOT NULL REFERENCES gateway.buyer (id),
    set_at     timestamptz NOT NULL,
    PRIMARY KEY (shard, session_id),
    CHECK (shard = (get_byte(uuid_send(session_id), 15) & 63))
);
