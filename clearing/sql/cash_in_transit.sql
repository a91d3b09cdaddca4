-- Payouts of the PSP on their way to the bank.

-- name: unbooked
-- PSP payouts that are not in the journal yet, and bank lines matched to one: a page.
SELECT i.side, i.source_id, i.reference, i.currency, i.amount_minor, i.match,
       CASE WHEN i.match = 'tolerance' THEN (
           SELECT sum(CASE o.side WHEN 'left' THEN o.amount_minor ELSE -o.amount_minor END)
           FROM clearing.reconciliation_item AS o
           WHERE (o.pair, o.reference, o.currency, o.matched_at) = (i.pair, i.reference, i.currency, i.matched_at)
             AND o.match = 'tolerance')::bigint ELSE 0 END AS missing_minor,
       i.source_id = (SELECT min(o.source_id) FROM clearing.reconciliation_item AS o
           WHERE (o.pair, o.reference, o.currency, o.matched_at) = (i.pair, i.reference, i.currency, i.matched_at)
             AND o.side = 'right') AS bears_missing
FROM clearing.reconciliation_item AS i
WHERE i.pair = 'psp_bank' AND i.booked_at IS NULL AND (i.side = 'left' OR i.matched_at IS NOT NULL)
ORDER BY i.side, i.source_id LIMIT :limit;

-- name: mark_booked!
UPDATE clearing.reconciliation_item AS i SET booked_at = :now::timestamptz
FROM unnest(:sides::text[], :sources::text[]) AS booked (side, source_id)
WHERE i.pair = 'psp_bank' AND (i.side, i.source_id) = (booked.side, booked.source_id) AND i.booked_at IS NULL;
