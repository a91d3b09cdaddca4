-- Differences and suspense items that a person resolves.

-- name: open_difference^
SELECT id, pair, reference, currency, type, amount_minor, since, owner, detail
FROM clearing.reconciliation_difference WHERE id = :id AND resolved_at IS NULL;

-- name: open_differences_of
SELECT id, pair, reference, currency, type, amount_minor, since, owner, detail FROM clearing.reconciliation_difference
WHERE pair = :pair AND reference = :reference AND resolved_at IS NULL ORDER BY currency;

-- name: open_items
-- The open items of these references, locked for this transaction.
SELECT side, source_id, reference, amount_minor, fee_minor, occurred_on FROM clearing.reconciliation_item
WHERE matched_at IS NULL AND pair = :pair AND reference = ANY(:refs::text[]) AND currency = :currency
ORDER BY side, source_id FOR UPDATE;

-- name: resolve_items$
-- Items that the approval request resolves; the bank lines of PSP payouts are booked by it, too.
WITH ended AS (
    UPDATE clearing.reconciliation_item SET matched_at = :now::timestamptz, match = 'resolved', approval_request_id = :request_id,
        booked_at = CASE WHEN pair = 'psp_bank' AND side = 'right' THEN :now::timestamptz ELSE booked_at END
    WHERE matched_at IS NULL AND pair = :pair AND reference = ANY(:refs::text[]) AND currency = :currency RETURNING 1
)
SELECT count(*) FROM ended;

-- name: resolve_differences!
UPDATE clearing.reconciliation_difference SET resolved_at = :now
WHERE pair = :pair AND reference = ANY(:refs::text[]) AND currency = :currency AND resolved_at IS NULL;

-- name: insert_suspense!
INSERT INTO clearing.suspense_item (id, currency, amount_minor, remaining_minor, since, owner, detail)
VALUES (:id, :currency, :amount_minor, :amount_minor, :since, :owner, :detail);

-- name: lock_suspense^
SELECT s.id, s.currency, s.amount_minor, s.remaining_minor, s.since, s.owner, s.detail, d.pair
FROM clearing.suspense_item AS s JOIN clearing.approval_request AS d ON d.id = s.id
WHERE s.id = :id FOR UPDATE OF s;

-- name: reduce_suspense!
UPDATE clearing.suspense_item SET remaining_minor = remaining_minor - :minor WHERE id = :id;

-- name: suspense
-- Unallocated money, the oldest first; those after an item, which may have been cleared meanwhile.
SELECT s.id, s.currency, s.amount_minor, s.remaining_minor, s.since, s.owner, s.detail, d.pair
FROM clearing.suspense_item AS s JOIN clearing.approval_request AS d ON d.id = s.id
WHERE s.remaining_minor <> 0
  AND (:after::uuid IS NULL
       OR (s.since, s.id) > (SELECT a.since, a.id FROM clearing.suspense_item AS a WHERE a.id = :after::uuid))
ORDER BY s.since, s.id LIMIT :limit;
