-- The certificates that name contracts, found by their hash data.

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
SELECT emaid, bundle, leaf_sha256, blocked_at FROM pnc.contract_certificate
WHERE environment = :environment AND authority_sha256 = :authority_sha256 AND serial = :serial;

-- name: certificates_by_hash
SELECT DISTINCT r.emaid, r.bundle, r.leaf_sha256, r.blocked_at
FROM unnest(:algorithms::text[], :name_hashes::bytea[], :key_hashes::bytea[], :serials::bytea[])
    AS wanted (algorithm, name_hash, key_hash, serial)
JOIN pnc.authority_hash AS a
  ON a.environment = :environment AND a.algorithm = wanted.algorithm
 AND a.name_hash = wanted.name_hash AND a.key_hash = wanted.key_hash
JOIN pnc.contract_certificate AS r
  ON r.environment = :environment AND r.authority_sha256 = a.authority_sha256 AND r.serial = wanted.serial;

-- name: certificates_of_contract
SELECT authority_sha256, serial, leaf_sha256, not_before, not_after, source, registered_at, blocked_at,
       blocked_reason
FROM pnc.contract_certificate
WHERE environment = :environment AND emaid = :emaid
ORDER BY registered_at, serial;

-- name: block_certificate^
UPDATE pnc.contract_certificate SET blocked_at = :now, blocked_reason = :reason
WHERE environment = :environment AND emaid = :emaid AND leaf_sha256 = :leaf_sha256 AND blocked_at IS NULL
RETURNING emaid;

-- name: certificate_blocked^
SELECT 1 AS found FROM pnc.contract_certificate
WHERE environment = :environment AND emaid = :emaid AND leaf_sha256 = :leaf_sha256 AND blocked_at IS NOT NULL
LIMIT 1;
