-- Decisions on money that does not agree, suspense, and the debts of parties.

-- name: hold_decisions!
-- One decision at a time: what it is about must not change under it.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.decision', 0));

-- name: difference_of^
SELECT id, leg, reference, currency, type, amount_minor, since, owner, detail
FROM clearing.reconciliation_difference WHERE id = :id AND resolved_at IS NULL;

-- name: difference_named
SELECT id, leg, reference, currency FROM clearing.reconciliation_difference
WHERE leg = :leg AND reference = :reference AND resolved_at IS NULL ORDER BY currency;

-- name: open_items
-- What is open of these references, held for this transaction.
SELECT side, source_id, reference, amount_minor, fee_minor, occurred_on FROM clearing.reconciliation_item
WHERE matched_at IS NULL AND leg = :leg AND reference = ANY(:refs::text[]) AND currency = :currency
ORDER BY side, source_id FOR UPDATE;

-- name: resolve_items$
-- Items that a decision ends; those of payouts are booked by it, too.
WITH ended AS (
    UPDATE clearing.reconciliation_item SET matched_at = :now::timestamptz, match = 'resolved', decision_id = :decision_id,
        booked_at = CASE WHEN leg = 'psp_bank' AND side = 'right' THEN :now::timestamptz ELSE booked_at END
    WHERE matched_at IS NULL AND leg = :leg AND reference = ANY(:refs::text[]) AND currency = :currency RETURNING 1
)
SELECT count(*) FROM ended;

-- name: end_differences!
UPDATE clearing.reconciliation_difference SET resolved_at = :now
WHERE leg = :leg AND reference = ANY(:refs::text[]) AND currency = :currency AND resolved_at IS NULL;

-- name: insert_decision^
INSERT INTO clearing.booking_decision (id, resolution, state, subject, leg, reference, party_id, currency, amount_minor, entries,
    reason, needs_second, proposed_by, proposed_at)
VALUES (:id, :resolution, :state, :subject, :leg, :reference, :party_id, :currency, :amount_minor, :entries, :reason,
    :needs_second, :proposed_by, :now)
ON CONFLICT (id) DO NOTHING RETURNING id;

-- name: renew_decision^
-- A refused decision on the same items may be proposed again, otherwise.
UPDATE clearing.booking_decision SET resolution = :resolution, state = 'proposed', party_id = :party_id,
    amount_minor = :amount_minor, entries = :entries, reason = :reason, needs_second = :needs_second,
    proposed_by = :proposed_by, proposed_at = :now, decided_by = NULL, decided_at = NULL
WHERE id = :id AND state = 'refused' RETURNING id;

-- name: decision^
SELECT id, resolution, state, subject, leg, reference, party_id, currency, amount_minor, entries, reason, needs_second,
    proposed_by, proposed_at, decided_by, decided_at
FROM clearing.booking_decision WHERE id = :id;

-- name: hold_decision^
SELECT id, resolution, state, subject, leg, reference, party_id, currency, amount_minor, entries, reason, needs_second,
    proposed_by, proposed_at, decided_by, decided_at
FROM clearing.booking_decision WHERE id = :id FOR UPDATE;

-- name: decisions
-- The latest first; of one state, or all.
SELECT id, resolution, state, subject, leg, reference, party_id, currency, amount_minor, entries, reason, needs_second,
    proposed_by, proposed_at, decided_by, decided_at
FROM clearing.booking_decision WHERE (:state::text IS NULL OR state = :state)
ORDER BY proposed_at DESC, id LIMIT :limit;

-- name: decide^
UPDATE clearing.booking_decision SET state = :state, decided_by = :by, decided_at = :now
WHERE id = :id AND state = 'proposed' RETURNING id;

-- name: limits
SELECT currency, limit_minor, set_by, before_minor FROM clearing.booking_limit ORDER BY currency;

-- name: put_limit!
INSERT INTO clearing.booking_limit AS known (currency, limit_minor, set_by, set_at) VALUES (:currency, :limit_minor, :by, :now)
ON CONFLICT (currency) DO UPDATE SET limit_minor = excluded.limit_minor, set_by = excluded.set_by, set_at = excluded.set_at,
    before_minor = CASE WHEN lower(known.set_by) = lower(excluded.set_by) THEN least(known.before_minor, known.limit_minor)
        ELSE known.limit_minor END;

-- name: insert_suspense!
INSERT INTO clearing.suspense_item (id, currency, amount_minor, left_minor, since, owner, detail)
VALUES (:id, :currency, :amount_minor, :amount_minor, :since, :owner, :detail);

-- name: hold_suspense^
SELECT s.id, s.currency, s.amount_minor, s.left_minor, s.since, s.owner, s.detail, d.leg
FROM clearing.suspense_item AS s JOIN clearing.booking_decision AS d ON d.id = s.id
WHERE s.id = :id FOR UPDATE OF s;

-- name: take_from_suspense!
UPDATE clearing.suspense_item SET left_minor = left_minor - :minor WHERE id = :id;

-- name: suspense
-- What still has no home, the oldest first.
SELECT id, currency, amount_minor, left_minor, since, owner, detail FROM clearing.suspense_item
WHERE left_minor <> 0 ORDER BY since, id LIMIT :limit;

-- name: debt_lines
-- What parties in debt owe and are owed, by day: the shape of each debt.
SELECT party_id, currency, due_date, amount_minor::bigint FROM (
    SELECT party_id, currency, due_date, sum(amount_minor) AS amount_minor,
           sum(sum(amount_minor)) OVER (PARTITION BY party_id, currency) AS whole
    FROM clearing.payable WHERE state = 'open' GROUP BY party_id, currency, due_date
) AS owed
WHERE whole < 0 ORDER BY party_id, currency, due_date;

-- name: open_sum$
-- What a party is owed and not yet tied to a payment.
SELECT coalesce(sum(amount_minor), 0)::bigint FROM clearing.payable
WHERE state = 'open' AND party_id = :party_id AND currency = :currency;

-- name: hold_planning!
-- The same lock as planning takes: a sum is either paid or set against a debt, never both.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.planning', 0));

-- name: agreed_on$
SELECT agreed_on FROM clearing.compensation_agreement
WHERE party_id = :party_id AND agreed_on <= :day AND (ended_on IS NULL OR :day < ended_on) ORDER BY agreed_on DESC LIMIT 1;

-- name: put_agreement!
INSERT INTO clearing.compensation_agreement (party_id, agreed_on, evidence, recorded_by)
VALUES (:party_id, :agreed_on, :evidence, :by) ON CONFLICT (party_id, agreed_on) DO NOTHING;

-- name: end_agreement!
UPDATE clearing.compensation_agreement SET ended_on = :ended_on
WHERE party_id = :party_id AND agreed_on <= :ended_on AND ended_on IS NULL;
