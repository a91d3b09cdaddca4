-- What clearing's own books leave open at the end of a period, beside the exceptions queue.

-- name: open_accounts
-- Exchange positions that were not executed, and money without a purpose.
SELECT account, currency, sum(credit_minor - debit_minor)::bigint AS minor, max(booked_at) AS since FROM clearing.account_delta
WHERE booked_at < :until AND (account = 'suspense' OR (account LIKE 'fx:%:position' AND currency = split_part(split_part(account, ':', 2), '-', 1)))
GROUP BY account, currency HAVING sum(credit_minor - debit_minor) <> 0 ORDER BY account, currency;

-- name: last_statements
-- The last closing balance of each bank account.
SELECT iban, currency, max(on_day) AS on_day FROM clearing.bank_balance WHERE code = 'CLBD' GROUP BY iban, currency ORDER BY iban, currency;

-- name: bank_moved$
-- Whether the books moved the bank account before the end of the period.
SELECT EXISTS (SELECT 1 FROM clearing.account_delta WHERE account = 'bank:settlement' AND booked_at < :until);

-- name: undocumented
-- Parties that supplied or were supplied in the period and whose documents do not reach its end.
WITH behind AS MATERIALIZED (
    SELECT p.id, g.documented_to FROM clearing.party AS p LEFT JOIN clearing.document_progress AS g ON g.party_id = p.id
    WHERE p.kind <> 'platform' AND (g.documented_to IS NULL OR g.documented_to < :last_day::date)
), booked AS MATERIALIZED (
    SELECT DISTINCT d.party_id FROM clearing.payable AS d JOIN clearing.entry AS e USING (shard, subject_id, kind, reference)
    WHERE d.party_id IN (SELECT b.id FROM behind AS b) AND e.legs <> '[]' AND e.booked_at < :until
)
SELECT b.id, b.documented_to FROM behind AS b WHERE b.id IN (SELECT k.party_id FROM booked AS k) ORDER BY b.id;
