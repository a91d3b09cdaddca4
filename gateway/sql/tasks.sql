-- Work left by a phase, leased one lane at a time.

-- name: lanes_with_tasks
SELECT DISTINCT lane FROM gateway.task
WHERE kind = :kind AND parked_at IS NULL AND run_at <= :wall_now
  AND (leased_until IS NULL OR leased_until <= :wall_now)
ORDER BY lane;

-- name: lease_tasks
UPDATE gateway.task AS t
SET leased_until = :leased_until::timestamptz, attempts = attempts + 1
FROM (
    SELECT id FROM gateway.task
    WHERE lane = :lane::smallint AND kind = :kind::text AND parked_at IS NULL AND run_at <= :wall_now::timestamptz
      AND (leased_until IS NULL OR leased_until <= :wall_now::timestamptz)
    ORDER BY run_at
    LIMIT :batch::int
    FOR UPDATE SKIP LOCKED
) AS due
WHERE t.lane = :lane::smallint AND t.id = due.id
RETURNING t.*;

-- name: lock_tasks
-- The same choice held by row locks until the transaction ends, for work that is one transaction.
SELECT * FROM gateway.task
WHERE lane = :lane AND kind = :kind AND parked_at IS NULL AND run_at <= :wall_now
  AND (leased_until IS NULL OR leased_until <= :wall_now)
ORDER BY run_at
LIMIT :batch
FOR UPDATE SKIP LOCKED;

-- name: add_task!
INSERT INTO gateway.task (lane, id, kind, session_id, payload, run_at)
VALUES (:lane, :id, :kind, :session_id, :payload, :run_at)
ON CONFLICT DO NOTHING;

-- name: finish_task!
DELETE FROM gateway.task WHERE lane = :lane AND id = :id;

-- name: finish_tasks!
DELETE FROM gateway.task WHERE (lane, id) IN (SELECT * FROM unnest(:lanes::smallint[], :ids::uuid[]));

-- name: postpone_task!
UPDATE gateway.task SET leased_until = NULL, run_at = :run_at, last_error = :reason
WHERE lane = :lane AND id = :id;

-- name: park_task!
UPDATE gateway.task SET leased_until = NULL, parked_at = :wall_now, last_error = :reason
WHERE lane = :lane AND id = :id;
