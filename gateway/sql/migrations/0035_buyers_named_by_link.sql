-- A driver names the business that buys a session, by the link of its receipt.

-- What a buyer was named as, hashed: a business that is named for many sessions of a party is one buyer of it.
-- NULL: its party created it.
ALTER TABLE gateway.buyer ADD COLUMN named_sha256 bytea CHECK (length(named_sha256) = 32);
ALTER TABLE gateway.buyer ADD UNIQUE (party_id, named_sha256);

-- The link to the documents in the name of that business, for whoever named it: random, so who has it may read.
CREATE TABLE gateway.invoice_link (
    shard      smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    session_id uuid        NOT NULL,
    buyer_id   text        NOT NULL REFERENCES gateway.buyer (id),
    token      text        NOT NULL CHECK (length(token) >= 22),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (shard, session_id),
    FOREIGN KEY (shard, session_id) REFERENCES gateway.session (shard, id)
);
