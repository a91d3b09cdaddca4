-- The leases of the shards, and the work that is due in those of one worker. Nothing here waits for a lock of another
-- worker but `take_shards`, which locks in the order of the shards.

-- name: keep_worker!
INSERT INTO gateway.worker (id, name, started_at, until)
VALUES (:id::uuid, :name::text, :wall_now::timestamptz, :until::timestamptz)
ON CONFLICT (id) DO UPDATE SET until = excluded.until;

-- name: delete_workers!
-- A worker that ends; and those that ended without a word long ago.
DELETE FROM gateway.worker WHERE id = :id::uuid OR until < :gone_before::timestamptz;

-- name: list_workers
SELECT id, name, started_at, until FROM gateway.worker WHERE until > :wall_now::timestamptz ORDER BY id;

-- name: list_leases
SELECT shard, owner, until, fence, taken_over FROM gateway.shard_lease ORDER BY shard;

-- name: renew_shards
UPDATE gateway.shard_lease SET until = :until::timestamptz WHERE owner = :owner::uuid RETURNING shard, fence;

-- name: take_shards
-- Shards that nobody owns, or whose lease has ended; in the order of the shards, so that two workers never wait for each
-- other.
INSERT INTO gateway.shard_lease AS l (shard, owner, until, fence)
SELECT given.shard, :owner::uuid, :until::timestamptz, 1 FROM unnest(:shards::smallint[]) AS given (shard)
ORDER BY given.shard
ON CONFLICT (shard) DO UPDATE SET owner = excluded.owner, until = excluded.until, fence = l.fence + 1,
    taken_over = l.taken_over + (l.owner IS NOT NULL)::integer
WHERE l.owner IS NULL OR l.until <= :wall_now::timestamptz
RETURNING l.shard, l.fence;

-- name: take_shards_by_node
-- The same of a distributed database, which lets one statement of many shards wait for another before it locks any.
UPDATE gateway.shard_lease SET owner = :owner::uuid, until = :until::timestamptz, fence = fence + 1,
    taken_over = taken_over + (owner IS NOT NULL)::integer
WHERE shard = ANY (:shards::smallint[]) AND (owner IS NULL OR until <= :wall_now::timestamptz)
RETURNING shard, fence;

-- name: give_back_shards!
UPDATE gateway.shard_lease SET owner = NULL, until = :wall_now::timestamptz, fence = fence + 1
WHERE owner = :owner::uuid AND shard = ANY (:shards::smallint[]);

-- name: find_due_work
-- The earliest due time of each kind of work in each shard that the worker still owns, or in any (`owner` null); null:
-- nothing. What is leased is left out. One index lookup for each kind and shard, however much is due. Events and deliveries have no due time of
-- use: they are due now, or not listed.
SELECT l.shard,
    (SELECT t.run_at FROM gateway.task AS t
     WHERE t.shard = l.shard AND t.kind = 'complete_session' AND t.exception_at IS NULL
       AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz)
     ORDER BY t.run_at LIMIT 1) AS complete_session,
    (SELECT t.run_at FROM gateway.task AS t
     WHERE t.shard = l.shard AND t.kind = 'capture_session' AND t.exception_at IS NULL
       AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz)
     ORDER BY t.run_at LIMIT 1) AS capture_session,
    (SELECT t.run_at FROM gateway.task AS t
     WHERE t.shard = l.shard AND t.kind = 'charge_residual' AND t.exception_at IS NULL
       AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz)
     ORDER BY t.run_at LIMIT 1) AS charge_residual,
    (SELECT t.run_at FROM gateway.task AS t
     WHERE t.shard = l.shard AND t.kind = 'clear_session' AND t.exception_at IS NULL
       AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz)
     ORDER BY t.run_at LIMIT 1) AS clear_session,
    (SELECT t.run_at FROM gateway.task AS t
     WHERE t.shard = l.shard AND t.kind = 'book_correction' AND t.exception_at IS NULL
       AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz)
     ORDER BY t.run_at LIMIT 1) AS book_correction,
    (SELECT t.run_at FROM gateway.task AS t
     WHERE t.shard = l.shard AND t.kind = 'handle_psp_event' AND t.exception_at IS NULL
       AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz)
     ORDER BY t.run_at LIMIT 1) AS handle_psp_event,
    (SELECT t.run_at FROM gateway.task AS t
     WHERE t.shard = l.shard AND t.kind = 'settle_unbooked_charge' AND t.exception_at IS NULL
       AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz)
     ORDER BY t.run_at LIMIT 1) AS settle_unbooked_charge,
    (SELECT r.next_attempt_at FROM gateway.psp_request AS r
     WHERE r.shard = l.shard AND r.state IN ('intended', 'unknown')
     ORDER BY r.next_attempt_at LIMIT 1) AS outcome_resolution,
    (SELECT :wall_now::timestamptz FROM gateway.event AS e
     WHERE e.shard = l.shard AND NOT e.fanned_out
     ORDER BY e.id LIMIT 1) AS event_fan_out,
    (SELECT :wall_now::timestamptz FROM gateway.delivery AS d
     WHERE d.shard = l.shard AND d.state = 'pending'
       AND (d.next_attempt_at IS NULL OR d.next_attempt_at <= :wall_now::timestamptz)
       AND (d.leased_until IS NULL OR d.leased_until < :wall_now::timestamptz)
     ORDER BY d.endpoint_id LIMIT 1) AS webhook_delivery,
    -- Its deliveries were written with it. Deliveries to a receiver that is away are in every shard: they say nothing new.
    (SELECT :wall_now::timestamptz FROM gateway.event AS e
     WHERE e.shard = l.shard AND e.id > :young::uuid
     ORDER BY e.id DESC LIMIT 1) AS new_event
FROM gateway.shard_lease AS l
WHERE l.shard = ANY (:shards::smallint[]) AND (:owner::uuid IS NULL OR l.owner = :owner::uuid);

-- name: notify_of_work^
-- Wakes the workers that listen. Nothing waits for the disk: what is lost is found at the next look.
SELECT set_config('synchronous_commit', 'off', true), pg_notify(:channel::text, :sender::text);
