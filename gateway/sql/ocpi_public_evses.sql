-- The directory of public EVSEs.

-- name: forget_public_evses!
DELETE FROM gateway.ocpi_public_evse WHERE party_id = :party_id AND location_key = :location_key;

-- name: add_public_evse*!
INSERT INTO gateway.ocpi_public_evse
    (party_id, location_key, evse_uid_key, location_id, evse_uid, evse_id, evse_key, status, latitude, longitude,
     name, address, city, postal_code, country, time_zone, operator_name, standards, max_power_w, last_updated)
VALUES (:party_id, :location_key, :evse_uid_key, :location_id, :evse_uid, :evse_id, :evse_key, :status, :latitude,
        :longitude, :name, :address, :city, :postal_code, :country, :time_zone, :operator_name, :standards,
        :max_power_w, :last_updated)
ON CONFLICT DO NOTHING;

-- name: find_public_evses
-- A box first, by its index, then the exact distance: haversine on the Earth's mean radius, twice 6371008.8 m.
WITH found AS (
    SELECT e.*,
           CASE WHEN :latitude::numeric IS NULL THEN 0
                ELSE round(12742017.6 * asin(least(1, sqrt(
                    power(sind((e.latitude - :latitude::numeric)::float8 / 2), 2)
                    + cosd(e.latitude::float8) * cosd(:latitude::numeric::float8)
                      * power(sind((e.longitude - :longitude::numeric)::float8 / 2), 2)))))::bigint
           END AS distance_m
    FROM gateway.ocpi_public_evse AS e
    WHERE (:south::numeric IS NULL OR e.latitude BETWEEN :south::numeric AND :north::numeric)
      AND (:south::numeric IS NULL
           OR CASE WHEN :west::numeric <= :east::numeric THEN e.longitude BETWEEN :west::numeric AND :east::numeric
                   ELSE e.longitude >= :west::numeric OR e.longitude <= :east::numeric END)
      AND (:evse_key::text IS NULL OR e.evse_key = :evse_key::text OR e.evse_uid_key = :evse_uid_key::text)
      AND (:party_id::text IS NULL OR e.party_id = :party_id::text)
      AND (:status::text IS NULL OR e.status = :status::text)
      AND (:standard::text IS NULL OR :standard::text = ANY (e.standards))
      AND (:min_power_w::bigint IS NULL OR e.max_power_w >= :min_power_w::bigint)
      AND (:max_power_w::bigint IS NULL OR e.max_power_w <= :max_power_w::bigint)
)
SELECT f.party_id, f.location_key, f.evse_uid_key, f.location_id, f.evse_uid, f.evse_id, f.evse_key, f.status,
       f.latitude, f.longitude, f.name, f.address, f.city, f.postal_code, f.country, f.time_zone,
       coalesce(f.operator_name, (
           SELECT min(r.name) FROM gateway.ocpi_peer_role AS r
           WHERE r.role = 'CPO' AND r.country_code || '-' || r.party_code = f.party_id)) AS operator_name,
       f.last_updated, f.distance_m
FROM found AS f
WHERE (:radius_m::bigint IS NULL OR f.distance_m <= :radius_m::bigint)
  AND (:after_distance_m::bigint IS NULL
       OR (f.distance_m, f.party_id, f.location_key, f.evse_uid_key)
          > (:after_distance_m::bigint, :after_party_id::text, :after_location_key::text, :after_evse_uid_key::text))
ORDER BY f.distance_m, f.party_id, f.location_key, f.evse_uid_key
LIMIT :row_limit::int;

-- name: connectors_of
SELECT c.party_id, c.location_key, c.evse_uid_key, c.connector_id, c.standard, c.format, c.power_type, c.max_power_w,
       c.tariff_keys
FROM gateway.ocpi_connector AS c
JOIN unnest(:party_ids::text[], :location_keys::text[], :evse_uid_keys::text[])
     AS wanted (party_id, location_key, evse_uid_key) USING (party_id, location_key, evse_uid_key)
ORDER BY c.party_id, c.location_key, c.position;

-- name: tariffs_of
-- For each tariff the version that stood at :at; before the first push, the first. Deleted by then: none.
SELECT DISTINCT ON (t.party_id, t.tariff_key)
       t.party_id, t.tariff_key, t.tariff_id, t.version, t.raw, t.type, t.valid_from, t.valid_until, t.received_at,
       t.superseded_at
FROM gateway.ocpi_tariff AS t
JOIN unnest(:party_ids::text[], :tariff_keys::text[]) AS wanted (party_id, tariff_key) USING (party_id, tariff_key)
WHERE t.superseded_at IS NULL OR t.superseded_at > :at::timestamptz
ORDER BY t.party_id, t.tariff_key, t.received_at, t.id;

-- name: public_locations
-- Locations with a public EVSE in a country, whole; the name that their CPO's role has.
SELECT l.party_id, l.version, l.body, l.last_updated,
       (SELECT min(r.name) FROM gateway.ocpi_peer_role AS r
        WHERE r.role = 'CPO' AND r.country_code || '-' || r.party_code = l.party_id) AS role_name
FROM gateway.ocpi_location AS l
WHERE EXISTS (
        SELECT 1 FROM gateway.ocpi_public_evse AS e
        WHERE e.party_id = l.party_id AND e.location_key = l.location_key AND e.country = :country)
  AND (:party_id::text IS NULL OR l.party_id = :party_id::text)
ORDER BY l.party_id, l.location_key;
