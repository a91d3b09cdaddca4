-- name: insert_endpoint!
INSERT INTO gateway.webhook_endpoint (id, party_id, url, event_types, secret, created_at)
VALUES (:id, :party_id, :url, :event_types, :secret, :created_at)
ON CONFLICT (id) DO NOTHING;

-- name: count_endpoints$
SELECT count(*) FROM gateway.webhook_endpoint WHERE party_id = :party_id AND state <> 'deleted';

-- name: select_endpoint^
SELECT id, party_id, url, event_types, secret, previous_secret, previous_secret_until, state, disabled_reason,
       failing_since, failures_in_a_row, resume_at, created_at
FROM gateway.webhook_endpoint
WHERE id = :id AND state <> 'deleted' AND (:party_id::text IS NULL OR party_id = :party_id);

-- name: list_endpoints
SELECT id, party_id, url, event_types, secret, previous_secret, previous_secret_until, state, disabled_reason,
       failing_since, failures_in_a_row, resume_at, created_at
FROM gateway.webhook_endpoint
WHERE state <> 'deleted' AND (:party_id::text IS NULL OR party_id = :party_id)
  AND (:before::uuid IS NULL OR id < :before)
ORDER BY id DESC LIMIT :limit;

-- A change of address, or being enabled again, gives the endpoint a fresh start.
-- name: update_endpoint^
UPDATE gateway.webhook_endpoint
SET url = coalesce(:url, url), event_types = coalesce(:event_types, event_types),
    state = coalesce(:state, state),
    disabled_reason = CASE WHEN coalesce(:state, state) = 'disabled'
        THEN coalesce(disabled_reason, 'disabled by its owner') END,
    failing_since = CASE WHEN coalesce(:state, state) = 'enabled' THEN NULL ELSE failing_since END,
    failures_in_a_row = CASE WHEN coalesce(:state, state) = 'enabled' THEN 0 ELSE failures_in_a_row END,
    resume_at = CASE WHEN coalesce(:state, state) = 'enabled' THEN NULL ELSE resume_at END
WHERE id = :id AND state <> 'deleted'
RETURNING id;

-- The old secret signs beside the new one until the overlap ends; an earlier one ends now.
-- name: rotate_secret^
UPDATE gateway.webhook_endpoint
SET previous_secret = secret, previous_secret_until = :until, secret = :secret
WHERE id = :id AND state <> 'deleted' AND secret <> :secret
RETURNING id;

-- name: delete_endpoint^
WITH gone AS (
    UPDATE gateway.webhook_endpoint SET state = 'deleted', disabled_reason = NULL
    WHERE id = :id AND state <> 'deleted' RETURNING id
), abandoned AS (
    UPDATE gateway.delivery SET state = 'abandoned', next_attempt_at = NULL, leased_until = NULL
    WHERE endpoint_id IN (SELECT id FROM gone) AND state = 'pending'
)
SELECT id FROM gone;

-- Lanes with events that no endpoint has been asked about.
-- name: lanes_to_fan_out
SELECT n::smallint AS lane FROM generate_series(0, 63) AS n
WHERE EXISTS (SELECT FROM gateway.event e WHERE e.lane = n AND NOT e.fanned_out);

-- One statement: events are marked and their deliveries exist, or neither.
-- name: fan_out$
WITH batch AS (
    SELECT lane, id, party_id, type, object_id FROM gateway.event
    WHERE lane = :lane AND NOT fanned_out
    ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED
), marked AS (
    UPDATE gateway.event e SET fanned_out = true FROM batch
    WHERE e.lane = :lane AND e.lane = batch.lane AND e.id = batch.id
), made AS (
    INSERT INTO gateway.delivery (lane, endpoint_id, event_id, object_id, state, next_attempt_at, created_at)
    SELECT batch.lane, w.id, batch.id, batch.object_id, 'pending', :wall_now::timestamptz, :wall_now::timestamptz
    FROM batch
    JOIN gateway.webhook_endpoint w ON w.party_id = batch.party_id AND w.state <> 'deleted'
        AND (w.event_types && ARRAY['*', batch.type])
    ON CONFLICT (lane, endpoint_id, event_id) DO NOTHING
)
SELECT count(*) FROM batch;

-- Lanes, and in each the endpoints that may be called and have something due. The recursion jumps from one pair of
-- lane and endpoint to the next along the index, so its cost is the number of pairs and not of deliveries; the
-- scalar subquery with its ORDER BY holds the planner to the index, where EXISTS would scan.
-- name: due
WITH RECURSIVE pairs AS (
    (SELECT d.lane, d.endpoint_id FROM gateway.delivery d WHERE d.state = 'pending'
     ORDER BY d.lane, d.endpoint_id LIMIT 1)
    UNION ALL
    SELECT later.lane, later.endpoint_id
    FROM pairs
    CROSS JOIN LATERAL (
        SELECT d.lane, d.endpoint_id FROM gateway.delivery d
        WHERE d.state = 'pending' AND (d.lane, d.endpoint_id) > (pairs.lane, pairs.endpoint_id)
        ORDER BY d.lane, d.endpoint_id LIMIT 1
    ) later
)
SELECT pairs.lane, array_agg(pairs.endpoint_id) AS endpoints
FROM pairs JOIN gateway.webhook_endpoint w ON w.id = pairs.endpoint_id
WHERE w.state = 'enabled' AND (w.resume_at IS NULL OR w.resume_at <= :wall_now)
  AND w.id <> ALL (:busy::uuid[])
  AND (
      SELECT true FROM gateway.delivery d
      WHERE d.lane = pairs.lane AND d.endpoint_id = pairs.endpoint_id AND d.state = 'pending'
        AND d.next_attempt_at <= :wall_now AND (d.leased_until IS NULL OR d.leased_until < :wall_now)
      ORDER BY d.event_id LIMIT 1
  )
GROUP BY pairs.lane;

-- Per endpoint the oldest due deliveries that are first of their object; one only while the endpoint fails.
-- name: claim
WITH due AS (
    SELECT d.event_id, w.id AS endpoint_id
    FROM gateway.webhook_endpoint w
    CROSS JOIN LATERAL (
        SELECT p.event_id FROM gateway.delivery p
        WHERE p.lane = :lane AND p.endpoint_id = w.id AND p.state = 'pending'
          AND p.next_attempt_at <= :wall_now AND (p.leased_until IS NULL OR p.leased_until < :wall_now)
          AND p.event_id = (
              SELECT q.event_id FROM gateway.delivery q
              WHERE q.lane = :lane AND q.endpoint_id = w.id AND q.object_id = p.object_id
                AND q.state = 'pending'
              ORDER BY q.event_id LIMIT 1
          )
        ORDER BY p.event_id
        LIMIT CASE WHEN w.failures_in_a_row >= :pause_after::integer THEN 1 ELSE :per_endpoint::integer END
        FOR UPDATE OF p SKIP LOCKED
    ) d
    WHERE w.id = ANY (:endpoints::uuid[]) AND w.id <> ALL (:busy::uuid[])
      AND w.state = 'enabled' AND (w.resume_at IS NULL OR w.resume_at <= :wall_now)
), leased AS (
    UPDATE gateway.delivery x SET leased_until = :leased_until, attempts = x.attempts + 1
    FROM due
    WHERE x.lane = :lane AND x.endpoint_id = due.endpoint_id AND x.event_id = due.event_id
    RETURNING x.lane, x.endpoint_id, x.event_id, x.attempts
)
SELECT l.lane, l.endpoint_id, l.event_id, l.attempts, e.party_id, e.type, e.object_id, e.data::text AS data,
       e.created_at, w.url, w.secret, w.previous_secret, w.previous_secret_until, w.failures_in_a_row
FROM leased l
JOIN gateway.event e ON e.lane = l.lane AND e.id = l.event_id
JOIN gateway.webhook_endpoint w ON w.id = l.endpoint_id
ORDER BY l.event_id;

-- name: oldest_pending$
SELECT min(created_at) FROM gateway.delivery WHERE state = 'pending';

-- name: record_attempts!
UPDATE gateway.delivery d
SET state = r.state, next_attempt_at = r.next_attempt_at, leased_until = NULL, last_status = r.status,
    last_error = r.error, last_attempt_at = r.at, duration_ms = r.duration_ms,
    delivered_at = CASE WHEN r.state = 'delivered' THEN r.at END
FROM unnest(
    :lanes::smallint[], :endpoints::uuid[], :events::uuid[], :states::text[], :next_attempts::timestamptz[],
    :statuses::smallint[], :errors::text[], :ats::timestamptz[], :durations::integer[]
) AS r (lane, endpoint_id, event_id, state, next_attempt_at, status, error, at, duration_ms)
WHERE d.lane = r.lane AND d.endpoint_id = r.endpoint_id AND d.event_id = r.event_id AND d.state = 'pending';

-- Only an endpoint that was failing is written: a healthy one is no hot row.
-- name: endpoints_recovered!
UPDATE gateway.webhook_endpoint SET failures_in_a_row = 0, failing_since = NULL, resume_at = NULL
WHERE id = ANY (:ids::uuid[]) AND failures_in_a_row > 0;

-- name: endpoint_failed^
UPDATE gateway.webhook_endpoint
SET failures_in_a_row = failures_in_a_row + :failures, failing_since = coalesce(failing_since, :wall_now)
WHERE id = :id AND state = 'enabled'
RETURNING failing_since, failures_in_a_row, party_id;

-- name: pause_endpoint!
UPDATE gateway.webhook_endpoint SET resume_at = greatest(resume_at, :resume_at::timestamptz)
WHERE id = :id AND state = 'enabled';

-- name: disable_endpoint^
UPDATE gateway.webhook_endpoint SET state = 'disabled', disabled_reason = :reason
WHERE id = :id AND state = 'enabled'
RETURNING id;

-- The log of one endpoint, newest first.
-- name: list_deliveries
SELECT d.event_id, d.object_id, e.type, d.state, d.attempts, d.next_attempt_at, d.last_status, d.last_error,
       d.last_attempt_at, d.duration_ms, d.delivered_at
FROM gateway.delivery d JOIN gateway.event e ON e.lane = d.lane AND e.id = d.event_id
WHERE d.endpoint_id = :endpoint_id AND (:before::uuid IS NULL OR d.event_id < :before)
  AND (:state::text IS NULL OR d.state = :state)
ORDER BY d.event_id DESC LIMIT :limit;

-- Send again: what was delivered or given up since a time, oldest first, as many as the limit.
-- name: replay
WITH wanted AS (
    SELECT e.lane, e.id, e.object_id
    FROM gateway.webhook_endpoint w JOIN gateway.event e ON e.party_id = w.party_id
    WHERE w.id = :endpoint_id AND e.created_at >= :since AND e.created_at < :until
      AND (w.event_types && ARRAY['*', e.type]) AND (:after::uuid IS NULL OR e.id > :after)
    ORDER BY e.id LIMIT :limit
), again AS (
    INSERT INTO gateway.delivery AS d
        (lane, endpoint_id, event_id, object_id, state, next_attempt_at, created_at)
    SELECT lane, :endpoint_id, id, object_id, 'pending', :wall_now, :wall_now FROM wanted
    ON CONFLICT (lane, endpoint_id, event_id) DO UPDATE
    SET state = 'pending', attempts = 0, next_attempt_at = excluded.next_attempt_at, leased_until = NULL,
        delivered_at = NULL, last_error = NULL
    WHERE d.state <> 'pending'
)
SELECT id FROM wanted ORDER BY id;

-- One event to one endpoint, now.
-- name: send_again^
INSERT INTO gateway.delivery AS d (lane, endpoint_id, event_id, object_id, state, next_attempt_at, created_at)
SELECT e.lane, w.id, e.id, e.object_id, 'pending', :wall_now, :wall_now
FROM gateway.webhook_endpoint w JOIN gateway.event e ON e.party_id = w.party_id
WHERE w.id = :endpoint_id AND w.state <> 'deleted' AND e.lane = :lane AND e.id = :event_id
ON CONFLICT (lane, endpoint_id, event_id) DO UPDATE
SET state = 'pending', attempts = 0, next_attempt_at = excluded.next_attempt_at, leased_until = NULL,
    delivered_at = NULL, last_error = NULL
RETURNING event_id;

-- name: insert_test_event!
WITH told AS (
    INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at, fanned_out)
    VALUES (:lane, :id, :party_id, :type, :object_id, :data, :now, true)
)
INSERT INTO gateway.delivery (lane, endpoint_id, event_id, object_id, state, next_attempt_at, created_at)
VALUES (:lane, :endpoint_id, :id, :object_id, 'pending', :wall_now, :wall_now);

-- Oldest first after a cursor; nothing younger than `horizon`, so that a commit that comes late is not missed.
-- name: list_events
SELECT id, party_id, type, object_id, data, created_at FROM gateway.event
WHERE (:party_id::text IS NULL OR party_id = :party_id) AND id > :after AND id < :horizon
  AND (:types::text[] IS NULL OR type = ANY (:types))
ORDER BY id LIMIT :limit;

-- name: select_event^
SELECT id, party_id, type, object_id, data, created_at FROM gateway.event
WHERE lane = :lane AND id = :id AND (:party_id::text IS NULL OR party_id = :party_id);
