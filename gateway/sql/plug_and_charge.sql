-- name: ended_sessions
-- Of the given authorizations, those whose session has its CDR or no authorization left that could be captured.
SELECT a.id
FROM unnest(:shards::smallint[], :ids::uuid[]) AS wanted (shard, id)
JOIN gateway.payment_authorization a ON a.shard = wanted.shard AND a.id = wanted.id
JOIN gateway.session s ON s.shard = a.shard AND s.id = a.session_id
WHERE s.state <> 'active' OR NOT EXISTS (
    SELECT FROM gateway.payment_authorization other
    WHERE other.shard = s.shard AND other.session_id = s.id AND other.state NOT IN ('voided', 'failed'));
