-- One account of the ledger: its balances, and its transfers newest first.

-- name: account_balances
-- In each currency in which it moved up to the instant: the last snapshot at or before it, and each delta from then on.
WITH last AS MATERIALIZED (
    SELECT coalesce(max(as_of), '-infinity'::timestamptz) AS as_of FROM clearing.account_snapshot
    WHERE as_of <= coalesce(:at::timestamptz, 'infinity'::timestamptz)
)
SELECT account, currency, sum(debit_minor)::bigint AS debit_minor, sum(credit_minor)::bigint AS credit_minor
FROM (
    SELECT account, currency, debit_minor, credit_minor FROM clearing.account_snapshot
    WHERE account = :account AND as_of = (SELECT as_of FROM last)
    UNION ALL
    SELECT account, currency, sum(debit_minor), sum(credit_minor) FROM clearing.account_delta
    WHERE account = :account AND booked_at >= (SELECT as_of FROM last)
      AND booked_at <= coalesce(:at::timestamptz, 'infinity'::timestamptz)
    GROUP BY account, currency
) AS moved
GROUP BY account, currency ORDER BY currency;

-- name: batch_place^
SELECT id, chain, position, booked_at FROM clearing.batch WHERE id = :batch_id;

-- name: moving_batches
-- The batches that moved the account up to an instant, newest first, from a batch on.
SELECT b.id, b.booked_at FROM clearing.account_delta AS d JOIN clearing.batch AS b ON b.id = d.batch_id
WHERE d.account = :account AND d.currency = :currency
  AND d.booked_at <= coalesce(:at::timestamptz, 'infinity'::timestamptz)
  AND d.booked_at <= coalesce(:from_at::timestamptz, 'infinity'::timestamptz)
  AND (:from_at::timestamptz IS NULL
    OR (d.booked_at, b.chain, b.position)
       <= (:from_at::timestamptz, :from_chain::smallint, :from_position::bigint))
ORDER BY d.booked_at DESC, b.chain DESC, b.position DESC LIMIT :limit;

-- name: transfers_of_batches
-- The account's transfers in these batches, in their order, after the transfer that the last page ended with.
SELECT e.batch_id, t.subject_id, t.kind, t.reference, t.ordinal, t.debit_account, t.credit_account, t.amount_minor,
       t.currency
FROM clearing.entry AS e JOIN clearing.transfer AS t USING (shard, subject_id, kind, reference)
WHERE e.batch_id = ANY (:batches::uuid[]) AND t.currency = :currency AND :account IN (t.debit_account, t.credit_account)
  AND (:after_batch::uuid IS NULL OR e.batch_id <> :after_batch
    OR (t.subject_id, t.kind, t.reference, t.ordinal)
       < (:after_subject::uuid, :after_kind::text, :after_reference::text, :after_ordinal::smallint))
ORDER BY array_position(:batches::uuid[], e.batch_id), t.subject_id DESC, t.kind DESC, t.reference DESC,
         t.ordinal DESC
LIMIT :limit;
