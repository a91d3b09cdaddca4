-- Questions about the books.

-- name: balances
-- The last snapshot at or before the instant, which has every account, and every delta booked from then on up to it.
WITH last AS MATERIALIZED (
    SELECT coalesce(max(as_of), '-infinity'::timestamptz) AS as_of FROM clearing.account_snapshot
    WHERE as_of <= coalesce(:at::timestamptz, 'infinity'::timestamptz)
)
SELECT account, currency, sum(debit_minor)::bigint AS debit_minor, sum(credit_minor)::bigint AS credit_minor
FROM (
    SELECT account, currency, debit_minor, credit_minor FROM clearing.account_snapshot
    WHERE as_of = (SELECT as_of FROM last) AND starts_with(account, :prefix::text)
    UNION ALL
    SELECT account, currency, sum(debit_minor), sum(credit_minor) FROM clearing.account_delta
    WHERE starts_with(account, :prefix::text) AND booked_at >= (SELECT as_of FROM last)
      AND booked_at <= coalesce(:at::timestamptz, 'infinity'::timestamptz)
    GROUP BY account, currency
) AS moved
GROUP BY account, currency ORDER BY account, currency;

-- name: captured
SELECT currency, kind, sum(gross_minor)::bigint AS gross_minor, count(*) AS entries
FROM clearing.entry WHERE kind IN ('capture', 'reversal', 'refund', 'refund_failed', 'dispute', 'dispute_won')
GROUP BY currency, kind ORDER BY currency, kind;

-- name: payable_sums
-- A payable that is tied to a payment is paid once its payment is.
SELECT p.currency, CASE WHEN d.state = 'paid' THEN 'paid' WHEN d.id IS NULL THEN 'open' ELSE 'scheduled' END AS state,
       sum(p.amount_minor)::bigint AS amount_minor
FROM clearing.payable AS p LEFT JOIN clearing.disbursement AS d ON d.id = p.disbursement_id
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: share_sums
SELECT party_id, currency, sum(amount_minor)::bigint AS amount_minor FROM clearing.payable
GROUP BY party_id, currency ORDER BY party_id, currency;

-- name: disbursed
SELECT currency, sum(amount_minor)::bigint AS amount_minor FROM clearing.disbursement
WHERE state = 'paid' GROUP BY currency ORDER BY currency;

-- name: parked_count$
SELECT count(*) FROM clearing.parked WHERE resolved_at IS NULL;

-- name: hold_position!
SELECT pg_advisory_xact_lock(hashtextextended('clearing.position ' || (:pair)::text, 0));

-- name: executed
-- What executed exchanges took out of each position: the proof adds it back.
SELECT side.account, t.currency, sum(side.minor)::bigint AS minor
FROM clearing.transfer AS t
CROSS JOIN LATERAL (VALUES (t.debit_account, -t.amount_minor), (t.credit_account, t.amount_minor)) AS side (account, minor)
WHERE t.kind = 'fx_result' AND side.account LIKE 'fx:%:position'
GROUP BY side.account, t.currency;
