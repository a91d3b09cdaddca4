-- Evidence that people attach to differences.

-- name: lock_difference$
SELECT id FROM clearing.reconciliation_difference WHERE id = :id FOR UPDATE;

-- name: insert_evidence$
INSERT INTO clearing.difference_evidence (id, difference_id, name, content_type, content, reference, sha256, added_by, added_at)
VALUES (:id, :difference_id, :name, :content_type, :content, :reference, :sha256, :by, :now)
ON CONFLICT (difference_id, sha256) DO NOTHING RETURNING id;

-- name: list_evidence
SELECT id, difference_id, name, content_type, octet_length(content) AS size_bytes, reference, encode(sha256, 'hex') AS sha256,
       added_by, added_at
FROM clearing.difference_evidence WHERE difference_id = :difference_id ORDER BY added_at, id;

-- name: find_evidence^
SELECT id, difference_id, name, content_type, octet_length(content) AS size_bytes, reference, encode(sha256, 'hex') AS sha256,
       added_by, added_at, content
FROM clearing.difference_evidence WHERE id = :id;
