-- What parties owe, and their consents to set-off.

-- name: receivable_lines
-- Open payables of parties with a negative balance, by currency and due date.
SELECT party_id, currency, due_date, amount_minor::bigint FROM (
    SELECT party_id, currency, due_date, sum(amount_minor) AS amount_minor,
           sum(sum(amount_minor)) OVER (PARTITION BY party_id, currency) AS whole
    FROM clearing.payable WHERE state = 'open' GROUP BY party_id, currency, due_date
) AS owed
WHERE whole < 0 ORDER BY party_id, currency, due_date;

-- name: open_sum$
-- A party's open payables, not yet scheduled for a disbursement; negative: the party owes.
SELECT coalesce(sum(amount_minor), 0)::bigint FROM clearing.payable
WHERE state = 'open' AND party_id = :party_id AND currency = :currency;

-- name: consent_on$
-- The consent in force on a day.
SELECT agreed_on FROM clearing.set_off_consent
WHERE party_id = :party_id AND agreed_on <= :day AND (ended_on IS NULL OR :day < ended_on) ORDER BY agreed_on DESC LIMIT 1;

-- name: insert_consent!
INSERT INTO clearing.set_off_consent (party_id, agreed_on, evidence, recorded_by)
VALUES (:party_id, :agreed_on, :evidence, :by) ON CONFLICT (party_id, agreed_on) DO NOTHING;

-- name: end_consents$
-- Ends the consent of a day and any earlier one that is in force; how many.
WITH ended AS (
    UPDATE clearing.set_off_consent SET ended_on = :ended_on
    WHERE party_id = :party_id AND agreed_on <= :agreed_on AND ended_on IS NULL RETURNING 1
)
SELECT count(*) FROM ended;
