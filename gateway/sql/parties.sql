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
INSERT INTO gateway.api_key (id, party_id, prefix, secret_hash, scopes, created_at, expires_at, allowed_networks,
                             api_version)
VALUES (:id, :party_id, :prefix, :secret_hash, :scopes, :created_at, :expires_at, :allowed_networks::cidr[],
        :api_version);

-- What names of scopes stand for: those of the first release for several, each other one for itself.
-- name: resolve_scopes
SELECT DISTINCT coalesce(s.scope, n.name) AS scope
FROM unnest(:names::text[]) AS n (name) LEFT JOIN gateway.scope_set AS s ON s.name = n.name;

-- Later uses only: processes note them in no order.
-- name: note_used_keys!
UPDATE gateway.api_key AS k SET last_used_at = u.used_at
FROM unnest(:prefixes::text[], :used_at::timestamptz[]) AS u (prefix, used_at)
WHERE k.prefix = u.prefix AND (k.last_used_at IS NULL OR k.last_used_at < u.used_at);

-- name: select_api_key_by_prefix^
SELECT k.id, k.party_id, k.secret_hash, k.expires_at, k.revoked_at, k.allowed_networks, k.api_version,
       coalesce(k.principal, k.prefix) AS principal,
       ARRAY(SELECT coalesce(s.scope, n.name) FROM unnest(k.scopes) AS n (name)
             LEFT JOIN gateway.scope_set AS s ON s.name = n.name) AS scopes,
       (SELECT array_agg(c.sha256) FROM gateway.client_certificate c
         WHERE c.party_id = k.party_id AND c.retired_at IS NULL) AS certificates
FROM gateway.api_key k WHERE k.prefix = :prefix;

-- name: select_api_key^
SELECT id, party_id, prefix, scopes, created_at, expires_at, revoked_at, coalesce(principal, prefix) AS principal,
       coalesce(allowed_networks, '{}') AS networks, last_used_at, api_version
FROM gateway.api_key WHERE party_id = :party_id AND id = :id;

-- name: list_api_keys
SELECT id, party_id, prefix, scopes, created_at, expires_at, revoked_at, coalesce(principal, prefix) AS principal,
       coalesce(allowed_networks, '{}') AS networks, last_used_at, api_version
FROM gateway.api_key WHERE party_id = :party_id ORDER BY id;

-- The old key of a rotation lives on until the overlap ends, never longer than it would have.
-- name: expire_api_key^
UPDATE gateway.api_key
SET expires_at = least(coalesce(expires_at, :expires_at), :expires_at)
WHERE party_id = :party_id AND id = :id AND revoked_at IS NULL
RETURNING prefix;

-- name: pin_api_key^
UPDATE gateway.api_key SET api_version = :api_version
WHERE party_id = :party_id AND id = :id AND revoked_at IS NULL
RETURNING prefix;

-- name: revoke_api_key^
UPDATE gateway.api_key SET revoked_at = coalesce(revoked_at, :revoked_at)
WHERE party_id = :party_id AND id = :id
RETURNING prefix;
