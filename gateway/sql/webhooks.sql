-- name: insert_endpoint!
INSERT INTO gateway.webhook_endpoint (id, party_id, url, event_types, filter, signature, secret, encryption_key,
                                      public_key, header_names, headers, headers_encryption_key, api_version,
                                      created_at)
VALUES (:id, :party_id, :url, :event_types, :filter, :signature, :secret, :encryption_key, :public_key,
        :header_names, :headers, :headers_encryption_key, :api_version, :created_at)
ON CONFLICT (id) DO NOTHING;

-- Until the transaction ends, no other one counts this party's endpoints.
-- name: lock_party$
SELECT id FROM gateway.party WHERE id = :party_id FOR NO KEY UPDATE;

-- name: count_endpoints$
SELECT count(*) FROM gateway.webhook_endpoint WHERE party_id = :party_id AND state <> 'deleted';

-- name: select_endpoint^
SELECT id, party_id, url, event_types, filter, signature, secret, encryption_key, public_key, previous_signature,
       previous_secret, previous_encryption_key, previous_public_key, previous_secret_until, header_names, headers,
       headers_encryption_key, api_version, state, disabled_reason, failing_since, failures_in_a_row, resume_at,
       created_at
FROM gateway.webhook_endpoint
WHERE id = :id AND state <> 'deleted' AND (:party_id::text IS NULL OR party_id = :party_id);

-- name: lock_endpoint^
SELECT headers, headers_encryption_key FROM gateway.webhook_endpoint
WHERE id = :id AND state <> 'deleted' FOR NO KEY UPDATE;

-- name: put_headers!
UPDATE gateway.webhook_endpoint
SET header_names = :header_names, headers = :headers, headers_encryption_key = :headers_encryption_key
WHERE id = :id;

-- The keys that prove an endpoint's messages now: public ones only.
-- name: public_keys^
SELECT public_key, CASE WHEN previous_secret_until > :wall_now THEN previous_public_key END AS previous_public_key
FROM gateway.webhook_endpoint WHERE id = :id AND state <> 'deleted';

-- name: list_endpoints
SELECT id, party_id, url, event_types, filter, signature, secret, encryption_key, public_key, previous_signature,
       previous_secret, previous_encryption_key, previous_public_key, previous_secret_until, header_names, headers,
       headers_encryption_key, api_version, state, disabled_reason, failing_since, failures_in_a_row, resume_at,
       created_at
FROM gateway.webhook_endpoint
WHERE state <> 'deleted' AND (:party_id::text IS NULL OR party_id = :party_id)
  AND (:before::uuid IS NULL OR id < :before)
ORDER BY id DESC LIMIT :limit;

-- A change of address, or being enabled again, gives the endpoint a fresh start.
-- name: update_endpoint^
UPDATE gateway.webhook_endpoint
SET url = coalesce(:url, url), event_types = coalesce(:event_types, event_types),
    filter = CASE WHEN :filter::jsonb IS NULL THEN filter ELSE nullif(:filter::jsonb, '{}') END,
    state = coalesce(:state, state), api_version = coalesce(:api_version, api_version),
    disabled_reason = CASE WHEN coalesce(:state, state) = 'disabled'
        THEN coalesce(disabled_reason, 'disabled by its owner') END,
    failing_since = CASE WHEN coalesce(:state, state) = 'enabled' THEN NULL ELSE failing_since END,
    failures_in_a_row = CASE WHEN coalesce(:state, state) = 'enabled' THEN 0 ELSE failures_in_a_row END,
    resume_at = CASE WHEN coalesce(:state, state) = 'enabled' THEN NULL ELSE resume_at END,
    warnings = CASE WHEN coalesce(:state, state) = 'enabled' THEN 0 ELSE warnings END
WHERE id = :id AND state <> 'deleted'
RETURNING id;

-- The old secret signs beside the new one until the overlap ends; an earlier one ends now.
-- name: rotate_secret^
UPDATE gateway.webhook_endpoint
SET previous_signature = signature, previous_secret = secret, previous_encryption_key = encryption_key,
    previous_public_key = public_key, previous_secret_until = :until,
    signature = :signature, secret = :secret, encryption_key = :encryption_key, public_key = :public_key
WHERE id = :id AND state <> 'deleted' AND secret <> :secret
RETURNING id;

-- One endpoint for each key that encrypted anything: whether this process can decrypt them all.
-- name: one_of_each_key
SELECT id, secret, encryption_key, previous_secret, previous_encryption_key, headers, headers_encryption_key
FROM gateway.webhook_endpoint
WHERE state <> 'deleted' AND id IN (
    SELECT DISTINCT ON (sealed.name) w.id FROM gateway.webhook_endpoint AS w
    CROSS JOIN LATERAL unnest(ARRAY[w.encryption_key, w.previous_encryption_key, w.headers_encryption_key])
        AS sealed (name)
    WHERE w.state <> 'deleted' AND sealed.name IS NOT NULL ORDER BY sealed.name, w.id);

-- Endpoints with something that is in the clear or encrypted with another key, locked until the transaction ends.
-- name: encrypted_with_other_key
SELECT id, secret, encryption_key, previous_secret, previous_encryption_key, headers, headers_encryption_key
FROM gateway.webhook_endpoint
WHERE state <> 'deleted' AND (encryption_key IS DISTINCT FROM :key
    OR (previous_secret IS NOT NULL AND previous_encryption_key IS DISTINCT FROM :key)
    OR (headers IS NOT NULL AND headers_encryption_key IS DISTINCT FROM :key))
ORDER BY id LIMIT :limit FOR NO KEY UPDATE;

-- name: put_secrets!
UPDATE gateway.webhook_endpoint
SET secret = :secret, encryption_key = :encryption_key, previous_secret = :previous_secret,
    previous_encryption_key = :previous_encryption_key, headers = :headers,
    headers_encryption_key = :headers_encryption_key
WHERE id = :id;

-- A deleted endpoint signs nothing any more: its secrets are erased.
-- name: delete_endpoint^
WITH deleted AS (
    UPDATE gateway.webhook_endpoint
    SET state = 'deleted', disabled_reason = NULL, secret = decode(repeat('00', 32), 'hex'), encryption_key = NULL,
        previous_secret = NULL, previous_encryption_key = NULL, previous_secret_until = NULL,
        signature = 'v1', previous_signature = NULL, public_key = NULL, previous_public_key = NULL,
        header_names = '{}', headers = NULL, headers_encryption_key = NULL
    WHERE id = :id AND state <> 'deleted' RETURNING id
), abandoned AS (
    UPDATE gateway.delivery SET state = 'abandoned', next_attempt_at = NULL, leased_until = NULL
    WHERE endpoint_id IN (SELECT id FROM deleted) AND state = 'pending'
)
SELECT id FROM deleted;

-- Events of parties with a filter, and what filters look at, locked until their deliveries are made. Only for who owns
-- the shard.
-- name: events_to_fan_out
SELECT e.shard, e.id, e.party_id, e.type, e.object_id, coalesce(e.data, o.data) ->> 'session' AS session,
       coalesce(e.data, o.data) -> 'metadata' AS metadata
FROM gateway.event AS e LEFT JOIN gateway.event AS o ON o.shard = :shard AND o.id = e.data_of
WHERE e.shard = :shard AND NOT e.fanned_out
  AND EXISTS (SELECT 1 FROM gateway.shard_lease AS l WHERE l.shard = :shard AND l.fence = :fence::bigint)
ORDER BY e.id LIMIT :batch FOR UPDATE OF e SKIP LOCKED;

-- name: endpoints_of
SELECT id, party_id, event_types, filter FROM gateway.webhook_endpoint
WHERE party_id = ANY (:party_ids::text[]) AND state <> 'deleted';

-- name: sessions_of_events
SELECT id, evse_id, location_id, metadata FROM gateway.session WHERE shard = :shard AND id = ANY (:ids::uuid[]);

-- One statement: events are marked and their deliveries exist, or neither.
-- name: mark_fanned_out!
WITH marked AS (
    UPDATE gateway.event SET fanned_out = true WHERE shard = :shard AND id = ANY (:ids::uuid[])
)
INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
SELECT :shard, given.endpoint_id, given.event_id, given.object_id, 'pending'
FROM unnest(:endpoints::uuid[], :events::uuid[], :objects::text[]) AS given (endpoint_id, event_id, object_id)
ON CONFLICT (shard, endpoint_id, event_id) DO NOTHING;

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
SELECT :shard::smallint AS shard, page.endpoint_id,
       w.state = 'enabled' AND (w.resume_at IS NULL OR w.resume_at <= :wall_now) AS callable,
       w.state = 'deleted' AS deleted
FROM page
JOIN gateway.webhook_endpoint w ON w.id = page.endpoint_id
ORDER BY page.endpoint_id;

-- Of endpoints that were deleted while the transaction that wrote the delivery was under way.
-- name: abandon_pending!
UPDATE gateway.delivery SET state = 'abandoned', next_attempt_at = NULL, leased_until = NULL
WHERE shard = :shard AND endpoint_id = ANY (:endpoints::uuid[]) AND state = 'pending';

-- Per endpoint the oldest due deliveries that are first of their object, up to its capacity; only one while the
-- endpoint fails. Only for who owns the shard. A lease's commit waits for no disk: what a crash loses is sent again.
-- name: claim
WITH relaxed AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true) AS value
), due AS (
    SELECT d.event_id, w.id AS endpoint_id
    FROM unnest(:endpoints::uuid[], :capacities::integer[]) AS given (id, capacity)
    CROSS JOIN relaxed
    JOIN gateway.webhook_endpoint w ON w.id = given.id
    CROSS JOIN LATERAL (
        SELECT p.event_id FROM gateway.delivery p
        WHERE p.shard = :shard AND p.endpoint_id = w.id AND p.state = 'pending'
          AND (p.next_attempt_at IS NULL OR p.next_attempt_at <= :wall_now)
          AND (p.leased_until IS NULL OR p.leased_until < :wall_now)
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
    WHERE relaxed.value <> '' AND w.state = 'enabled' AND (w.resume_at IS NULL OR w.resume_at <= :wall_now)
      AND EXISTS (SELECT 1 FROM gateway.shard_lease AS o WHERE o.shard = :shard AND o.fence = :fence::bigint)
    LIMIT :limit
), leased AS (
    UPDATE gateway.delivery x SET leased_until = :leased_until, attempts = x.attempts + 1
    FROM due
    WHERE x.shard = :shard AND x.endpoint_id = due.endpoint_id AND x.event_id = due.event_id
    RETURNING x.shard, x.endpoint_id, x.event_id, x.attempts
)
SELECT l.shard, l.endpoint_id, l.event_id, l.attempts, e.party_id, e.type, e.object_id,
       coalesce(e.data, o.data, '{}')::text AS data, e.traceparent, e.created_at, w.url, w.signature, w.secret,
       w.encryption_key, w.previous_signature, w.previous_secret, w.previous_encryption_key, w.previous_secret_until,
       w.headers, w.headers_encryption_key, w.api_version, w.failures_in_a_row
FROM leased l
JOIN gateway.event e ON e.shard = :shard AND e.id = l.event_id
LEFT JOIN gateway.event o ON o.shard = :shard AND o.id = e.data_of
JOIN gateway.webhook_endpoint w ON w.id = l.endpoint_id
ORDER BY l.event_id;

-- The same of several shards, which a database that is distributed by shard is not asked.
-- name: pending_endpoints_in_shards
WITH RECURSIVE pending AS (
    SELECT given.shard, earliest.endpoint_id, 1 AS n
    FROM unnest(:shards::smallint[], :after::uuid[]) AS given (shard, after)
    CROSS JOIN LATERAL (
        SELECT d.endpoint_id FROM gateway.delivery d
        WHERE d.shard = given.shard AND d.state = 'pending'
          AND d.endpoint_id > given.after
        ORDER BY d.endpoint_id LIMIT 1
    ) earliest
    UNION ALL
    SELECT pending.shard, later.endpoint_id, pending.n + 1
    FROM pending
    CROSS JOIN LATERAL (
        SELECT d.endpoint_id FROM gateway.delivery d
        WHERE d.shard = pending.shard AND d.state = 'pending'
          AND d.endpoint_id > pending.endpoint_id
        ORDER BY d.endpoint_id LIMIT 1
    ) later
    WHERE pending.n < :limit
)
SELECT page.shard, page.endpoint_id,
       w.state = 'enabled' AND (w.resume_at IS NULL OR w.resume_at <= :wall_now) AS callable,
       w.state = 'deleted' AS deleted
FROM pending AS page
JOIN gateway.webhook_endpoint w ON w.id = page.endpoint_id
ORDER BY page.shard, page.endpoint_id;

-- The same of several shards: per shard and endpoint up to a quota, per endpoint up to its capacity over all shards.
-- name: claim_in_shards
WITH relaxed AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true) AS value
), due AS (
    SELECT d.shard, d.event_id, w.id AS endpoint_id, given.capacity, given.turn,
           w.failures_in_a_row >= :pause_after::integer AS failing
    FROM unnest(:shards::smallint[], :fences::bigint[], :endpoints::uuid[], :quotas::integer[], :capacities::integer[])
        WITH ORDINALITY AS given (shard, fence, id, quota, capacity, turn)
    CROSS JOIN relaxed
    JOIN gateway.shard_lease AS o ON o.shard = given.shard AND o.fence = given.fence
    JOIN gateway.webhook_endpoint w ON w.id = given.id
    CROSS JOIN LATERAL (
        SELECT p.shard, p.event_id FROM gateway.delivery p
        WHERE p.shard = given.shard AND p.endpoint_id = w.id
          AND p.state = 'pending' AND (p.next_attempt_at IS NULL OR p.next_attempt_at <= :wall_now)
          AND (p.leased_until IS NULL OR p.leased_until < :wall_now)
          AND p.event_id = (
              SELECT q.event_id FROM gateway.delivery q
              WHERE q.shard = given.shard AND q.endpoint_id = w.id
                AND q.object_id = p.object_id AND q.state = 'pending'
              ORDER BY q.event_id LIMIT 1
          )
        ORDER BY p.event_id
        LIMIT CASE WHEN w.failures_in_a_row >= :pause_after::integer THEN 1 ELSE given.quota END
        FOR UPDATE OF p SKIP LOCKED
    ) d
    WHERE relaxed.value <> '' AND w.state = 'enabled' AND (w.resume_at IS NULL OR w.resume_at <= :wall_now)
), chosen AS (
    SELECT shard, endpoint_id, event_id FROM (
        SELECT due.*, row_number() OVER (PARTITION BY endpoint_id ORDER BY event_id) AS place FROM due) AS ranked
    WHERE place <= CASE WHEN failing THEN 1 ELSE capacity END
    ORDER BY place, turn LIMIT :limit
), leased AS (
    UPDATE gateway.delivery x SET leased_until = :leased_until, attempts = x.attempts + 1
    FROM chosen
    WHERE x.shard = chosen.shard AND x.endpoint_id = chosen.endpoint_id
      AND x.event_id = chosen.event_id
    RETURNING x.shard, x.endpoint_id, x.event_id, x.attempts
)
SELECT l.shard, l.endpoint_id, l.event_id, l.attempts, e.party_id, e.type, e.object_id,
       coalesce(e.data, o.data, '{}')::text AS data, e.traceparent, e.created_at, w.url, w.signature, w.secret,
       w.encryption_key, w.previous_signature, w.previous_secret, w.previous_encryption_key, w.previous_secret_until,
       w.headers, w.headers_encryption_key, w.api_version, w.failures_in_a_row
FROM leased l
JOIN gateway.event e ON e.shard = l.shard AND e.id = l.event_id
LEFT JOIN gateway.event o ON o.shard = l.shard AND o.id = e.data_of
JOIN gateway.webhook_endpoint w ON w.id = l.endpoint_id
ORDER BY l.event_id;

-- Returns each delivery's shard, whether a later event of the same object follows it, and whether the delivery itself holds
-- the attempt: one that was accepted with an empty answer needs no row of its own. A delivery that another worker has leased
-- since is left to it: its number of attempts is another. One that holds this very attempt is written again: the answer of
-- the statement before was lost.
-- name: record_attempts
UPDATE gateway.delivery d
SET state = r.state, next_attempt_at = r.next_attempt_at, leased_until = NULL, last_status = r.status,
    last_error = r.error, last_attempt_at = r.at, duration_ms = r.duration_ms,
    delivered_at = CASE WHEN r.state = 'delivered' THEN r.at END,
    attempt_id = CASE WHEN r.state = 'delivered' AND r.answer IS NULL THEN r.id END
FROM unnest(
    :shards::smallint[], :endpoints::uuid[], :events::uuid[], :states::text[], :next_attempts::timestamptz[],
    :statuses::smallint[], :errors::text[], :ats::timestamptz[], :durations::integer[], :attempts::integer[],
    :ids::uuid[], :answers::text[]
) AS r (shard, endpoint_id, event_id, state, next_attempt_at, status, error, at, duration_ms, attempts, id, answer)
WHERE d.shard = r.shard AND d.endpoint_id = r.endpoint_id AND d.event_id = r.event_id AND d.attempts = r.attempts
  AND (d.state = 'pending' OR d.attempt_id = r.id)  -- shards of d
RETURNING d.shard, d.attempt_id, (
    SELECT true FROM gateway.delivery q
    WHERE q.shard = d.shard AND q.endpoint_id = d.endpoint_id AND q.object_id = d.object_id AND q.state = 'pending'
      AND q.event_id > d.event_id  -- shards of q
    ORDER BY q.event_id LIMIT 1) AS followed;

-- Every other attempt is kept once, also one whose delivery was abandoned or answered meanwhile.
-- name: keep_attempts!
INSERT INTO gateway.delivery_attempt (shard, endpoint_id, event_id, id, status, error, answer, answer_cut,
                                      duration_ms, attempted_at)
SELECT * FROM unnest(:shards::smallint[], :endpoints::uuid[], :events::uuid[], :ids::uuid[], :statuses::smallint[],
                     :errors::text[], :answers::text[], :cuts::boolean[], :durations::integer[], :ats::timestamptz[])
ON CONFLICT (shard, endpoint_id, event_id, id) DO NOTHING;

-- Endpoints are locked in the order of their ids and before their deliveries, as deleting one does: no deadlock.
-- NO KEY, because fan-out holds key locks on them while it makes deliveries.
-- name: lock_endpoints
SELECT id FROM gateway.webhook_endpoint WHERE id = ANY (:ids::uuid[]) ORDER BY id FOR NO KEY UPDATE;

-- Only an endpoint that was failing is written: a healthy one is no hot row.
-- name: endpoints_recovered!
UPDATE gateway.webhook_endpoint SET failures_in_a_row = 0, failing_since = NULL, resume_at = NULL, warnings = 0
WHERE id = ANY (:ids::uuid[]) AND failures_in_a_row > 0;

-- name: endpoints_failed
UPDATE gateway.webhook_endpoint w
SET failures_in_a_row = w.failures_in_a_row + f.failures, failing_since = coalesce(w.failing_since, :wall_now)
FROM unnest(:ids::uuid[], :failures::integer[]) AS f (id, failures)
WHERE w.id = f.id AND w.state = 'enabled'
RETURNING w.id, w.failing_since, w.failures_in_a_row, w.warnings;

-- name: put_warnings!
UPDATE gateway.webhook_endpoint SET warnings = :warnings WHERE id = :id;

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
SELECT d.event_id, d.object_id, e.type, d.state, d.attempts,
       CASE WHEN d.state = 'pending' THEN coalesce(d.next_attempt_at, d.created_at) END AS next_attempt_at,
       d.last_status, d.last_error, d.last_attempt_at, d.duration_ms, d.delivered_at
FROM gateway.delivery d JOIN gateway.event e ON e.shard = d.shard AND e.id = d.event_id
WHERE d.endpoint_id = :endpoint_id AND (:before::uuid IS NULL OR d.event_id < :before)
  AND (:state::text IS NULL OR d.state = :state
       -- What is failing now is tried again later, so it is pending as well.
       OR (:state = 'failed' AND d.state = 'pending' AND d.attempts > 0 AND d.last_error IS NOT NULL))
ORDER BY d.event_id DESC LIMIT :limit;

-- The attempts of one event at one endpoint, newest first; the last one may stand in the delivery itself.
-- name: list_attempts
SELECT a.id, a.event_id, a.status, a.error, a.answer, a.answer_cut, a.duration_ms, a.attempted_at
FROM gateway.delivery_attempt a
WHERE a.shard = :shard AND a.endpoint_id = :endpoint_id AND a.event_id = :event_id
  AND (:before::uuid IS NULL OR a.id < :before)
UNION ALL
SELECT d.attempt_id, d.event_id, d.last_status, NULL, NULL, false, d.duration_ms, d.last_attempt_at
FROM gateway.delivery d
WHERE d.shard = :shard AND d.endpoint_id = :endpoint_id AND d.event_id = :event_id AND d.attempt_id IS NOT NULL
  AND (:before::uuid IS NULL OR d.attempt_id < :before)
ORDER BY id DESC LIMIT :limit;

-- name: has_delivery$
SELECT EXISTS (SELECT 1 FROM gateway.delivery d
               WHERE d.shard = :shard AND d.endpoint_id = :endpoint_id AND d.event_id = :event_id);

-- Events that may be sent again, oldest first, up to the limit, and what a filter looks at. Events without fan-out are on
-- their way anyway: they are skipped, so that nothing waits for them.
-- name: events_to_replay
SELECT e.shard, e.id, e.party_id, e.type, e.object_id, coalesce(e.data, o.data) ->> 'session' AS session,
       coalesce(e.data, o.data) -> 'metadata' AS metadata
FROM gateway.webhook_endpoint w
JOIN gateway.event e ON e.party_id = w.party_id
LEFT JOIN gateway.event o ON o.shard = e.shard AND o.id = e.data_of
WHERE w.id = :endpoint_id AND e.created_at >= :since AND e.created_at < :until AND e.fanned_out
  AND coalesce(e.data, o.data, '{}') <> '{}'
  AND (w.event_types && ARRAY['*', e.type]) AND (:after::uuid IS NULL OR e.id > :after)
ORDER BY e.id LIMIT :limit;

-- Send events of one shard again. Deliveries that are being recorded are on their way anyway: they are skipped.
-- name: replay_events!
WITH finished AS (
    SELECT d.event_id, d.attempt_id, d.last_status, d.duration_ms, d.last_attempt_at FROM gateway.delivery d
    WHERE d.shard = :shard AND d.endpoint_id = :endpoint_id AND d.event_id = ANY (:events::uuid[])
      AND d.state <> 'pending' FOR UPDATE OF d SKIP LOCKED
), kept AS (
    -- The attempt that stood in the delivery gives its place to the next one.
    INSERT INTO gateway.delivery_attempt (shard, endpoint_id, event_id, id, status, answer_cut, duration_ms, attempted_at)
    SELECT :shard, :endpoint_id, f.event_id, f.attempt_id, f.last_status, false, f.duration_ms, f.last_attempt_at
    FROM finished AS f WHERE f.attempt_id IS NOT NULL
), again AS (
    UPDATE gateway.delivery d
    SET state = 'pending', attempts = 0, next_attempt_at = NULL, leased_until = NULL, delivered_at = NULL,
        last_error = NULL, attempt_id = NULL
    FROM finished WHERE d.shard = :shard AND d.endpoint_id = :endpoint_id AND d.event_id = finished.event_id
)
INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
SELECT :shard, :endpoint_id, given.id, given.object_id, 'pending'
FROM unnest(:events::uuid[], :objects::text[]) AS given (id, object_id)
ON CONFLICT (shard, endpoint_id, event_id) DO NOTHING;

-- One event to one endpoint, now; not one whose object was erased.
-- name: send_again^
WITH last AS (
    SELECT attempt_id, last_status, duration_ms, last_attempt_at FROM gateway.delivery
    WHERE shard = :shard AND endpoint_id = :endpoint_id AND event_id = :event_id AND attempt_id IS NOT NULL
), kept AS (
    -- The attempt that stood in the delivery gives its place to the next one.
    INSERT INTO gateway.delivery_attempt (shard, endpoint_id, event_id, id, status, answer_cut, duration_ms, attempted_at)
    SELECT :shard, :endpoint_id, :event_id, attempt_id, last_status, false, duration_ms, last_attempt_at FROM last
    ON CONFLICT DO NOTHING
)
INSERT INTO gateway.delivery AS d (shard, endpoint_id, event_id, object_id, state, attempt_id)
SELECT :shard, w.id, e.id, e.object_id, 'pending', last.attempt_id
FROM gateway.webhook_endpoint w
JOIN gateway.event e ON e.party_id = w.party_id
LEFT JOIN gateway.event o ON o.shard = :shard AND o.id = e.data_of
LEFT JOIN last ON true
WHERE w.id = :endpoint_id AND w.state <> 'deleted' AND e.shard = :shard AND e.id = :event_id
  AND coalesce(e.data, o.data, '{}') <> '{}'
ON CONFLICT (shard, endpoint_id, event_id) DO UPDATE
SET state = 'pending', attempts = 0, next_attempt_at = NULL, leased_until = NULL, delivered_at = NULL,
    last_error = NULL,
    -- Not one that was recorded a moment ago, which nobody else keeps.
    attempt_id = CASE WHEN d.attempt_id IS DISTINCT FROM excluded.attempt_id THEN d.attempt_id END
RETURNING event_id;

-- Events of a transaction whose changes are several statements; a single statement inserts its events itself, likewise:
-- with the deliveries of each, unless an endpoint of its party has a filter, which the job applies (`mark_fanned_out`).
-- name: insert_events$
WITH published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT e.shard, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM jsonb_to_recordset(:events::jsonb)
        AS e (shard smallint, id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    RETURNING shard, id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT e.shard, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
)
SELECT count(*) FROM published;

-- An event that goes to one endpoint only: it needs no fan-out.
-- name: insert_test_event!
WITH published AS (
    INSERT INTO gateway.event (shard, id, party_id, type, object_id, data, created_at, fanned_out)
    VALUES (:shard, :id, :party_id, :type, :object_id, :data, :now, true)
)
INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
VALUES (:shard, :endpoint_id, :id, :object_id, 'pending');

-- An event about a failing endpoint, just recorded, is not sent to it: it would come late, and take attempts from what
-- waits. Its delivery may exist already, written with the event.
-- name: skip_own_event!
INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state, last_error)
(SELECT e.shard, :endpoint_id, e.id, e.object_id, 'abandoned', 'it is about this endpoint'
 FROM gateway.event e WHERE e.shard = :shard AND e.object_id = :object_id AND e.type = :type ORDER BY e.id DESC LIMIT 1)
ON CONFLICT (shard, endpoint_id, event_id) DO UPDATE
SET state = 'abandoned', next_attempt_at = NULL, last_error = excluded.last_error;

-- Oldest first after a cursor; nothing newer than `horizon`, so that an event that commits late is not missed.
-- name: list_events
SELECT e.id, e.party_id, e.type, e.object_id, coalesce(e.data, o.data, '{}') AS data, e.created_at
FROM gateway.event AS e LEFT JOIN gateway.event AS o ON o.shard = e.shard AND o.id = e.data_of
WHERE (:party_id::text IS NULL OR e.party_id = :party_id) AND e.id > :after AND e.id < :horizon
  AND (:types::text[] IS NULL OR e.type = ANY (:types))
ORDER BY e.id LIMIT :limit;

-- The same backwards: those before an id, newest first.
-- name: list_newest_events
SELECT e.id, e.party_id, e.type, e.object_id, coalesce(e.data, o.data, '{}') AS data, e.created_at
FROM gateway.event AS e LEFT JOIN gateway.event AS o ON o.shard = e.shard AND o.id = e.data_of
WHERE (:party_id::text IS NULL OR e.party_id = :party_id) AND e.id < :before
  AND (:types::text[] IS NULL OR e.type = ANY (:types))
ORDER BY e.id DESC LIMIT :limit;

-- name: select_event^
SELECT e.id, e.party_id, e.type, e.object_id, coalesce(e.data, o.data, '{}') AS data, e.created_at
FROM gateway.event AS e LEFT JOIN gateway.event AS o ON o.shard = :shard AND o.id = e.data_of
WHERE e.shard = :shard AND e.id = :id AND (:party_id::text IS NULL OR e.party_id = :party_id);

-- name: oldest_undelivered$
-- The oldest event that some endpoint has not acknowledged yet.
SELECT least((SELECT min(created_at) FROM gateway.event WHERE NOT fanned_out),
             (SELECT min(e.created_at) FROM gateway.delivery AS d JOIN gateway.event AS e ON e.id = d.event_id AND e.shard = d.shard
              WHERE d.state = 'pending'));
