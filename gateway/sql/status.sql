-- What an operator looks at first: work that waits, calls without an answer, and what needs a person.
-- Times are wall time, passed in. Counts only; no row is locked.

-- name: errands
-- Each kind of errand: how many wait, how many are overdue, the oldest of these, how many gave up.
SELECT kind,
       count(*) FILTER (WHERE parked_at IS NULL) AS waiting,
       count(*) FILTER (WHERE parked_at IS NULL AND run_at <= :wall_now) AS due,
       min(run_at) FILTER (WHERE parked_at IS NULL AND run_at <= :wall_now) AS oldest_due_at,
       count(*) FILTER (WHERE parked_at IS NOT NULL) AS parked
FROM gateway.task
GROUP BY kind
ORDER BY kind;

-- name: open_calls
-- Calls to the PSP whose outcome is not known yet.
SELECT kind, count(*) AS open, min(created_at) AS oldest_at
FROM gateway.psp_call
WHERE state IN ('intended', 'unknown')
GROUP BY kind
ORDER BY kind;

-- name: deliveries^
-- Webhooks: on their way, overdue, events not yet handed out, and endpoints that keep failing.
SELECT (SELECT count(*) FROM gateway.delivery WHERE state = 'pending') AS pending,
       (SELECT count(*) FROM gateway.delivery WHERE state = 'pending' AND next_attempt_at <= :wall_now) AS due,
       (SELECT count(*) FROM gateway.event WHERE NOT fanned_out) AS to_fan_out,
       (SELECT count(*) FROM gateway.webhook_endpoint WHERE state = 'enabled' AND failing_since IS NOT NULL)
           AS failing_endpoints;

-- name: parked_errands
-- The latest errands that gave up, newest first.
SELECT kind, id, session_id, attempts, last_error, parked_at
FROM gateway.task
WHERE parked_at IS NOT NULL
ORDER BY parked_at DESC
LIMIT :shown;
