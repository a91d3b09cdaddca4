-- Links to the receipts of sessions.

-- name: receipt_token$
-- The token of a session's receipt: the first one stays.
WITH added AS (
    INSERT INTO gateway.receipt_link (shard, session_id, token, created_at)
    VALUES (:shard::smallint, :session_id::uuid, :token::text, :now::timestamptz)
    ON CONFLICT (shard, session_id) DO NOTHING
    RETURNING token
)
SELECT token FROM added
UNION ALL
SELECT token FROM gateway.receipt_link WHERE shard = :shard::smallint AND session_id = :session_id::uuid
LIMIT 1;

-- name: known_receipt_token$
SELECT token FROM gateway.receipt_link WHERE shard = :shard AND session_id = :session_id;
