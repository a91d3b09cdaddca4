-- Locations of payment terminals.

-- name: add_location^
-- A location about to be created at the PSP; the same id again is the same location.
INSERT INTO gateway.terminal_location (id, party_id, display_name, metadata, created_at)
VALUES (:id::uuid, :party_id::text, :display_name::text, :metadata::jsonb, :now::timestamptz)
ON CONFLICT (id) DO UPDATE SET id = excluded.id
RETURNING *;

-- name: record_location^
-- The PSP has created it.
UPDATE gateway.terminal_location SET psp_location = coalesce(psp_location, :psp_location) WHERE id = :id RETURNING *;

-- name: load_location^
SELECT * FROM gateway.terminal_location WHERE psp_location = :psp_location;

-- name: list_locations
SELECT * FROM gateway.terminal_location
WHERE psp_location IS NOT NULL
  AND (:party_id::text IS NULL OR party_id = :party_id::text)
  AND (:before::uuid IS NULL OR id < :before::uuid)
ORDER BY id DESC
LIMIT :row_limit::int;
