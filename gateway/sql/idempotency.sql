-- A key that is claimed by itself, and its answer, leave the flush to the next durable commit: the work between them
-- commits durably, and the log is sequential, so a row that matters is on disk no later than the work it guards. A
-- stored answer that a crash takes away is made again by running the same request with the same resource id. Authorize
-- and complete have both in their own first and last statements (payments.sql, psp_requests.sql).

-- A new row; none where the key is in use.
-- name: claim$
WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS value)
INSERT INTO gateway.idempotency_key (shard, party_id, key, request_hash, resource_id, locked_until, created_at)
SELECT :shard::smallint, :party_id::text, :key::text, :request_hash::bytea, :resource_id::uuid,
       :locked_until::timestamptz, :now::timestamptz
FROM relaxed WHERE relaxed.value = 'off'
ON CONFLICT DO NOTHING
RETURNING true;

-- The key, in whichever shard it was used.
-- name: find^
SELECT shard, request_hash, resource_id, locked_until, status, headers, body
FROM gateway.idempotency_key WHERE party_id = :party_id AND key = :key
ORDER BY shard = :shard DESC LIMIT 1;

-- A key whose holder went away: same request, no answer, lock passed.
-- name: take_over$
UPDATE gateway.idempotency_key SET locked_until = :locked_until::timestamptz
WHERE shard = :shard::smallint AND party_id = :party_id::text AND key = :key::text AND status IS NULL
  AND request_hash = :request_hash::bytea AND (locked_until IS NULL OR locked_until < :now::timestamptz)
RETURNING resource_id;

-- The first answer is final; no row where the key has one.
-- name: store_answer$
WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS value)
UPDATE gateway.idempotency_key
SET status = :status::smallint, headers = :headers::jsonb, body = :body::bytea, locked_until = NULL
FROM relaxed
WHERE relaxed.value = 'off' AND shard = :shard AND party_id = :party_id AND key = :key AND status IS NULL
RETURNING true;

-- name: unlock!
UPDATE gateway.idempotency_key SET locked_until = NULL
WHERE shard = :shard AND party_id = :party_id AND key = :key AND status IS NULL AND locked_until = :locked_until;

-- Its holder is at work: nobody else takes the key over.
-- name: renew$
UPDATE gateway.idempotency_key SET locked_until = :renewed_until::timestamptz
WHERE shard = :shard AND party_id = :party_id AND key = :key AND status IS NULL
  AND locked_until = :locked_until::timestamptz
RETURNING true;

-- name: free!
DELETE FROM gateway.idempotency_key
WHERE shard = :shard AND party_id = :party_id AND key = :key AND status IS NULL AND locked_until = :locked_until;

-- name: sweep!
DELETE FROM gateway.idempotency_key
WHERE (shard, party_id, key) IN (
    SELECT shard, party_id, key FROM gateway.idempotency_key
    WHERE created_at < :older_than AND (status IS NOT NULL OR locked_until IS NULL OR locked_until < :older_than)
    ORDER BY created_at LIMIT :limit
);
