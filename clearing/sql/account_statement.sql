-- Statements of one account, and closing a period.

-- name: opening$
SELECT coalesce(sum(credit_minor - debit_minor), 0)::bigint FROM clearing.account_delta
WHERE account = :account AND currency = :currency AND booked_at < :since;

-- name: statement_batches
-- The batches that moved the account in a span, in the order of booking, a page at a time.
SELECT b.id, b.chain, b.position, b.booked_at, b.blinding_key, b.merkle_root, b.previous_hash, b.hash
FROM clearing.account_delta AS d JOIN clearing.batch AS b ON b.id = d.batch_id
WHERE d.account = :account AND d.currency = :currency AND d.booked_at >= :since AND d.booked_at < :until
  AND (d.booked_at, b.chain, b.position) > (:after_at, :after_chain, :after_position)
ORDER BY d.booked_at, b.chain, b.position LIMIT :limit;

-- name: statement_entries
SELECT shard, subject_id, kind, reference, coalesce(tariff_sha256, '') AS tariff_sha256, coalesce(cdr_id, '') AS cdr_id, legs, hash
FROM clearing.entry WHERE batch_id = :batch_id ORDER BY shard, subject_id, kind, reference;

-- name: statement_transfers
-- Every transfer of the entries that touch the account: the party's own are shown, of the others only the hash.
SELECT t.subject_id, t.kind, t.reference, t.debit_account, t.credit_account, t.amount_minor, t.currency
FROM clearing.entry AS e JOIN clearing.transfer AS t USING (shard, subject_id, kind, reference)
WHERE e.batch_id = :batch_id AND EXISTS (
    SELECT 1 FROM clearing.transfer AS own
    WHERE (own.shard, own.subject_id, own.kind, own.reference) = (e.shard, e.subject_id, e.kind, e.reference)
      AND own.currency = :currency AND :account IN (own.debit_account, own.credit_account))
ORDER BY shard, subject_id, kind, reference, ordinal;

-- name: insert_closed_period!
INSERT INTO clearing.closed_period (closed_until, closed_at, closed_by) VALUES (:until, :now, :by);

-- name: insert_snapshots!
-- Each account at the instant: its last snapshot and the deltas from then on.
INSERT INTO clearing.account_snapshot (account, currency, as_of, debit_minor, credit_minor)
SELECT account, currency, :until::timestamptz, sum(debit_minor)::bigint, sum(credit_minor)::bigint
FROM (
    SELECT account, currency, debit_minor, credit_minor FROM clearing.account_snapshot
    WHERE as_of = :previous::timestamptz
    UNION ALL
    SELECT account, currency, debit_minor, credit_minor FROM clearing.account_delta
    WHERE booked_at < :until::timestamptz
      AND (:previous::timestamptz IS NULL OR booked_at >= :previous::timestamptz)
) AS moved
GROUP BY account, currency;

-- name: lock_books_shut!
SELECT pg_advisory_xact_lock(hashtextextended('clearing.books', 0));

-- name: closed_until$
SELECT max(closed_until) FROM clearing.closed_period;

-- name: close_request^
SELECT closed_until, requested_by, requested_at, open_points, confirmed_by FROM clearing.period_close_request
WHERE closed_until = :until;

-- name: insert_close_request!
INSERT INTO clearing.period_close_request (closed_until, requested_by, requested_at, open_points)
VALUES (:until, :by, :now, :open_points);

-- name: confirm_close_request!
UPDATE clearing.period_close_request SET confirmed_by = :by, confirmed_at = :now
WHERE closed_until = :until AND confirmed_by IS NULL;
