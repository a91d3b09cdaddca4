-- What the gateway holds open at the end of a period.

-- name: waiting_captures^
-- Captured before the end of the period and not cleared yet; those that stopped are exceptions.
SELECT count(*) AS sessions, min(c.captured_at) AS since FROM gateway.capture AS c
JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id
WHERE c.state = 'succeeded' AND s.state = 'completed' AND c.captured_at < :until;
