-- What each daily audit had proved when it ended.

-- Up to where everything was proved, with all figures of the books at that place; a row is never changed. The hash
-- covers content, sequence, instant, shares and the hash before.
CREATE TABLE clearing.audit_checkpoint (
    sequence       bigint      PRIMARY KEY CHECK (sequence >= 1),
    sealed_at      timestamptz NOT NULL,  -- wall time
    shares         smallint    NOT NULL CHECK (shares BETWEEN 1 AND 366),  -- runs in which all older rows are proved again
    content        text        NOT NULL CHECK (content IS JSON OBJECT),    -- text, because its very bytes are hashed
    content_sha256 bytea       NOT NULL CHECK (length(content_sha256) = 32),
    previous_hash  bytea       NOT NULL CHECK (length(previous_hash) = 32),  -- 32 zero bytes at sequence 1
    hash           bytea       NOT NULL CHECK (length(hash) = 32)
);
