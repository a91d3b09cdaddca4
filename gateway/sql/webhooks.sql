-- name: insert_endpoint!
INSERT INTO gateway.webhook_endpoint (id, party_id, url, event_types, secret, secret_key, created_at)
VALUES (:id, :party_id, :url, :event_types, :secret, :secret_key, :created_at)
ON CONFLICT (id) DO NOTHING;

-- name: count_endpoints$
SELECT count(*) FROM gateway.webhook_endpoint WHERE party_id = :party_id AND state <> 'deleted';

-- name: select_endpoint^
SELECT id, party_id, url, event_types, secret, secret_key, previous_secret, previous_secret_key,
       previous_secret_until, state, disabled_reason, failing_since, failures_in_a_row, resume_at, created_at
FROM gateway.webhook_endpoint
WHERE id = :id AND state <> 'deleted' AND (:party_id::text IS NULL OR party_id = :party_id);

-- name: list_endpoints
SELECT id, party_id, url, event_types, secret, secret_key, previous_secret, previous_secret_key,
       previous_secret_until, state, disabled_reason, failing_since, failures_in_a_row, resume_at, created_at
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
SET previous_secret = secret, previous_secret_key = secret_key, previous_secret_until = :until,
    secret = :secret, secret_key = :secret_key
WHERE id = :id AND state <> 'deleted' AND secret <> :secret
RETURNING id;

-- One endpoint for each key that sealed anything: whether this process can open them all.
-- name: one_of_each_key
(SELECT DISTINCT ON (secret_key) id, secret, secret_key, previous_secret, previous_secret_key
 FROM gateway.webhook_endpoint WHERE secret_key IS NOT NULL AND state <> 'deleted' ORDER BY secret_key, id)
UNION ALL
(SELECT DISTINCT ON (previous_secret_key) id, secret, secret_key, previous_secret, previous_secret_key
 FROM gateway.webhook_endpoint WHERE previous_secret_key IS NOT NULL AND state <> 'deleted'
 ORDER BY previous_secret_key, id);

-- Endpoints with a secret that is in the clear or sealed with another key, held for this transaction.
-- name: sealed_otherwise
SELECT id, secret, secret_key, previous_secret, previous_secret_key FROM gateway.webhook_endpoint
WHERE state <> 'deleted' AND (secret_key IS DISTINCT FROM :key
    OR (previous_secret IS NOT NULL AND previous_secret_key IS DISTINCT FROM :key))
ORDER BY id LIMIT :limit FOR NO KEY UPDATE;

-- name: put_secrets!
UPDATE gateway.webhook_endpoint
SET secret = :secret, secret_key = :secret_key, previous_secret = :previous_secret,
    previous_secret_key = :previous_secret_key
WHERE id = :id;

-- A deleted endpoint signs nothing any more: its secrets go.
-- name: delete_endpoint^
WITH gone AS (
    UPDATE gateway.webhook_endpoint
    SET state = 'deleted', disabled_reason = NULL, secret = decode(repeat('00', 32), 'hex'), secret_key = NULL,
        previous_secret = NULL, previous_secret_key = NULL, previous_secret_until = NULL
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

-- Lanes that hold anything pending: one look into the index for each.
-- name: lanes_pending
SELECT n::smallint AS lane FROM generate_series(0, 63) AS n
WHERE (SELECT true FROM gateway.delivery d WHERE d.lane = n AND d.state = 'pending' ORDER BY d.endpoint_id LIMIT 1);

-- The next endpoints of a lane that something is pending for, and whether each may be called. The recursion jumps from
-- one endpoint to the next along the index, so its cost is the number of endpoints and not of deliveries; the
-- subqueries with their ORDER BY hold the planner to the index, where EXISTS would scan.
-- name: endpoints_waiting
WITH RECURSIVE waiting AS (
    (SELECT d.endpoint_id FROM gateway.delivery d
     WHERE d.lane = :lane AND d.state = 'pending' AND d.endpoint_id > :after ORDER BY d.endpoint_id LIMIT 1)
    UNION ALL
    SELECT later.endpoint_id
    FROM waiting
    CROSS JOIN LATERAL (
        SELECT d.endpoint_id FROM gateway.delivery d
        WHERE d.lane = :lane AND d.state = 'pending' AND d.endpoint_id > waiting.endpoint_id
        ORDER BY d.endpoint_id LIMIT 1
    ) later
)
SELECT page.endpoint_id,
       w.state = 'enabled' AND (w.resume_at IS NULL OR w.resume_at <= :wall_now) AS callable
FROM (SELECT endpoint_id FROM waiting LIMIT :limit) AS page
JOIN gateway.webhook_endpoint w ON w.id = page.endpoint_id
ORDER BY page.endpoint_id;

-- Per endpoint the oldest due deliveries that are first of their object, as many as it has room for; one only while the
-- endpoint fails.
-- name: claim
WITH due AS (
    SELECT d.event_id, w.id AS endpoint_id
    FROM unnest(:endpoints::uuid[], :rooms::integer[]) AS asked (id, room)
    JOIN gateway.webhook_endpoint w ON w.id = asked.id
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
        LIMIT CASE WHEN w.failures_in_a_row >= :pause_after::integer THEN 1 ELSE asked.room END
        FOR UPDATE OF p SKIP LOCKED
    ) d
    WHERE w.state = 'enabled' AND (w.resume_at IS NULL OR w.resume_at <= :wall_now)
    LIMIT :limit
), leased AS (
    UPDATE gateway.delivery x SET leased_until = :leased_until, attempts = x.attempts + 1
    FROM due
    WHERE x.lane = :lane AND x.endpoint_id = due.endpoint_id AND x.event_id = due.event_id
    RETURNING x.lane, x.endpoint_id, x.event_id, x.attempts
)
SELECT l.lane, l.endpoint_id, l.event_id, l.attempts, e.party_id, e.type, e.object_id, e.data::text AS data,
       e.created_at, w.url, w.secret, w.secret_key, w.previous_secret, w.previous_secret_key, w.previous_secret_until,
       w.failures_in_a_row
FROM leased l
JOIN gateway.event e ON e.lane = l.lane AND e.id = l.event_id
JOIN gateway.webhook_endpoint w ON w.id = l.endpoint_id
ORDER BY l.event_id;

-- name: oldest_pending$
SELECT min(created_at) FROM gateway.delivery WHERE state = 'pending';

-- Answers every delivery with its lane and whether a later event of the same object waits behind it.
-- name: record_attempts
UPDATE gateway.delivery d
SET state = r.state, next_attempt_at = r.next_attempt_at, leased_until = NULL, last_status = r.status,
    last_error = r.error, last_attempt_at = r.at, duration_ms = r.duration_ms,
    delivered_at = CASE WHEN r.state = 'delivered' THEN r.at END
FROM unnest(
    :lanes::smallint[], :endpoints::uuid[], :events::uuid[], :states::text[], :next_attempts::timestamptz[],
    :statuses::smallint[], :errors::text[], :ats::timestamptz[], :durations::integer[]
) AS r (lane, endpoint_id, event_id, state, next_attempt_at, status, error, at, duration_ms)
WHERE d.lane = r.lane AND d.endpoint_id = r.endpoint_id AND d.event_id = r.event_id AND d.state = 'pending'
RETURNING d.lane, (
    SELECT true FROM gateway.delivery q
    WHERE q.lane = d.lane AND q.endpoint_id = d.endpoint_id AND q.object_id = d.object_id AND q.state = 'pending'
      AND q.event_id > d.event_id
    ORDER BY q.event_id LIMIT 1) AS waits;

-- Endpoints are held in the order of their ids, before their deliveries, as deleting one does: nobody waits in a ring.
-- NO KEY, because fan-out holds their keys while it makes deliveries.
-- name: hold_endpoints
SELECT id FROM gateway.webhook_endpoint WHERE id = ANY (:ids::uuid[]) ORDER BY id FOR NO KEY UPDATE;

-- Only an endpoint that was failing is written: a healthy one is no hot row.
-- name: endpoints_recovered!
UPDATE gateway.webhook_endpoint SET failures_in_a_row = 0, failing_since = NULL, resume_at = NULL
WHERE id = ANY (:ids::uuid[]) AND failures_in_a_row > 0;

-- name: endpoints_failed
UPDATE gateway.webhook_endpoint w
SET failures_in_a_row = w.failures_in_a_row + f.failures, failing_since = coalesce(w.failing_since, :wall_now)
FROM unnest(:ids::uuid[], :failures::integer[]) AS f (id, failures)
WHERE w.id = f.id AND w.state = 'enabled'
RETURNING w.id, w.failing_since, w.failures_in_a_row;

-- name: pause_endpoints!
UPDATE gateway.webhook_endpoint w SET resume_at = greatest(w.resume_at, p.resume_at)
FROM unnest(:ids::uuid[], :resumes::timestamptz[]) AS p (id, resume_at)
WHERE w.id = p.id AND w.state = 'enabled';

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

-- Send again: what was delivered or given up since a time, oldest first, as many as the limit. What fan-out has not
-- seen, and what is being recorded just now, is on its way anyway: it is left alone, so that nobody waits for it.
-- name: replay
WITH wanted AS (
    SELECT e.lane, e.id, e.object_id
    FROM gateway.webhook_endpoint w JOIN gateway.event e ON e.party_id = w.party_id
    WHERE w.id = :endpoint_id AND e.created_at >= :since AND e.created_at < :until AND e.fanned_out
      AND (w.event_types && ARRAY['*', e.type]) AND (:after::uuid IS NULL OR e.id > :after)
    ORDER BY e.id LIMIT :limit
), ended AS (
    SELECT d.lane, d.event_id FROM gateway.delivery d JOIN wanted ON wanted.lane = d.lane AND wanted.id = d.event_id
    WHERE d.endpoint_id = :endpoint_id AND d.state <> 'pending' FOR UPDATE OF d SKIP LOCKED
), again AS (
    UPDATE gateway.delivery d
    SET state = 'pending', attempts = 0, next_attempt_at = :wall_now, leased_until = NULL, delivered_at = NULL,
        last_error = NULL
    FROM ended WHERE d.lane = ended.lane AND d.endpoint_id = :endpoint_id AND d.event_id = ended.event_id
), fresh AS (
    INSERT INTO gateway.delivery (lane, endpoint_id, event_id, object_id, state, next_attempt_at, created_at)
    SELECT lane, :endpoint_id, id, object_id, 'pending', :wall_now, :wall_now FROM wanted
    ON CONFLICT (lane, endpoint_id, event_id) DO NOTHING
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
