-- What our books said of the PSP before fees rode on items, and is still open: with the fee that is posted, or its PSP line
-- would show the fee as one that nobody booked.
UPDATE clearing.reconciliation_item AS i SET fee_minor = posted.minor
FROM (
    SELECT t.kind || ':' || t.subject_id || ':' || t.reference AS source_id, t.currency, sum(t.amount_minor)::bigint AS minor
    FROM clearing.transfer AS t
    WHERE t.debit_account = 'platform:psp:expense' AND t.kind IN ('capture', 'dispute')
    GROUP BY t.kind, t.subject_id, t.reference, t.currency
) AS posted
WHERE i.leg = 'book_psp' AND i.side = 'left' AND i.matched_at IS NULL AND i.fee_minor = 0
  AND (i.source_id, i.currency) = (posted.source_id, posted.currency);
