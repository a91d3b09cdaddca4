-- Trust and its history.

-- name: ensure_environment!
INSERT INTO pnc.environment (environment) VALUES (:environment) ON CONFLICT DO NOTHING;

-- name: raise_version$
-- Also the lock under which trust changes, one change at a time.
UPDATE pnc.environment SET version = version + 1 WHERE environment = :environment RETURNING version;

-- name: trust_version$
SELECT version FROM pnc.environment WHERE environment = :environment;

-- name: load_anchors
SELECT sha256, purpose, der, subject, not_before, not_after, policy, policy_reason, added_at, retired_at, list_name
FROM pnc.trust_anchor
WHERE environment = :environment AND (retired_at IS NULL OR :with_retired)
ORDER BY added_at, sha256;

-- name: load_cross_certificates
SELECT sha256, der, subject, issuer, added_at, retired_at FROM pnc.cross_certificate
WHERE environment = :environment AND (retired_at IS NULL OR :with_retired)
ORDER BY added_at, sha256;

-- name: load_endpoints
SELECT authority_sha256, kind, origin FROM pnc.revocation_endpoint WHERE environment = :environment
ORDER BY authority_sha256, kind, origin;

-- name: add_anchor^
-- A retired anchor is trusted again; no row when it is in force.
INSERT INTO pnc.trust_anchor AS known
    (environment, sha256, purpose, der, subject, not_before, not_after, policy, policy_reason, added_at, list_name)
VALUES (:environment, :sha256, :purpose, :der, :subject, :not_before, :not_after, :policy, :policy_reason, :added_at,
        :list_name)
ON CONFLICT (environment, sha256) DO UPDATE
SET purpose = excluded.purpose, policy = excluded.policy, policy_reason = excluded.policy_reason,
    added_at = excluded.added_at, list_name = excluded.list_name, retired_at = NULL
WHERE known.retired_at IS NOT NULL
RETURNING sha256;

-- name: retire_anchor^
UPDATE pnc.trust_anchor SET retired_at = :now
WHERE environment = :environment AND sha256 = :sha256 AND retired_at IS NULL
RETURNING sha256;

-- name: set_policy^
UPDATE pnc.trust_anchor SET policy = :policy, policy_reason = :policy_reason
WHERE environment = :environment AND sha256 = :sha256 AND retired_at IS NULL
RETURNING sha256;

-- name: load_contract_authorities
SELECT anchor_sha256, key_sha256, subject, added_at FROM pnc.contract_authority
WHERE environment = :environment
ORDER BY anchor_sha256, added_at, key_sha256;

-- name: anchor_in_force$
SELECT sha256 FROM pnc.trust_anchor
WHERE environment = :environment AND sha256 = :sha256 AND retired_at IS NULL;

-- name: allow_contract_authority^
INSERT INTO pnc.contract_authority (environment, anchor_sha256, key_sha256, subject, added_at)
VALUES (:environment, :anchor_sha256, :key_sha256, :subject, :added_at)
ON CONFLICT DO NOTHING
RETURNING key_sha256;

-- name: remove_contract_authority^
DELETE FROM pnc.contract_authority
WHERE environment = :environment AND anchor_sha256 = :anchor_sha256 AND key_sha256 = :key_sha256
RETURNING key_sha256;

-- name: add_cross_certificate^
INSERT INTO pnc.cross_certificate AS known (environment, sha256, der, subject, issuer, added_at)
VALUES (:environment, :sha256, :der, :subject, :issuer, :added_at)
ON CONFLICT (environment, sha256) DO UPDATE SET added_at = excluded.added_at, retired_at = NULL
WHERE known.retired_at IS NOT NULL
RETURNING sha256;

-- name: retire_cross_certificate^
UPDATE pnc.cross_certificate SET retired_at = :now
WHERE environment = :environment AND sha256 = :sha256 AND retired_at IS NULL
RETURNING sha256;

-- name: allow_endpoint^
INSERT INTO pnc.revocation_endpoint (environment, authority_sha256, kind, origin)
VALUES (:environment, :authority_sha256, :kind, :origin)
ON CONFLICT DO NOTHING
RETURNING origin;

-- name: remove_endpoint^
DELETE FROM pnc.revocation_endpoint
WHERE environment = :environment AND authority_sha256 = :authority_sha256 AND kind = :kind AND origin = :origin
RETURNING origin;

-- name: insert_trust_event!
INSERT INTO pnc.trust_event (environment, version, kind, sha256, detail, actor, reason, at)
VALUES (:environment, :version, :kind, :sha256, :detail, :actor, :reason, :at);

-- name: trust_history
SELECT version, kind, sha256, detail, actor, reason, at FROM pnc.trust_event
WHERE environment = :environment AND version > :after AND (:kinds::text[] IS NULL OR kind = ANY(:kinds::text[]))
ORDER BY version
LIMIT :limit;
