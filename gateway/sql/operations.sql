-- What the night shift looks at: unknown outcomes, processes at the database, throughput. Nothing is locked.

-- name: unknown_outcomes
-- Requests to the PSP whose outcome is not known, the oldest first, with what is at stake; those after one.
SELECT p.id, p.kind, p.state, p.amount_minor, a.currency, p.created_at, p.attempts, p.next_attempt_at, p.session_id,
       p.shard
FROM gateway.psp_request AS p
JOIN gateway.payment_authorization AS a ON a.shard = p.shard AND a.id = p.authorization_id
WHERE p.state IN ('intended', 'unknown')
  AND (:after_id::uuid IS NULL
       OR (p.created_at, p.shard, p.id) > (:after_at::timestamptz, :after_shard::smallint, :after_id::uuid))
ORDER BY p.created_at, p.shard, p.id LIMIT :limit;

-- name: processes
-- Who is connected to this database, by the name that each process gives itself. A pooler shows itself instead.
SELECT application_name AS name, count(*) AS connections, count(*) FILTER (WHERE state = 'active') AS active,
       min(backend_start) AS since
FROM pg_stat_activity
WHERE datname = current_database() AND application_name <> '' AND backend_type = 'client backend'
GROUP BY application_name ORDER BY application_name LIMIT 50;

-- name: throughput
-- Captures and failed payments of each minute.
SELECT minute, sum(captured)::bigint AS captured, sum(failed)::bigint AS failed
FROM (
    SELECT date_trunc('minute', c.captured_at) AS minute, count(*) AS captured, 0 AS failed
    FROM gateway.capture AS c WHERE c.state = 'succeeded' AND c.captured_at >= :since AND c.captured_at < :until
    GROUP BY 1
    UNION ALL
    SELECT date_trunc('minute', a.created_at), 0, count(*)
    FROM gateway.payment_authorization AS a
    WHERE a.state = 'failed' AND a.created_at >= :since AND a.created_at < :until GROUP BY 1
) AS each GROUP BY minute ORDER BY minute;
