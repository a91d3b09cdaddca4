-- The settlement SLA: what was paid by its due date, what is late, what does not agree.

-- name: punctuality^
-- Payables since a day: paid by their due date, paid later, and due but not paid. The unpayable remainder of a disbursement
-- in time is not counted on its own.
SELECT count(*) FILTER (WHERE paid_on <= due_date) AS on_time,
       count(*) FILTER (WHERE paid_on > due_date) AS late,
       count(*) FILTER (WHERE paid_on IS NULL) AS overdue
FROM (
    SELECT p.due_date, (d.finished_at AT TIME ZONE party.time_zone)::date AS paid_on
    FROM clearing.disbursement AS d JOIN clearing.payable AS p ON p.disbursement_id = d.id
    JOIN clearing.party AS party ON party.id = d.party_id
    WHERE d.state = 'paid' AND d.finished_at >= :since AND p.amount_minor > 0 AND p.kind <> 'remainder_release'
    UNION ALL
    SELECT p.due_date, NULL FROM clearing.payable AS p JOIN clearing.party AS party ON party.id = p.party_id
    WHERE p.state = 'open' AND p.amount_minor > 0 AND p.due_date < (:now::timestamptz AT TIME ZONE party.time_zone)::date
      AND p.kind <> 'remainder_release'
) AS due;

-- name: overdue_sums
-- What was due before today and is neither paid nor scheduled, by currency: on hold, or late.
SELECT p.currency, sum(p.amount_minor)::bigint AS minor FROM clearing.payable AS p JOIN clearing.party AS party ON party.id = p.party_id
WHERE p.state = 'open' AND p.due_date < (:now::timestamptz AT TIME ZONE party.time_zone)::date AND p.kind <> 'remainder_release'
GROUP BY p.currency ORDER BY p.currency;

-- name: disbursements
SELECT state, rail, count(*) AS disbursements, min(planned_at) AS oldest FROM clearing.disbursement
WHERE state IN ('planned', 'requested', 'outcome_unknown') GROUP BY state, rail ORDER BY state, rail;

-- name: differences
SELECT pair, type, owner, count(*) AS differences, min(since) AS oldest FROM clearing.reconciliation_difference
WHERE resolved_at IS NULL GROUP BY pair, type, owner ORDER BY pair, type, owner;

-- name: reconciled_at$
SELECT ran_at FROM clearing.reconciliation_run WHERE name = 'books';

-- name: account_classes
-- Balances by the first part of the account's path: credits minus debits.
SELECT split_part(account, ':', 1) AS class, currency, sum(credit_minor - debit_minor)::bigint AS minor
FROM clearing.account_delta GROUP BY class, currency ORDER BY class, currency;

-- name: newest_rate$
-- The last day with an exchange rate: above seven days sessions in two currencies wait.
SELECT max(rate_date) FROM clearing.fx_rate;

-- name: unsent_files$
SELECT count(*) FROM clearing.payment_file WHERE sent_at IS NULL;

-- name: awaiting_approval$
SELECT count(*) FROM clearing.disbursement AS d WHERE d.state = 'planned' AND d.approvals_needed > (
    SELECT count(*) FROM clearing.disbursement_approval AS a WHERE a.disbursement_id = d.id);

-- name: suspense
-- Unallocated money by owner: received and paid out, and the day of the oldest item.
SELECT owner, currency, CASE WHEN remaining_minor > 0 THEN 'in' ELSE 'out' END AS direction, count(*) AS items,
       sum(abs(remaining_minor))::bigint AS minor, min(since) AS oldest
FROM clearing.suspense_item WHERE remaining_minor <> 0 GROUP BY owner, currency, direction ORDER BY owner, currency, direction;

-- name: approval_requests_pending$
SELECT count(*) FROM clearing.approval_request WHERE state = 'pending';
