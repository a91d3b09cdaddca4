-- name: insert_party!
INSERT INTO gateway.party (id, kind, created_at)
VALUES (:id, :kind, :created_at)
ON CONFLICT (id) DO NOTHING;

-- name: select_party^
SELECT id, kind, created_at FROM gateway.party WHERE id = :id;

-- name: list_parties
SELECT id, kind, created_at FROM gateway.party
WHERE id > :after ORDER BY id LIMIT :limit;

-- name: insert_api_key!
INSERT INTO gateway.api_key (id, party_id, prefix, secret_hash, scopes, created_at, expires_at)
VALUES (:id, :party_id, :prefix, :secret_hash, :scopes, :created_at, :expires_at);

-- name: select_api_key_by_prefix^
SELECT k.id, k.party_id, k.secret_hash, k.scopes, k.expires_at, k.revoked_at,
       (SELECT array_agg(c.sha256) FROM gateway.client_certificate c
         WHERE c.party_id = k.party_id AND c.retired_at IS NULL) AS certificates
FROM gateway.api_key k WHERE k.prefix = :prefix;

-- name: select_api_key^
SELECT id, party_id, prefix, scopes, created_at, expires_at, revoked_at, coalesce(principal, prefix) AS principal
FROM gateway.api_key WHERE party_id = :party_id AND id = :id;

-- name: list_api_keys
SELECT id, party_id, prefix, scopes, created_at, expires_at, revoked_at, coalesce(principal, prefix) AS principal
FROM gateway.api_key WHERE party_id = :party_id ORDER BY id;

-- The old key of a rotation lives on until the overlap ends, never longer than it would have.
-- name: expire_api_key^
UPDATE gateway.api_key
SET expires_at = least(coalesce(expires_at, :expires_at), :expires_at)
WHERE party_id = :party_id AND id = :id AND revoked_at IS NULL
RETURNING scopes;

-- name: revoke_api_key^
UPDATE gateway.api_key SET revoked_at = coalesce(revoked_at, :revoked_at)
WHERE party_id = :party_id AND id = :id
RETURNING prefix;
