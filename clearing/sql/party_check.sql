-- Checks of parties' identity.

-- name: insert_check!
INSERT INTO clearing.party_check (id, party_id, kind, result, performed_by, checked_on, valid_until, reference, note,
    details_version, confirms, recorded_by, recorded_at)
VALUES (:id, :party_id, :kind, :result, :performed_by, :checked_on, :valid_until, :reference, :note, :details_version,
    :confirms, :by, :now);

-- name: checks_of
SELECT id, party_id, kind, result, performed_by, checked_on, valid_until, reference, note, details_version, confirms,
    recorded_by, recorded_at
FROM clearing.party_check WHERE party_id = :party_id ORDER BY position DESC LIMIT 1000;

-- name: latest_check^
-- The latest check of a kind; of a payee name, of these bank details.
SELECT id, party_id, kind, result, performed_by, checked_on, valid_until, reference, note, details_version, confirms,
    recorded_by, recorded_at
FROM clearing.party_check
WHERE party_id = :party_id AND kind = :kind AND details_version IS NOT DISTINCT FROM :details_version::integer
ORDER BY position DESC LIMIT 1;

-- name: check^
SELECT id, party_id, kind, result, performed_by, checked_on, valid_until, reference, note, details_version, confirms,
    recorded_by, recorded_at
FROM clearing.party_check WHERE party_id = :party_id AND id = :id;

-- name: latest_checks
-- The latest check of each kind of these parties; a payee name's is that of the approved bank details.
SELECT DISTINCT ON (c.party_id, c.kind) c.id, c.party_id, c.kind, c.result, c.performed_by, c.checked_on, c.valid_until,
    c.reference, c.note, c.details_version, c.confirms, c.recorded_by, c.recorded_at
FROM clearing.party_check AS c
LEFT JOIN clearing.bank_details AS b ON b.party_id = c.party_id AND b.state = 'approved'
WHERE c.party_id = ANY(:parties::text[]) AND (c.details_version IS NULL OR c.details_version = b.version)
ORDER BY c.party_id, c.kind, c.position DESC;

-- name: approved_versions
SELECT party_id, version FROM clearing.bank_details WHERE state = 'approved' AND party_id = ANY(:parties::text[]);

-- name: has_details$
SELECT EXISTS (SELECT 1 FROM clearing.bank_details WHERE party_id = :party_id AND version = :version);

-- name: last_position$
SELECT coalesce(max(position), 0) FROM clearing.party_check;
