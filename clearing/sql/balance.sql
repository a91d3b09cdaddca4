-- Balances of accounts.

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

-- name: lock_position!
SELECT pg_advisory_xact_lock(hashtextextended('clearing.position ' || (:pair)::text, 0));

-- name: executed
-- What executed exchanges and the PSP's conversions took out of each position: the proof adds it back.
SELECT side.account, t.currency, sum(side.minor)::bigint AS minor
FROM clearing.transfer AS t
CROSS JOIN LATERAL (VALUES (t.debit_account, -t.amount_minor), (t.credit_account, t.amount_minor)) AS side (account, minor)
WHERE t.kind IN ('fx_result', 'psp_conversion') AND side.account LIKE 'fx:%:position'
GROUP BY side.account, t.currency;

-- name: converted
-- What the PSP's conversions brought into its balance less what they took out of it, by currency.
SELECT side.currency, sum(side.minor)::bigint AS minor
FROM (
    SELECT currency, amount_minor AS minor FROM clearing.transfer
    WHERE kind = 'psp_conversion' AND debit_account = 'psp:stripe:receivable'
    UNION ALL
    SELECT currency, -amount_minor FROM clearing.transfer
    WHERE kind = 'psp_conversion' AND credit_account = 'psp:stripe:receivable'
) AS side
GROUP BY side.currency;
