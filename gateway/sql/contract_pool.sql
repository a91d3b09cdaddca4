-- Contract pools: feeds, their events, and the last event applied to each contract.

-- name: put_feed^
-- A secret that is not given again stays.
INSERT INTO gateway.contract_pool_feed AS f
    (id, party_id, protocol, secret, encryption_key, authorities, new_contracts, enabled, created_at, updated_at)
VALUES (:id, :party_id, :protocol, :secret, :encryption_key, :authorities, :new_contracts, :enabled, :now, :now)
ON CONFLICT (party_id) DO UPDATE
SET protocol = excluded.protocol, secret = excluded.secret, encryption_key = excluded.encryption_key,
    authorities = excluded.authorities, new_contracts = excluded.new_contracts, enabled = excluded.enabled,
    updated_at = excluded.updated_at
RETURNING f.*;

-- name: feed_of_party^
SELECT * FROM gateway.contract_pool_feed WHERE party_id = :party_id;

-- name: feed_by_id^
SELECT * FROM gateway.contract_pool_feed WHERE id = :id;

-- name: feed_states
-- Every feed, or a party's, with how many of its events are in which state.
SELECT f.id, f.party_id, f.protocol, f.new_contracts, f.enabled, f.authorities, f.created_at, f.updated_at,
       count(e.id) FILTER (WHERE e.state = 'pending') AS pending,
       count(e.id) FILTER (WHERE e.state = 'waiting') AS waiting,
       count(e.id) FILTER (WHERE e.state = 'applied') AS applied,
       count(e.id) FILTER (WHERE e.state = 'superseded') AS superseded,
       count(e.id) FILTER (WHERE e.state = 'ignored') AS ignored,
       max(e.received_at) AS last_received_at,
       min(e.received_at) FILTER (WHERE e.state = 'waiting') AS oldest_waiting_at,
       l.url AS lookup_url, l.client_id AS lookup_client_id, l.finished_at AS looked_up_at, l.problem AS lookup_problem
FROM gateway.contract_pool_feed AS f
LEFT JOIN gateway.contract_pool_event AS e ON e.feed_id = f.id
LEFT JOIN gateway.contract_pool_lookup AS l ON l.feed_id = f.id
WHERE :party_id::text IS NULL OR f.party_id = :party_id
GROUP BY f.id, l.feed_id
ORDER BY f.party_id;

-- name: insert_event^
-- No row when the pool has sent it before.
INSERT INTO gateway.contract_pool_event
    (id, feed_id, event_id, name, change, emaid, vehicle, certificate, state, occurred_at, received_at)
VALUES (:id, :feed_id, :event_id, :name, :change, :emaid, :vehicle, :certificate, 'pending', :occurred_at, :now)
ON CONFLICT (feed_id, event_id) DO NOTHING
RETURNING id;

-- name: lock_event^
SELECT * FROM gateway.contract_pool_event WHERE id = :id AND state = 'pending' FOR UPDATE;

-- name: decide_event!
UPDATE gateway.contract_pool_event SET state = :state, reason = :reason, detail = :detail, decided_at = :now
WHERE id = :id;

-- name: pending_events
-- Those of a feed that is switched off stay until it is on again.
SELECT e.id FROM gateway.contract_pool_event AS e
JOIN gateway.contract_pool_feed AS f ON f.id = e.feed_id
WHERE e.state = 'pending' AND f.enabled
ORDER BY e.occurred_at, e.id
LIMIT :limit;

-- name: list_events
SELECT * FROM gateway.contract_pool_event
WHERE feed_id = :feed_id AND (:state::text IS NULL OR state = :state) AND (:before::uuid IS NULL OR id < :before)
ORDER BY id DESC
LIMIT :limit;

-- name: event_of_party^
SELECT e.* FROM gateway.contract_pool_event AS e
JOIN gateway.contract_pool_feed AS f ON f.id = e.feed_id
WHERE e.id = :id AND (:party_id::text IS NULL OR f.party_id = :party_id);

-- name: retry_event$
UPDATE gateway.contract_pool_event SET state = 'pending', reason = '', detail = '', decided_at = NULL
WHERE id = :id AND state = 'waiting'
RETURNING id;

-- name: dismiss_event$
UPDATE gateway.contract_pool_event SET state = 'dismissed', reason = '', detail = :detail, decided_at = :now
WHERE id = :id AND state = 'waiting'
RETURNING id;

-- name: lock_contract!
-- Two events of one contract are applied one after the other, also where neither contract nor position exists yet.
SELECT pg_advisory_xact_lock(hashtextextended('gateway.contract_pool_position ' || :feed_id::uuid::text || ' ' || :emaid, 0));

-- name: load_position^
SELECT change, vehicle, occurred_at, blocked_revision FROM gateway.contract_pool_position
WHERE feed_id = :feed_id AND emaid = :emaid;

-- name: put_position!
INSERT INTO gateway.contract_pool_position (feed_id, emaid, change, vehicle, occurred_at, blocked_revision)
VALUES (:feed_id, :emaid, :change, :vehicle, :occurred_at, :blocked_revision)
ON CONFLICT (feed_id, emaid) DO UPDATE
SET change = excluded.change, vehicle = excluded.vehicle, occurred_at = excluded.occurred_at,
    blocked_revision = excluded.blocked_revision;

-- name: delete_old_events$
WITH old AS (
    SELECT id FROM gateway.contract_pool_event
    WHERE received_at < :received_before AND state NOT IN ('pending', 'waiting')
    ORDER BY received_at LIMIT :limit
), deleted AS (
    DELETE FROM gateway.contract_pool_event WHERE id IN (SELECT id FROM old) RETURNING 1
)
SELECT count(*) FROM deleted;

-- name: feeds_encrypted_with_other_key
SELECT id, secret, encryption_key FROM gateway.contract_pool_feed
WHERE encryption_key IS DISTINCT FROM :key
ORDER BY id FOR NO KEY UPDATE;

-- name: put_feed_secret!
UPDATE gateway.contract_pool_feed SET secret = :secret, encryption_key = :encryption_key WHERE id = :id;
