-- What CPOs push: locations, tariffs, sessions.

-- name: lock_location^
SELECT body, version, last_updated FROM gateway.ocpi_location
WHERE party_id = :party_id AND location_key = :location_key
FOR UPDATE;

-- name: load_location^
SELECT body, version, last_updated FROM gateway.ocpi_location
WHERE party_id = :party_id AND location_key = :location_key;

-- name: save_location$
-- No row comes back where a newer one is kept.
INSERT INTO gateway.ocpi_location
    (party_id, location_key, location_id, version, body, last_updated, received_at, updated_at)
VALUES (:party_id, :location_key, :location_id, :version, :body, :last_updated, :now, :now)
ON CONFLICT (party_id, location_key) DO UPDATE
SET location_id = EXCLUDED.location_id, version = EXCLUDED.version, body = EXCLUDED.body,
    last_updated = EXCLUDED.last_updated, updated_at = EXCLUDED.updated_at
WHERE gateway.ocpi_location.last_updated <= EXCLUDED.last_updated
RETURNING (xmax = 0) AS created;

-- name: forget_connectors!
DELETE FROM gateway.ocpi_connector WHERE party_id = :party_id AND location_key = :location_key;

-- name: add_connector*!
INSERT INTO gateway.ocpi_connector
    (party_id, location_key, evse_uid_key, connector_key, position, location_id, evse_uid, evse_id, evse_key,
     connector_id, status, standard, format, power_type, max_power_w, tariff_keys, time_zone, country, postal_code,
     tax_jurisdiction)
VALUES (:party_id, :location_key, :evse_uid_key, :connector_key, :position, :location_id, :evse_uid, :evse_id,
        :evse_key, :connector_id, :status, :standard, :format, :power_type, :max_power_w, :tariff_keys, :time_zone,
        :country, :postal_code, :tax_jurisdiction)
ON CONFLICT DO NOTHING;

-- name: find_connectors
-- By the EVSE ID, separators and case aside, or else by the EVSE's uid.
SELECT party_id, location_id, evse_uid, evse_id, evse_key, connector_id, connector_key, status, standard, format,
       power_type, max_power_w, tariff_keys, time_zone, country, postal_code, tax_jurisdiction
FROM gateway.ocpi_connector
WHERE (evse_key = :evse_key OR evse_uid_key = :evse_uid_key)
  AND (:party_id::text IS NULL OR party_id = :party_id::text)
ORDER BY (evse_key = :evse_key) DESC NULLS LAST, party_id, location_key, position
LIMIT 200;

-- name: connectors_with_tariffs
-- As `find_connectors`, and beside the first of them that can be meant (by EVSE ID where one fits, of the connector that
-- is asked for, with tariffs) its tariffs as `tariffs_known_at` reads them: a row for each, all else one row each.
WITH found AS MATERIALIZED (
    SELECT party_id, location_id, evse_uid, evse_id, evse_key, connector_id, connector_key, status, standard, format,
           power_type, max_power_w, tariff_keys, time_zone, country, postal_code, tax_jurisdiction,
           evse_key IS NOT DISTINCT FROM :evse_key::text AS by_evse_id,
           row_number() OVER (
               ORDER BY (evse_key = :evse_key::text) DESC NULLS LAST, party_id, location_key, position) AS place
    FROM gateway.ocpi_connector
    WHERE (evse_key = :evse_key::text OR evse_uid_key = :evse_uid_key::text)
      AND (:party_id::text IS NULL OR party_id = :party_id::text)
    ORDER BY place
    LIMIT 200
), meant AS (
    SELECT min(place) AS place FROM found
    WHERE by_evse_id = (SELECT bool_or(by_evse_id) FROM found) AND tariff_keys <> '{}'
      AND (:connector_key::text IS NULL OR connector_key = :connector_key::text)
)
SELECT f.*, f.place = meant.place AS meant,
       t.tariff_id, t.version, t.raw, t.type, t.valid_from, t.valid_until, t.received_at, t.superseded_at
FROM found AS f
CROSS JOIN meant
LEFT JOIN LATERAL (
    SELECT DISTINCT ON (x.tariff_key)
           x.tariff_id, x.version, x.raw, x.type, x.valid_from, x.valid_until, x.received_at, x.superseded_at
    FROM gateway.ocpi_tariff AS x
    WHERE f.place = meant.place AND x.party_id = f.party_id AND x.tariff_key = ANY (f.tariff_keys)
      AND (x.superseded_at IS NULL OR x.superseded_at > :at::timestamptz)
    ORDER BY x.tariff_key, x.received_at, x.id
) AS t ON true
ORDER BY f.place;

-- name: current_tariff^
SELECT id, raw, version, last_updated FROM gateway.ocpi_tariff
WHERE party_id = :party_id AND tariff_key = :tariff_key AND superseded_at IS NULL;

-- name: lock_current_tariff^
SELECT id, raw, version, last_updated, received_at FROM gateway.ocpi_tariff
WHERE party_id = :party_id AND tariff_key = :tariff_key AND superseded_at IS NULL
FOR UPDATE;

-- name: claim_tariff^
-- One writer a tariff until the transaction ends, even while it has no row.
SELECT pg_advisory_xact_lock(hashtextextended(:party_id::text || ' ' || :tariff_key::text, 2471));

-- name: supersede_tariff$
-- Never before it was received, should business time have been set back.
UPDATE gateway.ocpi_tariff SET superseded_at = greatest(:now::timestamptz, received_at)
WHERE party_id = :party_id AND tariff_key = :tariff_key AND superseded_at IS NULL
RETURNING id;

-- name: add_tariff!
INSERT INTO gateway.ocpi_tariff
    (id, party_id, tariff_key, tariff_id, version, raw, type, valid_from, valid_until, last_updated, received_at)
VALUES (:id, :party_id, :tariff_key, :tariff_id, :version, :raw, :type, :valid_from, :valid_until, :last_updated,
        :now);

-- name: tariffs_known_at
-- For each tariff the version that stood at :at; before the first push, the first. Deleted by then: none.
SELECT DISTINCT ON (tariff_key)
       tariff_key, tariff_id, version, raw, type, valid_from, valid_until, received_at, superseded_at
FROM gateway.ocpi_tariff
WHERE party_id = :party_id AND tariff_key = ANY(:tariff_keys::text[])
  AND (superseded_at IS NULL OR superseded_at > :at::timestamptz)
ORDER BY tariff_key, received_at, id;

-- name: tariff_currencies
-- The currencies of all tariffs that operators have published and not withdrawn.
SELECT DISTINCT upper(convert_from(raw, 'UTF8')::jsonb ->> 'currency') AS currency
FROM gateway.ocpi_tariff
WHERE superseded_at IS NULL
ORDER BY currency;

-- name: lock_session^
SELECT body, version, last_updated FROM gateway.ocpi_session
WHERE party_id = :party_id AND session_key = :session_key
FOR UPDATE;

-- name: load_session^
SELECT body, version, status, currency, energy_wh, authorization_reference, last_updated, updated_at
FROM gateway.ocpi_session
WHERE party_id = :party_id AND session_key = :session_key;

-- name: save_session$
-- And, where :watched, have its cost checked: both or neither. No row comes back where a newer one is kept.
WITH saved AS (
    INSERT INTO gateway.ocpi_session
        (party_id, session_key, session_ref, version, body, status, currency, energy_wh, authorization_reference,
         last_updated, received_at, updated_at)
    VALUES (:party_id, :session_key, :session_ref, :version, :body, :status, :currency, :energy_wh,
            :authorization_reference, :last_updated, :now::timestamptz, :now::timestamptz)
    ON CONFLICT (party_id, session_key) DO UPDATE
    SET session_ref = EXCLUDED.session_ref, version = EXCLUDED.version, body = EXCLUDED.body,
        status = EXCLUDED.status, currency = EXCLUDED.currency, energy_wh = EXCLUDED.energy_wh,
        authorization_reference = EXCLUDED.authorization_reference, last_updated = EXCLUDED.last_updated,
        updated_at = EXCLUDED.updated_at
    WHERE gateway.ocpi_session.last_updated <= EXCLUDED.last_updated
    RETURNING party_id, session_key, (xmax = 0) AS created
), watched AS (
    INSERT INTO gateway.ocpi_session_due (party_id, session_key, due_at)
    SELECT saved.party_id, saved.session_key, :wall_now::timestamptz FROM saved WHERE :watched::boolean
    ON CONFLICT (party_id, session_key) DO UPDATE SET due_at = EXCLUDED.due_at, attempts = 0
    RETURNING session_key
)
SELECT created FROM saved;

-- name: add_rejection!
-- What is pulled again and rejected again is kept once.
INSERT INTO gateway.ocpi_rejected_push
    (id, party_id, module, object_id, version, status_code, reason, raw, url, pulled, received_at)
SELECT :id, :party_id::text, :module::text, :object_id::text, :version, :status_code, :reason, :raw::bytea, :url,
       :pulled::boolean, :now
WHERE NOT (:pulled::boolean AND EXISTS (
    SELECT 1 FROM gateway.ocpi_rejected_push AS k
    WHERE k.party_id = :party_id::text AND k.module = :module::text AND k.pulled
      AND k.object_id IS NOT DISTINCT FROM :object_id::text AND k.raw = :raw::bytea));

-- name: list_rejections
SELECT id, party_id, module, object_id, version, status_code, reason, url, pulled, received_at
FROM gateway.ocpi_rejected_push
WHERE (:party_id::text IS NULL OR party_id = :party_id::text)
ORDER BY id DESC
LIMIT :row_limit::int;

-- name: trim_rejections!
-- Keeps the newest :keep of a party.
DELETE FROM gateway.ocpi_rejected_push
WHERE party_id = :party_id AND id < (
    SELECT id FROM gateway.ocpi_rejected_push WHERE party_id = :party_id ORDER BY id DESC OFFSET :keep::int LIMIT 1);

-- name: count_stale!
UPDATE gateway.ocpi_peer SET stale_pushes = stale_pushes + 1 WHERE id = :peer_id;

-- name: evses_of
-- The EVSEs of one location that are not removed, in the location's order.
SELECT evse_uid FROM gateway.ocpi_connector
WHERE party_id = :party_id AND location_key = :location_key
GROUP BY evse_uid
ORDER BY min(position);

-- name: take_due_session^
-- Kept from others until :leased_until.
UPDATE gateway.ocpi_session_due AS d
SET due_at = :leased_until::timestamptz, attempts = d.attempts + 1
FROM (
    SELECT party_id, session_key FROM gateway.ocpi_session_due
    WHERE due_at <= :wall_now::timestamptz
    ORDER BY due_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
) AS next, gateway.ocpi_session AS s
WHERE d.party_id = next.party_id AND d.session_key = next.session_key
  AND s.party_id = d.party_id AND s.session_key = d.session_key
RETURNING d.party_id, d.session_key, d.attempts, d.due_at, s.session_ref, s.version, s.body, s.energy_wh,
          s.authorization_reference, s.last_updated;

-- name: session_done!
-- Unless an update has made it due again meanwhile.
DELETE FROM gateway.ocpi_session_due
WHERE party_id = :party_id AND session_key = :session_key AND due_at = :due_at;

-- name: last_update^
-- The last update that the CPO sent of a running session, by its own id or by our reference.
SELECT version, body, energy_wh, last_updated, session_ref FROM gateway.ocpi_session
WHERE party_id = :cpo_id AND (authorization_reference = ANY (:references::text[]) OR session_key = :session_key)
ORDER BY last_updated DESC
LIMIT 1;
