-- What people see of operators: connections, what came over them, locations and tariffs. `party_id` null: of everybody.

-- name: list_connections
SELECT p.id, p.party_id, p.state, p.version, p.versions_url, p.hub_party_id, p.stale_pushes, p.created_at,
       p.registered_at, p.ended_at,
       ARRAY(SELECT a.party_id FROM gateway.ocpi_peer_party AS a WHERE a.peer_id = p.id ORDER BY a.party_id) AS parties
FROM gateway.ocpi_peer AS p
WHERE (:party_id::text IS NULL OR EXISTS (
        SELECT 1 FROM gateway.ocpi_peer_party AS m WHERE m.peer_id = p.id AND m.party_id = :party_id))
  AND (:before::uuid IS NULL OR p.id < :before)
ORDER BY p.id DESC LIMIT :limit;

-- name: find_connection^
SELECT p.id, p.party_id, p.state, p.version, p.versions_url, p.hub_party_id, p.stale_pushes, p.created_at,
       p.registered_at, p.ended_at,
       ARRAY(SELECT a.party_id FROM gateway.ocpi_peer_party AS a WHERE a.peer_id = p.id ORDER BY a.party_id) AS parties
FROM gateway.ocpi_peer AS p
WHERE p.id = :id AND (:party_id::text IS NULL OR EXISTS (
        SELECT 1 FROM gateway.ocpi_peer_party AS m WHERE m.peer_id = p.id AND m.party_id = :party_id));

-- name: endpoints_of
SELECT module, role, url FROM gateway.ocpi_peer_endpoint WHERE peer_id = :peer_id ORDER BY module, role;

-- name: pulls_of
SELECT module, since, due_at, next_url IS NOT NULL AS running, seen, total, rejected, failures, list_short, last_error,
       updated_at
FROM gateway.ocpi_pull WHERE peer_id = :peer_id ORDER BY module;

-- name: received_of
-- What these parties' objects are here, and when one came last.
SELECT 'locations' AS module, count(*) AS objects, max(updated_at) AS last_at FROM gateway.ocpi_location
WHERE party_id = ANY (:parties::text[])
UNION ALL
SELECT 'tariffs', count(*) FILTER (WHERE superseded_at IS NULL), max(received_at) FROM gateway.ocpi_tariff
WHERE party_id = ANY (:parties::text[])
UNION ALL
SELECT 'sessions', count(*), max(updated_at) FROM gateway.ocpi_session WHERE party_id = ANY (:parties::text[])
UNION ALL
SELECT 'cdrs', count(*), max(received_at) FROM gateway.ocpi_cdr WHERE party_id = ANY (:parties::text[]);

-- name: pending_pushes_of
-- Messages of ours that are not delivered yet, the oldest first.
SELECT module, method, object_id, created_at, run_at, attempts, last_error, exception_at
FROM gateway.ocpi_outbox WHERE party_id = ANY (:parties::text[]) ORDER BY created_at LIMIT :limit;

-- name: list_rejections
SELECT id, party_id, module, object_id, version, status_code, reason, url, pulled, received_at
FROM gateway.ocpi_rejected_push
WHERE (:party_id::text IS NULL OR party_id = :party_id) AND (:before::uuid IS NULL OR id < :before)
ORDER BY id DESC LIMIT :limit;

-- name: list_locations
SELECT l.party_id, l.location_key, l.location_id, l.version, l.body, l.last_updated, l.updated_at
FROM gateway.ocpi_location AS l
WHERE (:party_id::text IS NULL OR l.party_id = :party_id)
  AND (:after_party::text IS NULL OR (l.party_id, l.location_key) > (:after_party, :after_key))
ORDER BY l.party_id, l.location_key LIMIT :limit;

-- name: connectors_of
SELECT c.party_id, c.location_key, c.evse_uid, c.evse_id, c.connector_id, c.status, c.standard, c.format,
       c.power_type, c.max_power_w, c.tariff_keys, c.time_zone
FROM gateway.ocpi_connector AS c
JOIN unnest(:party_ids::text[], :location_keys::text[]) AS wanted (party_id, location_key)
     USING (party_id, location_key)
ORDER BY c.party_id, c.location_key, c.position;

-- name: list_tariffs
SELECT t.party_id, t.tariff_key, t.tariff_id, t.version, t.raw, t.type, t.valid_from, t.valid_until, t.received_at
FROM gateway.ocpi_tariff AS t
WHERE t.superseded_at IS NULL AND (:party_id::text IS NULL OR t.party_id = :party_id)
  AND (:after_party::text IS NULL OR (t.party_id, t.tariff_key) > (:after_party, :after_key))
ORDER BY t.party_id, t.tariff_key LIMIT :limit;

-- name: find_tariff^
SELECT t.party_id, t.tariff_key, t.tariff_id, t.version, t.raw, t.type, t.valid_from, t.valid_until, t.received_at
FROM gateway.ocpi_tariff AS t
WHERE t.party_id = :owner AND t.tariff_key = :tariff_key AND t.superseded_at IS NULL
  AND (:party_id::text IS NULL OR t.party_id = :party_id);

-- name: connectors_with
-- The connectors that name a tariff.
SELECT c.party_id, c.location_key, c.evse_uid, c.evse_id, c.connector_id, c.status, c.standard, c.format,
       c.power_type, c.max_power_w, c.tariff_keys, c.time_zone
FROM gateway.ocpi_connector AS c
WHERE c.party_id = :owner AND :tariff_key = ANY (c.tariff_keys)
ORDER BY c.location_key, c.position LIMIT :limit;

-- name: connectors_named
SELECT c.party_id, c.location_key, c.evse_uid, c.evse_id, c.connector_id, c.status, c.standard, c.format,
       c.power_type, c.max_power_w, c.tariff_keys, c.time_zone
FROM gateway.ocpi_connector AS c
WHERE c.party_id = :owner AND :tariff_key = ANY (c.tariff_keys)
  AND lower(:name) IN (c.location_key || lower('/' || c.evse_uid || '/' || c.connector_id),
                       lower(c.evse_uid || '/' || c.connector_id))
ORDER BY c.location_key, c.position LIMIT 2;

-- name: greatest_power$
SELECT coalesce(max(c.max_power_w), 0) FROM gateway.ocpi_connector AS c
WHERE c.party_id = :owner AND :tariff_key = ANY (c.tariff_keys);
