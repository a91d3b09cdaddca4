-- name: add_client_certificate^
-- A retired one comes back to the same party; one of another party does not come back at all.
INSERT INTO gateway.client_certificate AS known (sha256, party_id, subject, not_after, added_at)
VALUES (:sha256, :party_id, :subject, :not_after, :added_at)
ON CONFLICT (sha256) DO UPDATE SET retired_at = NULL, added_at = excluded.added_at
WHERE known.party_id = excluded.party_id
RETURNING *;

-- name: list_client_certificates
SELECT * FROM gateway.client_certificate WHERE party_id = :party_id ORDER BY added_at, sha256;

-- name: retire_client_certificate^
UPDATE gateway.client_certificate SET retired_at = :now
WHERE party_id = :party_id AND sha256 = :sha256 AND retired_at IS NULL
RETURNING *;
