-- name: ended_sessions
-- Of the given authorizations, those whose session has its CDR or no authorization left that could be captured.
SELECT a.id
FROM unnest(:shards::smallint[], :ids::uuid[]) AS wanted (shard, id)
JOIN gateway.payment_authorization a ON a.shard = wanted.shard AND a.id = wanted.id
JOIN gateway.session s ON s.shard = a.shard AND s.id = a.session_id
WHERE s.state <> 'active' OR NOT EXISTS (
    SELECT 1 FROM gateway.payment_authorization other
    WHERE other.shard = s.shard AND other.session_id = s.id AND other.state NOT IN ('voided', 'failed'));


-- name: name_evse$
-- The EVSE of a session whose station named it late, with the tariff that its session is bound to from now on. No row
-- when the session has ended.
WITH snapshot AS (
    INSERT INTO gateway.tariff_snapshot (sha256, version, canonical, currency, created_at)
    VALUES (:tariff_sha256::text, :tariff_version::text, :tariff_canonical::bytea, :currency::char(3), :now::timestamptz)
    ON CONFLICT (sha256) DO NOTHING
)
UPDATE gateway.session
SET evse_id = :evse_id::text, evse_uid = :evse_uid::text, evse_power_w = :evse_power_w::bigint,
    power_type = :power_type::text, tariff_sha256 = :tariff_sha256::text, updated_at = :now::timestamptz
WHERE shard = :shard::smallint AND id = :session_id::uuid AND state = 'active' AND currency = :currency::char(3)
  AND location_id = :location_id::text
RETURNING id;
-- name: amounts_of_authorizations
-- What each of the given authorizations costs: its capture with what is still due, or its hold while it stands.
SELECT a.id, a.currency,
       CASE WHEN c.state IN ('requested', 'succeeded') THEN c.amount_minor + c.receivable_minor
            WHEN a.state IN ('voided', 'failed') THEN 0
            ELSE a.hold_minor END AS amount_minor
FROM unnest(:shards::smallint[], :ids::uuid[]) AS wanted (shard, id)
JOIN gateway.payment_authorization a ON a.shard = wanted.shard AND a.id = wanted.id  -- shards of a
LEFT JOIN gateway.capture c ON c.shard = a.shard AND c.session_id = a.session_id AND c.authorization_id = a.id  -- shards of c
;
