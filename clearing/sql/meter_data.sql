-- Keys of meters, policies, and records that settled a session.

-- name: lock_party!
-- Changes to the keys of one party wait for each other.
SELECT 1 FROM clearing.party WHERE id = :party_id FOR NO KEY UPDATE;

-- name: insert_key!
INSERT INTO clearing.meter_key (id, party_id, meter_serial, gateway_serial, charge_point_id, meter_key, gateway_key,
    point_key, curve, der, source, state, valid_from, valid_to, entered_by, entered_at)
VALUES (:id, :party_id, :meter_serial, :gateway_serial, :charge_point_id, :meter_key, :gateway_key, :point_key, :curve,
    :der, :source, :state, :valid_from, :valid_to, :entered_by, :entered_at);

-- name: keys_of_identities
-- The keys that may concern meters, gateways or charge points of these names.
SELECT id, party_id, meter_serial, gateway_serial, charge_point_id, curve, der, source, state, valid_from, valid_to,
       entered_by, entered_at, decided_by, decided_at
FROM clearing.meter_key
WHERE party_id = :party_id AND state <> 'rejected'
  AND ((meter_key <> '' AND meter_key = ANY(:meters::text[]))
    OR (gateway_key <> '' AND gateway_key = ANY(:gateways::text[]))
    OR (point_key <> '' AND point_key = ANY(:points::text[])))
ORDER BY valid_from DESC, id;

-- name: has_key$
-- Whether any key of the party counts at an instant.
SELECT EXISTS (SELECT 1 FROM clearing.meter_key WHERE party_id = :party_id AND state = 'active' AND valid_from <= :at
    AND (valid_to IS NULL OR valid_to > :at));

-- name: keys
SELECT id, party_id, meter_serial, gateway_serial, charge_point_id, curve, der, source, state, valid_from, valid_to,
       entered_by, entered_at, decided_by, decided_at
FROM clearing.meter_key
WHERE (:party_id::text IS NULL OR party_id = :party_id::text) AND (:state::text IS NULL OR state = :state::text)
  AND (:before::uuid IS NULL OR id < :before::uuid)
ORDER BY id DESC
LIMIT :row_limit::int;

-- name: lock_key^
SELECT id, party_id, meter_serial, gateway_serial, charge_point_id, curve, der, source, state, valid_from, valid_to,
       entered_by, entered_at, decided_by, decided_at
FROM clearing.meter_key WHERE id = :id FOR UPDATE;

-- name: decide_key!
UPDATE clearing.meter_key SET state = :state, decided_by = :by, decided_at = :now WHERE id = :id;

-- name: end_key!
UPDATE clearing.meter_key SET valid_to = :valid_to WHERE id = :id;

-- name: set_policy!
INSERT INTO clearing.meter_policy (party_id, valid_from, policy, set_by, set_at)
VALUES (:party_id, :valid_from, :policy, :by, :now)
ON CONFLICT (party_id, valid_from) DO UPDATE SET policy = excluded.policy, set_by = excluded.set_by, set_at = excluded.set_at;

-- name: policy_at$
SELECT policy FROM clearing.meter_policy WHERE party_id = :party_id AND valid_from <= :at
ORDER BY valid_from DESC LIMIT 1;

-- name: policies
SELECT party_id, valid_from, policy, set_by, set_at FROM clearing.meter_policy WHERE party_id = :party_id
ORDER BY valid_from DESC LIMIT 1000;

-- name: claim_records
-- Claim each record for a session; the pages that another session has. Locked in the order of their names.
WITH asked AS (
    SELECT source, page, digest FROM unnest(:sources::text[], :pages::text[], :digests::bytea[])
        AS named (source, page, digest) ORDER BY source, page
), claimed AS (
    INSERT INTO clearing.meter_record (party_id, source, page, payload_sha256, session_id, cdr_id, claimed_at)
    SELECT :party_id, source, page, digest, :session_id::uuid, :cdr_id, :now::timestamptz FROM asked
    ON CONFLICT (party_id, source, page) DO UPDATE SET cdr_id = clearing.meter_record.cdr_id
    RETURNING page, session_id
)
SELECT page FROM claimed WHERE session_id <> :session_id::uuid ORDER BY page;
