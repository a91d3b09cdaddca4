-- Verified statements about certificates, and CRLs.

-- name: load_statuses
SELECT s.authority_sha256, s.serial, s.status, s.source, s.this_update, s.usable_until, s.revoked_at
FROM pnc.revocation_status AS s
JOIN unnest(:authorities::bytea[], :serials::bytea[]) AS wanted (authority_sha256, serial)
  USING (authority_sha256, serial);

-- name: save_status!
-- A newer statement replaces an older one; an older response, replayed, changes nothing.
INSERT INTO pnc.revocation_status AS known
    (authority_sha256, serial, status, source, this_update, usable_until, revoked_at, checked_at)
VALUES (:authority_sha256, :serial, :status, :source, :this_update, :usable_until, :revoked_at, :checked_at)
ON CONFLICT (authority_sha256, serial) DO UPDATE
SET status = excluded.status, source = excluded.source, this_update = excluded.this_update,
    usable_until = excluded.usable_until, revoked_at = excluded.revoked_at, checked_at = excluded.checked_at
WHERE excluded.this_update > known.this_update
   OR (excluded.this_update = known.this_update AND known.status <> 'revoked')
   OR (excluded.status = 'revoked' AND excluded.source = 'crl' AND known.status <> 'revoked');

-- name: revoke_listed!
UPDATE pnc.revocation_status
SET status = 'revoked', source = 'crl', this_update = :this_update, revoked_at = :this_update, checked_at = :now
WHERE authority_sha256 = :authority_sha256 AND serial = ANY(:serials::bytea[]) AND status <> 'revoked';

-- name: load_crl^
SELECT der, this_update, usable_until FROM pnc.revocation_list WHERE authority_sha256 = :authority_sha256;

-- name: save_crl!
INSERT INTO pnc.revocation_list AS known (authority_sha256, der, this_update, usable_until, fetched_at)
VALUES (:authority_sha256, :der, :this_update, :usable_until, :fetched_at)
ON CONFLICT (authority_sha256) DO UPDATE
SET der = excluded.der, this_update = excluded.this_update, usable_until = excluded.usable_until,
    fetched_at = excluded.fetched_at
WHERE excluded.this_update >= known.this_update;

-- name: due_bundles
-- Registered certificates whose status ends soon or is not known, oldest first.
SELECT r.environment, r.bundle, r.authority_sha256, r.serial
FROM pnc.contract_certificate AS r
LEFT JOIN pnc.revocation_status AS s USING (authority_sha256, serial)
WHERE r.environment = :environment AND r.blocked_at IS NULL AND r.not_after > :now
  AND coalesce(s.status, 'good') = 'good'
  AND coalesce(s.usable_until, '-infinity'::timestamptz) < :ends_before
ORDER BY s.usable_until NULLS FIRST, r.authority_sha256, r.serial
LIMIT :batch;
