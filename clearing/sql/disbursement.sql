-- Paying out: netting what is due, the states of a payment, the calendar.
--
-- A payable is open or tied to a payment. Whether it is paid, its payment says: nothing is written to the payables of a
-- payment when it is made, which halves the writes of a run.

-- name: hold_planning!
SELECT pg_advisory_xact_lock(hashtextextended('clearing.planning', 0));

-- name: parties_due
-- Parties with something due on their own local day, or a reserve whose day has come. Each is one look into the index:
-- the ORDER BY holds the planner to it, where it would read everything that is open.
SELECT party.id
FROM clearing.party CROSS JOIN LATERAL (SELECT (:now::timestamptz AT TIME ZONE party.time_zone)::date AS today) AS local
WHERE (SELECT true FROM clearing.payable AS p
       WHERE p.party_id = party.id AND p.state = 'open' AND p.due_date <= local.today
       ORDER BY p.currency, p.due_date LIMIT 1)
   OR EXISTS (SELECT FROM clearing.reserve AS r
              WHERE r.party_id = party.id AND r.released_at IS NULL AND r.release_on <= local.today)
ORDER BY party.id;

-- name: due_sums
-- What is due to these parties on their own local day, if no payment of that day lives and none failed within the last
-- hour. `sales_minor` leaves out what reserves took and gave back; `held_minor` was withheld by an attempt that failed.
SELECT party.id AS party_id, due.currency, party.period, due.amount_minor, due.count, due.sales_minor, due.held_minor,
       (SELECT count(*) FROM clearing.disbursement AS d
        WHERE (d.party_id, d.currency, d.period) = (party.id, due.currency, party.period)) AS attempts
FROM (
    SELECT id, (:now::timestamptz AT TIME ZONE time_zone)::date AS period FROM clearing.party WHERE id = ANY(:parties::text[])
) AS party
CROSS JOIN LATERAL (
    SELECT p.currency, sum(p.amount_minor)::bigint AS amount_minor, count(*) AS count,
           coalesce(sum(p.amount_minor) FILTER (WHERE p.kind NOT LIKE 'reserve\_%' AND p.kind NOT LIKE 'remainder\_%'), 0)::bigint
               AS sales_minor,
           coalesce(-sum(p.amount_minor) FILTER (WHERE p.kind = 'reserve_hold'), 0)::bigint AS held_minor
    FROM clearing.payable AS p
    WHERE p.party_id = party.id AND p.state = 'open' AND p.due_date <= party.period
    GROUP BY p.currency
) AS due
WHERE NOT EXISTS (
    SELECT 1 FROM clearing.disbursement AS d
    WHERE (d.party_id, d.currency, d.period) = (party.id, due.currency, party.period)
      AND d.state <> 'withdrawn'
      AND (d.state NOT IN ('failed', 'returned') OR d.finished_at > :now::timestamptz - interval '1 hour'))
ORDER BY party.id, due.currency;

-- name: schedule
-- Everything due of each party and currency is tied to its payment, in one statement for all of them.
WITH taken AS (
    UPDATE clearing.payable AS p SET state = 'scheduled', disbursement_id = plan.id
    FROM unnest(:ids::uuid[], :parties::text[], :currencies::text[], :periods::date[]) AS plan (id, party_id, currency, period)
    WHERE p.party_id = plan.party_id AND p.currency = plan.currency AND p.state = 'open' AND p.due_date <= plan.period
    RETURNING plan.id, p.amount_minor
)
SELECT id, sum(amount_minor)::bigint AS amount_minor, count(*) AS count FROM taken GROUP BY id;

-- name: unschedule!
UPDATE clearing.payable SET state = 'open', disbursement_id = NULL WHERE disbursement_id = ANY(:ids::uuid[]);

-- name: insert_disbursements!
INSERT INTO clearing.disbursement (id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at,
    rail, approvals_needed)
SELECT id, party_id, currency, period, amount_minor, destination, end_to_end_id, 'planned', :now::timestamptz, rail, approvals
FROM unnest(:ids::uuid[], :parties::text[], :currencies::text[], :periods::date[], :amounts::bigint[], :destinations::text[],
    :end_to_end_ids::text[], :rails::text[], :approvals::smallint[])
    AS plan (id, party_id, currency, period, amount_minor, destination, end_to_end_id, rail, approvals);

-- name: reserves_due
-- Reserves of these parties whose day of release has come on the party's own calendar.
SELECT r.disbursement_id, r.party_id, r.currency, r.amount_minor, r.held_on, r.release_on
FROM clearing.reserve AS r JOIN clearing.party AS party ON party.id = r.party_id
WHERE r.party_id = ANY(:parties::text[])
  AND r.released_at IS NULL AND r.release_on <= (:now::timestamptz AT TIME ZONE party.time_zone)::date
ORDER BY r.release_on, r.disbursement_id LIMIT :limit FOR UPDATE OF r;

-- name: reserves_ahead
SELECT disbursement_id, party_id, currency, amount_minor, held_on, release_on FROM clearing.reserve
WHERE released_at IS NULL AND release_on <= :until AND (:party_id::text IS NULL OR party_id = :party_id)
ORDER BY party_id, currency, release_on;

-- name: insert_reserves!
-- A plan that a debt undid left its reserve behind; the next of that day and name has it already, and adds nothing.
INSERT INTO clearing.reserve (disbursement_id, party_id, currency, amount_minor, held_on, release_on)
SELECT * FROM unnest(:ids::uuid[], :parties::text[], :currencies::text[], :amounts::bigint[], :held::date[], :releases::date[])
ON CONFLICT DO NOTHING;

-- name: mark_released!
UPDATE clearing.reserve SET released_at = :now WHERE disbursement_id = ANY(:ids::uuid[]) AND released_at IS NULL;

-- name: to_execute
SELECT id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed
FROM clearing.disbursement AS d
WHERE rail = 'psp' AND (state = 'planned' AND (approvals_needed = 0 OR approvals_needed <= (
          SELECT count(*) FROM clearing.disbursement_approval AS a WHERE a.disbursement_id = d.id))
    OR (state IN ('requested', 'outcome_unknown') AND next_attempt_at <= :now))
ORDER BY planned_at, id LIMIT :limit;

-- name: hold_due
-- Payments whose turn it is, as many as the limit, held for this transaction; what another worker holds is left to it.
SELECT d.id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed
FROM clearing.disbursement AS d
WHERE rail = 'psp' AND (state = 'planned' AND (approvals_needed = 0 OR approvals_needed <= (
          SELECT count(*) FROM clearing.disbursement_approval AS a WHERE a.disbursement_id = d.id))
    OR (state IN ('requested', 'outcome_unknown') AND next_attempt_at <= :now))
ORDER BY planned_at, id LIMIT :limit FOR UPDATE OF d SKIP LOCKED;

-- name: request
-- The intents of payments that this transaction holds.
UPDATE clearing.disbursement AS d SET
    state = CASE WHEN state = 'planned' THEN 'requested' ELSE state END,
    requested_at = coalesce(requested_at, :now), attempts = attempts + 1, next_attempt_at = :lease_until
WHERE id = ANY(:ids::uuid[]) AND state IN ('planned', 'requested', 'outcome_unknown')
RETURNING id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed;

-- name: begin^
-- The intent, before the rail is called; the lease keeps a second worker away until then.
UPDATE clearing.disbursement AS d SET
    state = CASE WHEN state = 'planned' THEN 'requested' ELSE state END,
    requested_at = coalesce(requested_at, :now), attempts = attempts + 1, next_attempt_at = :lease_until
WHERE id = :id AND (state = 'planned' OR (state IN ('requested', 'outcome_unknown') AND next_attempt_at <= :now))
    AND approvals_needed <= (SELECT count(*) FROM clearing.disbursement_approval AS a WHERE a.disbursement_id = d.id)
RETURNING id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed;

-- name: hold
-- Payments as they stand, held for this transaction in the order of their ids.
SELECT id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed
FROM clearing.disbursement WHERE id = ANY(:ids::uuid[]) ORDER BY id FOR UPDATE;

-- name: finish
UPDATE clearing.disbursement AS d SET state = told.state, rail_reference = told.rail_reference, failure = told.failure,
    next_attempt_at = told.next_attempt_at, finished_at = told.finished_at
FROM unnest(:ids::uuid[], :states::text[], :rail_references::text[], :failures::text[], :next_attempts::timestamptz[],
    :finished::timestamptz[]) AS told (id, state, rail_reference, failure, next_attempt_at, finished_at)
WHERE d.id = told.id AND d.state IN ('requested', 'outcome_unknown')
RETURNING d.id, party_id, currency, period, amount_minor, destination, end_to_end_id, d.state, planned_at, attempts,
    d.rail_reference, d.failure, rail, approvals_needed;

-- name: get^
SELECT id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed
FROM clearing.disbursement WHERE id = :id;

-- name: of_party
SELECT id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed
FROM clearing.disbursement WHERE party_id = :party_id ORDER BY planned_at DESC, id DESC LIMIT :limit;

-- name: forecast
-- What is open by its day, and what is tied to a payment that is not made yet. What was paid is neither.
SELECT party_id, currency, due_date, state, sum(amount_minor)::bigint AS amount_minor,
       coalesce(sum(amount_minor) FILTER (WHERE kind NOT LIKE 'reserve\_%' AND kind NOT LIKE 'remainder\_%'), 0)::bigint AS sales_minor,
       coalesce(-sum(amount_minor) FILTER (WHERE kind = 'reserve_hold'), 0)::bigint AS held_minor, count(*) AS sessions
FROM (
    SELECT party_id, currency, due_date, state, amount_minor, kind FROM clearing.payable
    WHERE state = 'open' AND due_date <= :until AND (:party_id::text IS NULL OR party_id = :party_id)
    UNION ALL
    SELECT p.party_id, p.currency, p.due_date, 'scheduled', p.amount_minor, p.kind
    FROM clearing.disbursement AS d JOIN clearing.payable AS p ON p.disbursement_id = d.id
    WHERE d.state IN ('planned', 'requested', 'outcome_unknown') AND p.due_date <= :until
      AND (:party_id::text IS NULL OR d.party_id = :party_id)
) AS unpaid
GROUP BY party_id, currency, due_date, state
ORDER BY party_id, currency, due_date, state;

-- name: approve!
INSERT INTO clearing.disbursement_approval (disbursement_id, approver, approved_at) VALUES (:id, lower(:approver), :now)
ON CONFLICT DO NOTHING;

-- name: approvals$
SELECT count(*) FROM clearing.disbursement_approval WHERE disbursement_id = :id;

-- name: awaiting_release
SELECT id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed
FROM clearing.disbursement AS d
WHERE state = 'planned' AND approvals_needed > (
    SELECT count(*) FROM clearing.disbursement_approval AS a WHERE a.disbursement_id = d.id)
ORDER BY planned_at, id LIMIT :limit;

-- name: mark_returned^
UPDATE clearing.disbursement SET state = 'returned', returned_at = :now, failure = :failure
WHERE id = :id AND state = 'paid'
RETURNING id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed;

-- name: debts
-- Parties that owe: the sum of all that is open, and since when anything negative has been due.
SELECT party_id, currency, sum(amount_minor)::bigint AS amount_minor,
       min(due_date) FILTER (WHERE amount_minor < 0) AS since
FROM clearing.payable WHERE state = 'open'
GROUP BY party_id, currency HAVING sum(amount_minor) < 0 ORDER BY since, party_id, currency;

-- name: open_due_dates
-- Open payables due from a day on, with the sale they come from: a page, in the order of the key.
SELECT p.lane, p.subject_id, p.kind, p.reference, p.party_id, p.currency, p.due_date, e.sale_at
FROM clearing.payable AS p JOIN clearing.entry AS e USING (lane, subject_id, kind, reference)
WHERE p.state = 'open' AND p.due_date >= :since
  AND (p.lane, p.subject_id, p.kind, p.reference, p.party_id) > (:lane, :subject_id, :kind, :reference, :party_id)
ORDER BY p.lane, p.subject_id, p.kind, p.reference, p.party_id LIMIT :limit;

-- name: move_due_dates!
-- The move and its reason in one statement.
WITH moved AS (
    UPDATE clearing.payable AS p SET due_date = change.new_date
    FROM unnest(:lanes::smallint[], :subjects::uuid[], :kinds::text[], :refs::text[], :parties::text[], :olds::date[], :news::date[])
        AS change (lane, subject_id, kind, reference, party_id, old_date, new_date)
    WHERE (p.lane, p.subject_id, p.kind, p.reference, p.party_id)
        = (change.lane, change.subject_id, change.kind, change.reference, change.party_id)
      AND p.state = 'open' AND p.due_date = change.old_date
    RETURNING p.lane, p.subject_id, p.kind, p.reference, p.party_id, change.old_date, change.new_date
)
INSERT INTO clearing.due_date_change (lane, subject_id, kind, reference, party_id, changed_at, old_date, new_date, reason)
SELECT lane, subject_id, kind, reference, party_id, :now::timestamptz, old_date, new_date, :reason FROM moved;
