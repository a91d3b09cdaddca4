-- Approval requests, and the limits above which a second person approves.

-- name: lock_approvals!
-- One approval request is handled at a time: its subject must not change meanwhile.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.decision', 0));

-- name: insert_request^
INSERT INTO clearing.approval_request (id, resolution, state, subject, pair, reference, party_id, currency, amount_minor, entries,
    reason, requires_approval, proposed_by, proposed_at)
VALUES (:id, :resolution, :state, :subject, :pair, :reference, :party_id, :currency, :amount_minor, :entries, :reason,
    :requires_approval, :proposed_by, :now)
ON CONFLICT (id) DO NOTHING RETURNING id;

-- name: renew_request^
-- A rejected request for the same items may be proposed again, also with another resolution.
UPDATE clearing.approval_request SET resolution = :resolution, state = 'pending', party_id = :party_id,
    amount_minor = :amount_minor, entries = :entries, reason = :reason, requires_approval = :requires_approval,
    proposed_by = :proposed_by, proposed_at = :now, decided_by = NULL, decided_at = NULL
WHERE id = :id AND state = 'rejected' RETURNING id;

-- name: request^
SELECT id, resolution, state, subject, pair, reference, party_id, currency, amount_minor, entries, reason, requires_approval,
    proposed_by, proposed_at, decided_by, decided_at
FROM clearing.approval_request WHERE id = :id;

-- name: lock_request^
SELECT id, resolution, state, subject, pair, reference, party_id, currency, amount_minor, entries, reason, requires_approval,
    proposed_by, proposed_at, decided_by, decided_at
FROM clearing.approval_request WHERE id = :id FOR UPDATE;

-- name: requests
-- The latest first, those proposed before one; of one state, or all; of one reference of a pair, or all.
SELECT id, resolution, state, subject, pair, reference, party_id, currency, amount_minor, entries, reason, requires_approval,
    proposed_by, proposed_at, decided_by, decided_at
FROM clearing.approval_request AS r WHERE (:state::text IS NULL OR state = :state)
  AND (:pair::text IS NULL OR pair = :pair::text AND :reference::text = ANY (string_to_array(reference, chr(31))))
  AND (:before::uuid IS NULL OR (proposed_at, id) < (
      SELECT b.proposed_at, b.id FROM clearing.approval_request AS b WHERE b.id = :before::uuid))
ORDER BY proposed_at DESC, id DESC LIMIT :limit;

-- name: decide^
UPDATE clearing.approval_request SET state = :state, decided_by = :by, decided_at = :now
WHERE id = :id AND state = 'pending' RETURNING id;

-- name: limits
SELECT currency, limit_minor, set_by, before_minor FROM clearing.approval_limit ORDER BY currency;

-- name: put_limit!
INSERT INTO clearing.approval_limit AS known (currency, limit_minor, set_by, set_at) VALUES (:currency, :limit_minor, :by, :now)
ON CONFLICT (currency) DO UPDATE SET limit_minor = excluded.limit_minor, set_by = excluded.set_by, set_at = excluded.set_at,
    before_minor = CASE WHEN lower(known.set_by) = lower(excluded.set_by) THEN least(known.before_minor, known.limit_minor)
        ELSE known.limit_minor END;
