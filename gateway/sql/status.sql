-- What an operator looks at first: open work, PSP requests without an answer, and exceptions.
-- Times are wall time, passed in. Counts only; no row is locked.

-- name: tasks
-- Each kind of task: how many wait, how many are overdue, the oldest of these, how many stopped.
SELECT kind,
       count(*) FILTER (WHERE exception_at IS NULL) AS waiting,
       count(*) FILTER (WHERE exception_at IS NULL AND run_at <= :wall_now) AS due,
       min(run_at) FILTER (WHERE exception_at IS NULL AND run_at <= :wall_now) AS oldest_due_at,
       count(*) FILTER (WHERE exception_at IS NOT NULL) AS exceptions
FROM gateway.task
GROUP BY kind
ORDER BY kind;

-- name: open_psp_requests
-- Requests to the PSP whose outcome is not known yet.
SELECT kind, count(*) AS open, min(created_at) AS oldest_at
FROM gateway.psp_request
WHERE state IN ('intended', 'unknown')
GROUP BY kind
ORDER BY kind;

-- name: deliveries^
-- Webhooks: on their way, overdue, events not yet handed out, and endpoints that keep failing.
SELECT (SELECT count(*) FROM gateway.delivery WHERE state = 'pending') AS pending,
       (SELECT count(*) FROM gateway.delivery WHERE state = 'pending'
            AND coalesce(next_attempt_at, created_at) <= :wall_now) AS due,
       (SELECT count(*) FROM gateway.event WHERE NOT fanned_out) AS to_fan_out,
       (SELECT count(*) FROM gateway.webhook_endpoint WHERE state = 'enabled' AND failing_since IS NOT NULL)
           AS failing_endpoints;

-- name: oldest_pending_delivery$
SELECT min(created_at) FROM gateway.delivery WHERE state = 'pending';

-- name: holds_ending$
-- Card holds that end by `before` and are not captured, also those that have ended and were not checked since.
SELECT count(*) FROM gateway.payment_authorization WHERE state = 'authorized' AND capture_before <= :before;
