-- A link to what a session cost, for the driver at the station: OCPP's receiptUrl, shown as a QR code. It names no
-- driver and no party.
CREATE TABLE gateway.receipt_link (
    shard      smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    session_id uuid        NOT NULL,
    token      text        NOT NULL CHECK (length(token) >= 22),  -- random: who has it may read
    created_at timestamptz NOT NULL,
    PRIMARY KEY (shard, session_id),
    FOREIGN KEY (shard, session_id) REFERENCES gateway.session (shard, id)
);
