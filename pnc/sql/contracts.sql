-- Contracts, their changes, and the certificates that name them.

-- name: load_contract^
SELECT * FROM pnc.contract WHERE environment = :environment AND emaid = :emaid;

-- name: lock_contract^
SELECT * FROM pnc.contract WHERE environment = :environment AND emaid = :emaid FOR UPDATE;

-- name: insert_contract^
INSERT INTO pnc.contract
    (environment, emaid, contract_id, party, payment_kind, payment_reference, state, valid_from, valid_until,
     limit_minor, currency, updated_at)
VALUES (:environment, :emaid, :contract_id, :party, :payment_kind, :payment_reference, :state, :valid_from,
        :valid_until, :limit_minor, :currency, :now)
ON CONFLICT (environment, emaid) DO NOTHING
RETURNING *;

-- name: update_contract^
UPDATE pnc.contract
SET payment_kind = :payment_kind, payment_reference = :payment_reference, payment_usable = :payment_usable,
    state = :state, valid_from = :valid_from, valid_until = :valid_until, limit_minor = :limit_minor,
    currency = :currency, revision = revision + 1, updated_at = :now
WHERE environment = :environment AND emaid = :emaid
RETURNING *;

-- name: insert_change!
INSERT INTO pnc.contract_change (environment, emaid, contract_id, party, kind, revision, actor, reason, at)
VALUES (:environment, :emaid, :contract_id, :party, :kind, :revision, :actor, :reason, :at);

-- name: contracts_of_payment
-- In the order of their keys, so that two writers lock them in the same order.
SELECT * FROM pnc.contract
WHERE payment_kind = :payment_kind AND payment_reference = :payment_reference
ORDER BY environment, emaid
FOR UPDATE;

-- name: list_contracts
SELECT * FROM pnc.contract
WHERE environment = :environment AND (:party::text IS NULL OR party = :party) AND emaid > :after
ORDER BY emaid
LIMIT :limit;

-- name: changes_after
-- Only what no running transaction can still precede.
SELECT written_by::text AS written_by, sequence, emaid, contract_id, party, kind, revision, actor, reason, at
FROM pnc.contract_change
WHERE environment = :environment AND (:party::text IS NULL OR party = :party)
  AND (written_by, sequence) > (:after_transaction::text::xid8, :after_sequence::bigint)
  AND written_by < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY written_by, sequence
LIMIT :limit;

-- name: history_of_contract
SELECT kind, revision, actor, reason, at FROM pnc.contract_change
WHERE environment = :environment AND emaid = :emaid
ORDER BY revision, sequence;

-- name: register_authority!
INSERT INTO pnc.authority_hash (environment, algorithm, name_hash, key_hash, authority_sha256)
SELECT :environment, wanted.algorithm, wanted.name_hash, wanted.key_hash, :authority_sha256
FROM unnest(:algorithms::text[], :name_hashes::bytea[], :key_hashes::bytea[])
    AS wanted (algorithm, name_hash, key_hash)
ON CONFLICT DO NOTHING;

-- name: register_certificate^
INSERT INTO pnc.contract_certificate
    (environment, authority_sha256, serial, emaid, bundle, leaf_sha256, not_before, not_after, source, registered_at)
VALUES (:environment, :authority_sha256, :serial, :emaid, :bundle, :leaf_sha256, :not_before, :not_after, :source,
        :registered_at)
ON CONFLICT (environment, authority_sha256, serial) DO NOTHING
RETURNING emaid;

-- name: load_certificate^
SELECT emaid, bundle, leaf_sha256, withdrawn_at FROM pnc.contract_certificate
WHERE environment = :environment AND authority_sha256 = :authority_sha256 AND serial = :serial;

-- name: certificates_by_hash
SELECT DISTINCT r.emaid, r.bundle, r.leaf_sha256, r.withdrawn_at
FROM unnest(:algorithms::text[], :name_hashes::bytea[], :key_hashes::bytea[], :serials::bytea[])
    AS wanted (algorithm, name_hash, key_hash, serial)
JOIN pnc.authority_hash AS a
  ON a.environment = :environment AND a.algorithm = wanted.algorithm
 AND a.name_hash = wanted.name_hash AND a.key_hash = wanted.key_hash
JOIN pnc.contract_certificate AS r
  ON r.environment = :environment AND r.authority_sha256 = a.authority_sha256 AND r.serial = wanted.serial;

-- name: certificates_of_contract
SELECT authority_sha256, serial, leaf_sha256, not_before, not_after, source, registered_at, withdrawn_at,
       withdrawn_reason
FROM pnc.contract_certificate
WHERE environment = :environment AND emaid = :emaid
ORDER BY registered_at, serial;

-- name: withdraw_certificate^
UPDATE pnc.contract_certificate SET withdrawn_at = :now, withdrawn_reason = :reason
WHERE environment = :environment AND emaid = :emaid AND leaf_sha256 = :leaf_sha256 AND withdrawn_at IS NULL
RETURNING emaid;
