-- Work left by a phase, leased one shard at a time.

-- name: shards_with_tasks
SELECT DISTINCT shard FROM gateway.task
WHERE kind = :kind AND exception_at IS NULL AND run_at <= :wall_now
  AND (leased_until IS NULL OR leased_until <= :wall_now)
ORDER BY shard;

-- name: lease_tasks
UPDATE gateway.task AS t
SET leased_until = :leased_until::timestamptz, attempts = attempts + 1
FROM (
    SELECT id FROM gateway.task
    WHERE shard = :shard::smallint AND kind = :kind::text AND exception_at IS NULL AND run_at <= :wall_now::timestamptz
      AND (leased_until IS NULL OR leased_until <= :wall_now::timestamptz)
    ORDER BY run_at
    LIMIT :batch::int
    FOR UPDATE SKIP LOCKED
) AS due
WHERE t.shard = :shard::smallint AND t.id = due.id
RETURNING t.*;

-- name: add_task!
INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
VALUES (:shard, :id, :kind, :session_id, :payload, :run_at)
ON CONFLICT DO NOTHING;

-- name: finish_tasks!
DELETE FROM gateway.task WHERE (shard, id) IN (SELECT * FROM unnest(:shards::smallint[], :ids::uuid[]));

-- name: postpone_task!
UPDATE gateway.task SET leased_until = NULL, run_at = :run_at, last_error = :reason
WHERE shard = :shard AND id = :id;

-- name: mark_exception!
UPDATE gateway.task SET leased_until = NULL, exception_at = :wall_now, last_error = :reason
WHERE shard = :shard AND id = :id;
