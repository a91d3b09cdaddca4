-- Where operators take bookings, and the bookings that we requested.

-- name: save_booking_location$
-- Unless what is kept is newer.
INSERT INTO gateway.ocpi_booking_location AS l
    (party_id, booking_location_key, booking_location_id, location_key, body, last_updated, updated_at)
VALUES (:party_id, :key, :booking_location_id, :location_key, :body, :last_updated, :now)
ON CONFLICT (party_id, booking_location_key) DO UPDATE
SET booking_location_id = EXCLUDED.booking_location_id, location_key = EXCLUDED.location_key, body = EXCLUDED.body,
    last_updated = EXCLUDED.last_updated, updated_at = EXCLUDED.updated_at
WHERE least(l.last_updated, EXCLUDED.updated_at) <= EXCLUDED.last_updated
RETURNING (xmax = 0) AS created;

-- name: load_booking_location^
SELECT party_id, booking_location_id, location_key, body, last_updated FROM gateway.ocpi_booking_location
WHERE party_id = :party_id AND booking_location_key = :key;

-- name: lock_booking_location^
SELECT party_id, booking_location_id, location_key, body, last_updated FROM gateway.ocpi_booking_location
WHERE party_id = :party_id AND booking_location_key = :key
FOR UPDATE;

-- name: list_booking_locations
SELECT party_id, booking_location_id, location_key, body, last_updated FROM gateway.ocpi_booking_location
WHERE (:party_id::text IS NULL OR party_id = :party_id::text)
  AND (:location_key::text IS NULL OR location_key = :location_key::text)
  AND (party_id, booking_location_key) > (:after_party::text, :after_key::text)
ORDER BY party_id, booking_location_key
LIMIT :row_limit::int;

-- name: request_booking!
-- The intent, before the CPO is asked: a new booking, or a change of one that has not ended.
INSERT INTO gateway.ocpi_booking
    (session_id, cpo_id, demand_partner_id, request_key, booking_location_id, begins_at, ends_at, status,
     request_status, created_at, updated_at)
VALUES (:session_id, :cpo_id, :demand_partner_id, :request_key, :booking_location_id, :begins_at, :ends_at, 'PENDING',
        'PENDING', :now, :now)
ON CONFLICT (session_id) DO UPDATE
SET request_status = 'PENDING', reason = NULL, updated_at = EXCLUDED.updated_at;

-- name: load_booking^
SELECT session_id, cpo_id, demand_partner_id, request_key, booking_location_id, begins_at, ends_at, status,
       request_status, reason, body, last_updated, created_at
FROM gateway.ocpi_booking WHERE session_id = :session_id;

-- name: lock_booking^
-- By the request's id, which the text asks for in one place, or the CPO's own, which it asks for in another.
SELECT session_id, cpo_id, demand_partner_id, request_key, booking_location_id, begins_at, ends_at, status,
       request_status, reason, body, last_updated, created_at
FROM gateway.ocpi_booking
WHERE cpo_id = :cpo_id AND (request_key = :key OR booking_key = :key)
ORDER BY request_key <> :key
LIMIT 1
FOR UPDATE;

-- name: answer_booking!
UPDATE gateway.ocpi_booking
SET booking_key = coalesce(:booking_key::text, booking_key), status = :status, request_status = :request_status,
    begins_at = coalesce(:begins_at::timestamptz, begins_at), ends_at = coalesce(:ends_at::timestamptz, ends_at),
    reason = :reason, body = coalesce(:body::bytea, body),
    last_updated = coalesce(:last_updated::timestamptz, last_updated), updated_at = :now
WHERE session_id = :session_id;
