-- name: insert_endpoint!
INSERT INTO gateway.webhook_endpoint (id, party_id, url, event_types, secret, encryption_key, created_at)
VALUES (:id, :party_id, :url, :event_types, :secret, :encryption_key, :created_at)
ON CONFLICT (id) DO NOTHING;

-- name: count_endpoints$
SELECT count(*) FROM gateway.webhook_endpoint WHERE party_id = :party_id AND state <> 'deleted';

-- name: select_endpoint^
SELECT id, party_id, url, event_types, secret, encryption_key, previous_secret, previous_encryption_key,
       previous_secret_until, state, disabled_reason, failing_since, failures_in_a_row, resume_at, created_at
FROM gateway.webhook_endpoint
WHERE id = :id AND state <> 'deleted' AND (:party_id::text IS NULL OR party_id = :party_id);

-- name: list_endpoints
SELECT id, party_id, url, event_types, secret, encryption_key, previous_secret, previous_encryption_key,
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
SET previous_secret = secret, previous_encryption_key = encryption_key, previous_secret_until = :until,
    secret = :secret, encryption_key = :encryption_key
WHERE id = :id AND state <> 'deleted' AND secret <> :secret
RETURNING id;

-- One endpoint for each key that encrypted anything: whether this process can decrypt them all.
-- name: one_of_each_key
(SELECT DISTINCT ON (encryption_key) id, secret, encryption_key, previous_secret, previous_encryption_key
 FROM gateway.webhook_endpoint WHERE encryption_key IS NOT NULL AND state <> 'deleted' ORDER BY encryption_key, id)
UNION ALL
(SELECT DISTINCT ON (previous_encryption_key) id, secret, encryption_key, previous_secret, previous_encryption_key
 FROM gateway.webhook_endpoint WHERE previous_encryption_key IS NOT NULL AND state <> 'deleted'
 ORDER BY previous_encryption_key, id);

-- Endpoints with a secret that is in the clear or encrypted with another key, locked until the transaction ends.
-- name: encrypted_with_other_key
SELECT id, secret, encryption_key, previous_secret, previous_encryption_key FROM gateway.webhook_endpoint
WHERE state <> 'deleted' AND (encryption_key IS DISTINCT FROM :key
    OR (previous_secret IS NOT NULL AND previous_encryption_key IS DISTINCT FROM :key))
ORDER BY id LIMIT :limit FOR NO KEY UPDATE;

-- name: put_secrets!
UPDATE gateway.webhook_endpoint
SET secret = :secret, encryption_key = :encryption_key, previous_secret = :previous_secret,
    previous_encryption_key = :previous_encryption_key
WHERE id = :id;

-- A deleted endpoint signs nothing any more: its secrets are erased.
-- name: delete_endpoint^
WITH deleted AS (
    UPDATE gateway.webhook_endpoint
    SET state = 'deleted', disabled_reason = NULL, secret = decode(repeat('00', 32), 'hex'), encryption_key = NULL,
        previous_secret = NULL, previous_encryption_key = NULL, previous_secret_until = NULL
    WHERE id = :id AND state <> 'deleted' RETURNING id
), abandoned AS (
    UPDATE gateway.delivery SET state = 'abandoned', next_attempt_at = NULL, leased_until = NULL
    WHERE endpoint_id IN (SELECT id FROM deleted) AND state = 'pending'
)
SELECT id FROM deleted;

-- Shards with events of which no deliveries were made yet.
-- name: shards_to_fan_out
SELECT DISTINCT shard FROM gateway.event WHERE NOT fanned_out;

-- One statement: events are marked and their deliveries exist, or neither.
-- name: fan_out$
WITH batch AS (
    SELECT shard, id, party_id, type, object_id FROM gateway.event
    WHERE shard = :shard AND NOT fanned_out
    ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED
), marked AS (
    UPDATE gateway.event e SET fanned_out = true FROM batch
    WHERE e.shard = :shard AND e.shard = batch.shard AND e.id = batch.id
), made AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state, next_attempt_at, created_at)
    SELECT batch.shard, w.id, batch.id, batch.object_id, 'pending', :wall_now::timestamptz, :wall_now::timestamptz
    FROM batch
    JOIN gateway.webhook_endpoint w ON w.party_id = batch.party_id AND w.state <> 'deleted'
        AND (w.event_types && ARRAY['*', batch.type])
    ON CONFLICT (shard, endpoint_id, event_id) DO NOTHING
)
SELECT count(*) FROM batch;

-- Shards with a pending delivery: one index lookup for each.
-- name: shards_pending
SELECT DISTINCT shard FROM gateway.delivery WHERE state = 'pending';

-- The next endpoints of a shard with pending deliveries, and whether each may be called. The recursion jumps from
-- one endpoint to the next along the index, so its cost is the number of endpoints and not of deliveries; the
-- subqueries with their ORDER BY hold the planner to the index, where EXISTS would scan.
-- name: pending_endpoints
WITH page AS MATERIALIZED (SELECT found.endpoint_id FROM (WITH RECURSIVE pending AS (
    (SELECT d.endpoint_id FROM gateway.delivery d
     WHERE d.shard = :shard AND d.state = 'pending' AND d.endpoint_id > :after ORDER BY d.endpoint_id LIMIT 1)
    UNION ALL
    SELECT later.endpoint_id
    FROM pending
    CROSS JOIN LATERAL (
        SELECT d.endpoint_id FROM gateway.delivery d
        WHERE d.shard = :shard AND d.state = 'pending' AND d.endpoint_id > pending.endpoint_id
        ORDER BY d.endpoint_id LIMIT 1
    ) later
) SELECT endpoint_id FROM pending LIMIT :limit) AS found)
SELECT page.endpoint_id,
       w.state = 'enabled' AND (w.resume_at IS NULL OR w.resume_at <= :wall_now) AS callable
FROM page
JOIN gateway.webhook_endpoint w ON w.id = page.endpoint_id
ORDER BY page.endpoint_id;

-- Per endpoint the oldest due deliveries that are first of their object, up to its capacity; only one while the
-- endpoint fails.
-- name: claim
WITH due AS (
    SELECT d.event_id, w.id AS endpoint_id
    FROM unnest(:endpoints::uuid[], :capacities::integer[]) AS given (id, capacity)
    JOIN gateway.webhook_endpoint w ON w.id = given.id
    CROSS JOIN LATERAL (
        SELECT p.event_id FROM gateway.delivery p
        WHERE p.shard = :shard AND p.endpoint_id = w.id AND p.state = 'pending'
          AND p.next_attempt_at <= :wall_now AND (p.leased_until IS NULL OR p.leased_until < :wall_now)
          AND p.event_id = (
              SELECT q.event_id FROM gateway.delivery q
              WHERE q.shard = :shard AND q.endpoint_id = w.id AND q.object_id = p.object_id
                AND q.state = 'pending'
              ORDER BY q.event_id LIMIT 1
          )
        ORDER BY p.event_id
        LIMIT CASE WHEN w.failures_in_a_row >= :pause_after::integer THEN 1 ELSE given.capacity END
        FOR UPDATE OF p SKIP LOCKED
    ) d
    WHERE w.state = 'enabled' AND (w.resume_at IS NULL OR w.resume_at <= :wall_now)
    LIMIT :limit
), leased AS (
    UPDATE gateway.delivery x SET leased_until = :leased_until, attempts = x.attempts + 1
    FROM due
    WHERE x.shard = :shard AND x.endpoint_id = due.endpoint_id AND x.event_id = due.event_id
    RETURNING x.shard, x.endpoint_id, x.event_id, x.attempts
)
SELECT l.shard, l.endpoint_id, l.event_id, l.attempts, e.party_id, e.type, e.object_id, e.data::text AS data, e.traceparent,
       e.created_at, w.url, w.secret, w.encryption_key, w.previous_secret, w.previous_encryption_key, w.previous_secret_until,
       w.failures_in_a_row
FROM leased l
JOIN gateway.event e ON e.shard = :shard AND e.id = l.event_id
JOIN gateway.webhook_endpoint w ON w.id = l.endpoint_id
ORDER BY l.event_id;

-- Returns each delivery's shard and whether a later event of the same object follows it.
-- name: record_attempts
UPDATE gateway.delivery d
SET state = r.state, next_attempt_at = r.next_attempt_at, leased_until = NULL, last_status = r.status,
    last_error = r.error, last_attempt_at = r.at, duration_ms = r.duration_ms,
    delivered_at = CASE WHEN r.state = 'delivered' THEN r.at END
FROM unnest(
    :shards::smallint[], :endpoints::uuid[], :events::uuid[], :states::text[], :next_attempts::timestamptz[],
    :statuses::smallint[], :errors::text[], :ats::timestamptz[], :durations::integer[]
) AS r (shard, endpoint_id, event_id, state, next_attempt_at, status, error, at, duration_ms)
WHERE d.shard = r.shard AND d.endpoint_id = r.endpoint_id AND d.event_id = r.event_id AND d.state = 'pending'
RETURNING d.shard, (
    SELECT true FROM gateway.delivery q
    WHERE q.shard = d.shard AND q.endpoint_id = d.endpoint_id AND q.object_id = d.object_id AND q.state = 'pending'
      AND q.event_id > d.event_id
    ORDER BY q.event_id LIMIT 1) AS followed;

-- Endpoints are locked in the order of their ids and before their deliveries, as deleting one does: no deadlock.
-- NO KEY, because fan-out holds key locks on them while it makes deliveries.
-- name: lock_endpoints
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
FROM gateway.delivery d JOIN gateway.event e ON e.shard = d.shard AND e.id = d.event_id
WHERE d.endpoint_id = :endpoint_id AND (:before::uuid IS NULL OR d.event_id < :before)
  AND (:state::text IS NULL OR d.state = :state
       -- What is failing now is tried again later, so it is pending as well.
       OR (:state = 'failed' AND d.state = 'pending' AND d.attempts > 0 AND d.last_error IS NOT NULL))
ORDER BY d.event_id DESC LIMIT :limit;

-- Events of a time that one endpoint takes, oldest first, up to the limit: those without fan-out are on their way anyway.
-- name: events_to_replay
WITH endpoint AS MATERIALIZED (
    SELECT w.party_id, w.event_types FROM gateway.webhook_endpoint AS w WHERE w.id = :endpoint_id
)
SELECT e.shard, e.id, e.object_id
FROM gateway.event AS e JOIN endpoint AS w ON w.party_id = e.party_id
WHERE e.created_at >= :since AND e.created_at < :until AND e.fanned_out AND e.data <> '{}'
  AND (w.event_types && ARRAY['*', e.type]) AND (:after::uuid IS NULL OR e.id > :after)
ORDER BY e.id LIMIT :limit;

-- Send events of a shard again, whether they were delivered, failed or never sent. Deliveries that are pending or being
-- recorded are on their way anyway: they are skipped, so that nothing waits for them.
-- name: replay_shard!
WITH finished AS (
    SELECT d.event_id FROM gateway.delivery AS d
    WHERE d.shard = :shard AND d.endpoint_id = :endpoint_id AND d.event_id = ANY(:events::uuid[])
      AND d.state <> 'pending' FOR UPDATE OF d SKIP LOCKED
), again AS (
    UPDATE gateway.delivery AS d
    SET state = 'pending', attempts = 0, next_attempt_at = :wall_now, leased_until = NULL, delivered_at = NULL,
        last_error = NULL
    FROM finished WHERE d.shard = :shard AND d.endpoint_id = :endpoint_id AND d.event_id = finished.event_id
)
INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state, next_attempt_at, created_at)
SELECT :shard, :endpoint_id, given.id, given.object_id, 'pending', :wall_now, :wall_now
FROM unnest(:events::uuid[], :objects::text[]) AS given (id, object_id)
ON CONFLICT (shard, endpoint_id, event_id) DO NOTHING;

-- One event to one endpoint, now; not one whose object was erased.
-- name: send_again^
WITH endpoint AS MATERIALIZED (
    SELECT w.id, w.party_id FROM gateway.webhook_endpoint AS w WHERE w.id = :endpoint_id AND w.state <> 'deleted'
), wanted AS MATERIALIZED (
    SELECT e.shard, e.id, e.object_id, w.id AS endpoint_id FROM gateway.event AS e JOIN endpoint AS w ON w.party_id = e.party_id
    WHERE e.shard = :shard AND e.id = :event_id AND e.data <> '{}'
)
INSERT INTO gateway.delivery AS d (shard, endpoint_id, event_id, object_id, state, next_attempt_at, created_at)
SELECT e.shard, e.endpoint_id, e.id, e.object_id, 'pending', :wall_now::timestamptz, :wall_now::timestamptz FROM wanted AS e
ON CONFLICT (shard, endpoint_id, event_id) DO UPDATE
SET state = 'pending', attempts = 0, next_attempt_at = excluded.next_attempt_at, leased_until = NULL,
    delivered_at = NULL, last_error = NULL
RETURNING event_id;

-- Events of a transaction whose changes are several statements; a single statement inserts its events itself, likewise.
-- name: insert_events!
INSERT INTO gateway.event (shard, id, party_id, type, object_id, data, created_at, traceparent)
SELECT e.shard, e.id, e.party_id, e.type, e.object_id, e.data, :now::timestamptz, e.traceparent
FROM jsonb_to_recordset(:events::jsonb)
    AS e (shard smallint, id uuid, party_id text, type text, object_id text, data jsonb, traceparent text);

-- An event that goes to one endpoint only: it needs no fan-out.
-- name: insert_test_event!
WITH published AS (
    INSERT INTO gateway.event (shard, id, party_id, type, object_id, data, created_at, fanned_out)
    VALUES (:shard, :id, :party_id, :type, :object_id, :data, :now, true)
)
INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state, next_attempt_at, created_at)
VALUES (:shard, :endpoint_id, :id, :object_id, 'pending', :wall_now, :wall_now);

-- Oldest first after a cursor; nothing newer than `horizon`, so that an event that commits late is not missed.
-- name: list_events
SELECT id, party_id, type, object_id, data, created_at FROM gateway.event
WHERE (:party_id::text IS NULL OR party_id = :party_id) AND id > :after AND id < :horizon
  AND (:types::text[] IS NULL OR type = ANY (:types))
ORDER BY id LIMIT :limit;

-- name: select_event^
SELECT id, party_id, type, object_id, data, created_at FROM gateway.event
WHERE shard = :shard AND id = :id AND (:party_id::text IS NULL OR party_id = :party_id);

-- name: oldest_undelivered$
-- The oldest event that some endpoint has not acknowledged yet.
SELECT least((SELECT min(created_at) FROM gateway.event WHERE NOT fanned_out),
             (SELECT min(e.created_at) FROM gateway.delivery AS d JOIN gateway.event AS e ON e.id = d.event_id AND e.shard = d.shard
              WHERE d.state = 'pending'));
