-- The bank's stated balances, and what explains their distance from our books.

-- name: put_balances$
WITH added AS (
    INSERT INTO clearing.bank_balance (iban, currency, on_day, code, statement_id, sequence, amount_minor, recorded_at)
    SELECT iban, currency, on_day, code, statement_id, sequence, amount_minor, :now::timestamptz
    FROM unnest(:ibans::text[], :currencies::text[], :days::date[], :codes::text[], :statements::text[], :sequences::bigint[],
        :amounts::bigint[]) AS stated (iban, currency, on_day, code, statement_id, sequence, amount_minor)
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*) FROM added;

-- name: closings
-- Each account's last closing balance, and what was booked since.
WITH closing AS (
    SELECT DISTINCT ON (iban, currency) iban, currency, on_day, amount_minor
    FROM clearing.bank_balance WHERE code = 'CLBD' ORDER BY iban, currency, on_day DESC, sequence DESC NULLS LAST, recorded_at DESC
)
SELECT c.iban, c.currency, c.on_day, c.amount_minor, coalesce(sum(i.amount_minor), 0)::bigint AS after_minor
FROM closing AS c LEFT JOIN clearing.reconciliation_item AS i
    ON i.side = 'right' AND i.pair IN ('book_bank', 'psp_bank') AND i.account = c.iban AND i.currency = c.currency
    AND i.occurred_on > c.on_day
GROUP BY c.iban, c.currency, c.on_day, c.amount_minor ORDER BY c.iban, c.currency;

-- name: statement_gaps
-- Closing balances that do not equal the previous one plus the lines between: each, not only the last.
WITH closing AS (
    SELECT DISTINCT ON (iban, currency, on_day) iban, currency, on_day, amount_minor
    FROM clearing.bank_balance WHERE code = 'CLBD' ORDER BY iban, currency, on_day, sequence DESC NULLS LAST, recorded_at DESC
), successive AS (
    SELECT *, lag(on_day) OVER by_day AS before_on, lag(amount_minor) OVER by_day AS before_minor
    FROM closing WINDOW by_day AS (PARTITION BY iban, currency ORDER BY on_day)
)
SELECT p.iban, p.currency, p.on_day, p.amount_minor, p.before_on, p.before_minor, line.between_minor
FROM successive AS p CROSS JOIN LATERAL (
    SELECT coalesce(sum(i.amount_minor), 0)::bigint AS between_minor FROM clearing.reconciliation_item AS i
    WHERE i.side = 'right' AND i.pair IN ('book_bank', 'psp_bank') AND i.account = p.iban AND i.currency = p.currency
      AND i.occurred_on > p.before_on AND i.occurred_on <= p.on_day) AS line
WHERE p.before_on IS NOT NULL AND p.before_minor + line.between_minor <> p.amount_minor
ORDER BY p.iban, p.currency, p.on_day;

-- name: bank_in_flight
-- Movements that only our books have so far, and movements that only the bank has, by currency.
SELECT currency, coalesce(sum(amount_minor) FILTER (WHERE side = 'left'), 0)::bigint AS ours_minor,
       coalesce(sum(amount_minor) FILTER (WHERE side = 'right'), 0)::bigint AS theirs_minor
FROM (
    SELECT side, currency, amount_minor FROM clearing.reconciliation_item
    WHERE pair IN ('book_bank', 'psp_bank') AND matched_at IS NULL AND NOT (pair = 'psp_bank' AND side = 'left')
    UNION ALL
    SELECT side, currency, amount_minor FROM clearing.reconciliation_item
    WHERE pair = 'psp_bank' AND side = 'right' AND booked_at IS NULL AND matched_at IS NOT NULL
) AS in_flight
GROUP BY currency;

-- name: bank_books
SELECT currency, sum(debit_minor - credit_minor)::bigint AS minor FROM clearing.account_delta
WHERE account = 'bank:settlement' GROUP BY currency;

-- name: lone_notices
-- Movements that only a notification or intraday report has.
SELECT notice_id, iban, currency, amount_minor, booked_on FROM clearing.bank_notice
WHERE entry_id IS NULL AND booked_on < :before::date ORDER BY booked_on, notice_id LIMIT :limit;
