-- Lists that we serve as the owner of what they hold, oldest first so that pages stay where they are.

-- name: locations
SELECT body AS object, count(*) OVER () AS total FROM gateway.ocpi_location
WHERE party_id = ANY(:parties::text[])
  AND (:date_from::timestamptz IS NULL OR last_updated >= :date_from::timestamptz)
  AND (:date_to::timestamptz IS NULL OR last_updated < :date_to::timestamptz)
ORDER BY received_at, party_id, location_key
LIMIT :row_limit::int OFFSET :row_offset::bigint;

-- name: tariffs
SELECT raw AS object, count(*) OVER () AS total FROM gateway.ocpi_tariff
WHERE party_id = ANY(:parties::text[]) AND superseded_at IS NULL
  AND (:date_from::timestamptz IS NULL OR last_updated >= :date_from::timestamptz)
  AND (:date_to::timestamptz IS NULL OR last_updated < :date_to::timestamptz)
ORDER BY received_at, id
LIMIT :row_limit::int OFFSET :row_offset::bigint;

-- name: sessions
-- Only those of the caller's own drivers.
SELECT s.body AS object, count(*) OVER () AS total FROM gateway.ocpi_session AS s
CROSS JOIN LATERAL (SELECT convert_from(s.body, 'UTF8')::jsonb -> 'cdr_token' AS token) AS t
WHERE s.party_id = ANY(:parties::text[])
  AND upper(concat(t.token ->> 'country_code', '-', t.token ->> 'party_id')) = ANY(:readers::text[])
  AND (:date_from::timestamptz IS NULL OR s.last_updated >= :date_from::timestamptz)
  AND (:date_to::timestamptz IS NULL OR s.last_updated < :date_to::timestamptz)
ORDER BY s.received_at, s.party_id, s.session_key
LIMIT :row_limit::int OFFSET :row_offset::bigint;

-- name: cdrs
-- Only those of the caller's own drivers.
SELECT c.raw AS object, count(*) OVER () AS total FROM gateway.ocpi_cdr AS c
CROSS JOIN LATERAL (SELECT convert_from(c.raw, 'UTF8')::jsonb -> 'cdr_token' AS token) AS t
WHERE c.party_id = ANY(:parties::text[])
  AND upper(concat(t.token ->> 'country_code', '-', t.token ->> 'party_id')) = ANY(:readers::text[])
  AND (:date_from::timestamptz IS NULL OR c.last_updated >= :date_from::timestamptz)
  AND (:date_to::timestamptz IS NULL OR c.last_updated < :date_to::timestamptz)
ORDER BY c.received_at, c.party_id, c.cdr_key
LIMIT :row_limit::int OFFSET :row_offset::bigint;

-- name: terminals
SELECT body AS object, count(*) OVER () AS total FROM gateway.ocpi_terminal
WHERE cpo_id = ANY(:parties::text[])
  AND (:date_from::timestamptz IS NULL OR last_updated >= :date_from::timestamptz)
  AND (:date_to::timestamptz IS NULL OR last_updated < :date_to::timestamptz)
ORDER BY created_at, terminal_key
LIMIT :row_limit::int OFFSET :row_offset::bigint;

-- name: advices
SELECT body AS object, count(*) OVER () AS total FROM gateway.ocpi_financial_advice
WHERE cpo_id = ANY(:parties::text[])
  AND (:date_from::timestamptz IS NULL OR last_updated >= :date_from::timestamptz)
  AND (:date_to::timestamptz IS NULL OR last_updated < :date_to::timestamptz)
ORDER BY last_updated, advice_id
LIMIT :row_limit::int OFFSET :row_offset::bigint;
