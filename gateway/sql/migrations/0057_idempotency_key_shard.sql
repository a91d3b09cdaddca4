-- An Idempotency-Key lies where its session does, so that the claim is part of the session's first statement and the
-- answer part of its last. The default is for the release before, which names no shard; a key is found by its party and
-- text as long as these alone are the primary key. A distributed database has (shard, party_id, key) instead.
ALTER TABLE gateway.idempotency_key
    ADD COLUMN shard smallint NOT NULL DEFAULT 0 CHECK (shard BETWEEN 0 AND 63);
