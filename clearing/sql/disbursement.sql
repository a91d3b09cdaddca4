-- Paying out: netting what is due, the states of a payment, the calendar.

-- name: hold_planning!
SELECT pg_advisory_xact_lock(hashtextextended('clearing.planning', 0));

-- name: due_sums
-- What is due on each party's own local day, if no payment of that day lives and none failed within the last hour.
SELECT p.party_id, p.currency, (:now::timestamptz AT TIME ZONE party.time_zone)::date AS period,
       sum(p.amount_minor)::bigint AS amount_minor, count(*) AS count
FROM clearing.payable AS p JOIN clearing.party AS party ON party.id = p.party_id
WHERE p.state = 'open' AND p.due_date <= (:now::timestamptz AT TIME ZONE party.time_zone)::date
  AND NOT EXISTS (
      SELECT 1 FROM clearing.disbursement AS d
      WHERE d.party_id = p.party_id AND d.currency = p.currency
        AND d.period = (:now::timestamptz AT TIME ZONE party.time_zone)::date
        AND (d.state <> 'failed' OR d.finished_at > :now::timestamptz - interval '1 hour'))
GROUP BY p.party_id, p.currency, period
ORDER BY p.party_id, p.currency;

-- name: attempts_of_period$
SELECT count(*) FROM clearing.disbursement WHERE party_id = :party_id AND currency = :currency AND period = :period;

-- name: schedule^
WITH taken AS (
    UPDATE clearing.payable SET state = 'scheduled', disbursement_id = :id
    WHERE party_id = :party_id AND currency = :currency AND state = 'open' AND due_date <= :period
    RETURNING amount_minor
)
SELECT coalesce(sum(amount_minor), 0)::bigint AS amount_minor, count(*) AS count FROM taken;

-- name: unschedule!
UPDATE clearing.payable SET state = 'open', disbursement_id = NULL WHERE disbursement_id = :id AND state = 'scheduled';

-- name: insert_disbursement^
INSERT INTO clearing.disbursement (id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at)
VALUES (:id, :party_id, :currency, :period, :amount_minor, :destination, :end_to_end_id, 'planned', :now)
RETURNING id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure;

-- name: to_execute
SELECT id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure
FROM clearing.disbursement
WHERE state = 'planned' OR (state IN ('requested', 'outcome_unknown') AND next_attempt_at <= :now)
ORDER BY planned_at, id LIMIT :limit;

-- name: begin^
-- The intent, before the rail is called; the lease keeps a second worker away until then.
UPDATE clearing.disbursement SET
    state = CASE WHEN state = 'planned' THEN 'requested' ELSE state END,
    requested_at = coalesce(requested_at, :now), attempts = attempts + 1, next_attempt_at = :lease_until
WHERE id = :id AND (state = 'planned' OR (state IN ('requested', 'outcome_unknown') AND next_attempt_at <= :now))
RETURNING id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure;

-- name: finish^
UPDATE clearing.disbursement SET state = :state, rail_reference = :rail_reference, failure = :failure,
    next_attempt_at = :next_attempt_at, finished_at = :finished_at
WHERE id = :id AND state IN ('requested', 'outcome_unknown')
RETURNING id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure;

-- name: get^
SELECT id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure
FROM clearing.disbursement WHERE id = :id;

-- name: of_party
SELECT id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure
FROM clearing.disbursement WHERE party_id = :party_id ORDER BY planned_at DESC, id DESC LIMIT :limit;

-- name: mark_paid!
UPDATE clearing.payable SET state = 'paid' WHERE disbursement_id = :id AND state = 'scheduled';

-- name: forecast
SELECT party_id, currency, due_date, state, sum(amount_minor)::bigint AS amount_minor, count(*) AS sessions
FROM clearing.payable
WHERE state IN ('open', 'scheduled') AND due_date <= :until AND (:party_id::text IS NULL OR party_id = :party_id)
GROUP BY party_id, currency, due_date, state
ORDER BY party_id, currency, due_date, state;
