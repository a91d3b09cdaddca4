-- Work left by a phase, leased one shard at a time. The shard's fencing number says who may lease; after that the row's
-- own lease counts: what ends it compares its time and the number of the attempt.

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
  AND EXISTS (SELECT 1 FROM gateway.shard_lease AS l WHERE l.shard = :shard::smallint AND l.fence = :fence::bigint)
RETURNING t.*;

-- name: add_task!
INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
VALUES (:shard, :id, :kind, :session_id, :payload, :run_at)
ON CONFLICT DO NOTHING;

-- name: finish_tasks!
-- What another worker has leased since is left to it.
DELETE FROM gateway.task AS t USING unnest(:shards::smallint[], :ids::uuid[], :leases::timestamptz[], :attempts::integer[])
    AS done (shard, id, leased_until, attempts)
WHERE t.shard = done.shard AND t.id = done.id AND t.attempts = done.attempts  -- shards of t
  AND t.leased_until IS NOT DISTINCT FROM done.leased_until;

-- name: give_back_tasks!
-- Leased and not begun: due as before, and no attempt.
UPDATE gateway.task AS t SET leased_until = NULL, attempts = t.attempts - 1
FROM unnest(:ids::uuid[], :leases::timestamptz[], :attempts::integer[]) AS given (id, leased_until, attempts)
WHERE t.shard = :shard::smallint AND t.id = given.id AND t.attempts = given.attempts
  AND t.leased_until IS NOT DISTINCT FROM given.leased_until;

-- name: postpone_task!
UPDATE gateway.task SET leased_until = NULL, run_at = :run_at, last_error = :reason
WHERE shard = :shard AND id = :id AND attempts = :attempts
  AND leased_until IS NOT DISTINCT FROM :leased_until::timestamptz;

-- name: mark_exception!
UPDATE gateway.task SET leased_until = NULL, exception_at = :wall_now, last_error = :reason
WHERE shard = :shard AND id = :id AND attempts = :attempts
  AND leased_until IS NOT DISTINCT FROM :leased_until::timestamptz;
