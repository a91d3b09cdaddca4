-- Disbursements: netting of what is due, states, the payout calendar.
--
-- A payable is open or scheduled for a disbursement, whose state says whether it is paid: paying writes nothing to the
-- payables, which halves the writes of a run.

-- name: lock_planning!
SELECT pg_advisory_xact_lock(hashtextextended('clearing.planning', 0));

-- name: parties_due
-- Parties with something due on their own local day, or a reserve to release. What is due is paid on its day, so that
-- little of it is read: what parties are not paid for now.
WITH local AS MATERIALIZED (
    SELECT party.id, (:now::timestamptz AT TIME ZONE party.time_zone)::date AS today FROM clearing.party
), due AS MATERIALIZED (
    SELECT DISTINCT p.party_id FROM clearing.payable AS p JOIN local AS l ON l.id = p.party_id AND p.due_date <= l.today
    WHERE p.state = 'open'
)
SELECT l.id FROM local AS l
WHERE l.id IN (SELECT d.party_id FROM due AS d)
   OR EXISTS (SELECT 1 FROM clearing.reserve AS r
              WHERE r.party_id = l.id AND r.released_at IS NULL AND r.release_on <= l.today)
ORDER BY l.id;

-- name: due_sums
-- What is due to these parties on their own local day, unless that day has an active disbursement or one that failed within
-- the last hour. `sales_minor` is without reserves and remainders; `held_minor` was withheld by a failed attempt.
WITH party AS MATERIALIZED (
    SELECT id, (:now::timestamptz AT TIME ZONE time_zone)::date AS period FROM clearing.party WHERE id = ANY(:parties::text[])
), due AS MATERIALIZED (
    SELECT p.party_id, p.currency, sum(p.amount_minor)::bigint AS amount_minor, count(*) AS count,
           coalesce(sum(p.amount_minor) FILTER (WHERE p.kind NOT LIKE 'reserve\_%' AND p.kind NOT LIKE 'remainder\_%'), 0)::bigint
               AS sales_minor,
           coalesce(-sum(p.amount_minor) FILTER (WHERE p.kind = 'reserve_withheld'), 0)::bigint AS held_minor
    FROM clearing.payable AS p JOIN party ON party.id = p.party_id AND p.due_date <= party.period
    WHERE p.state = 'open'
    GROUP BY p.party_id, p.currency
)
SELECT party.id AS party_id, due.currency, party.period, due.amount_minor, due.count, due.sales_minor, due.held_minor,
       (SELECT count(*) FROM clearing.disbursement AS d
        WHERE (d.party_id, d.currency, d.period) = (party.id, due.currency, party.period)) AS attempts
FROM party JOIN due ON due.party_id = party.id
WHERE NOT EXISTS (
    SELECT 1 FROM clearing.disbursement AS d
    WHERE (d.party_id, d.currency, d.period) = (party.id, due.currency, party.period)
      AND d.state <> 'cancelled'
      AND (d.state NOT IN ('failed', 'returned') OR d.finished_at > :now::timestamptz - interval '1 hour'))
ORDER BY party.id, due.currency;

-- name: schedule
-- Everything due to each party in each currency is scheduled for its disbursement, in one statement for all of them.
WITH scheduled AS (
    UPDATE clearing.payable AS p SET state = 'scheduled', disbursement_id = plan.id
    FROM unnest(:ids::uuid[], :parties::text[], :currencies::text[], :periods::date[]) AS plan (id, party_id, currency, period)
    WHERE p.party_id = plan.party_id AND p.currency = plan.currency AND p.state = 'open' AND p.due_date <= plan.period
    RETURNING plan.id, p.amount_minor
)
SELECT id, sum(amount_minor)::bigint AS amount_minor, count(*) AS count FROM scheduled GROUP BY id;

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
-- Reserves of these parties to release by the party's own calendar.
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
-- A plan that a receivable undid leaves its reserve; the next plan under the same id finds it and adds nothing.
INSERT INTO clearing.reserve (disbursement_id, party_id, currency, amount_minor, held_on, release_on)
SELECT * FROM unnest(:ids::uuid[], :parties::text[], :currencies::text[], :amounts::bigint[], :held::date[], :releases::date[])
ON CONFLICT DO NOTHING;

-- name: mark_released!
UPDATE clearing.reserve SET released_at = :now WHERE disbursement_id = ANY(:ids::uuid[]) AND released_at IS NULL;

-- name: lock_due
-- Up to :limit due disbursements, locked for this transaction; those that another worker has locked are skipped.
SELECT d.id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed
FROM clearing.disbursement AS d
WHERE rail = 'psp' AND (state = 'planned' AND (approvals_needed = 0 OR approvals_needed <= (
          SELECT count(*) FROM clearing.disbursement_approval AS a WHERE a.disbursement_id = d.id))
    OR (state IN ('requested', 'outcome_unknown') AND next_attempt_at <= :now))
ORDER BY planned_at, id LIMIT :limit FOR UPDATE OF d SKIP LOCKED;

-- name: request
-- The intents of disbursements that this transaction has locked.
UPDATE clearing.disbursement AS d SET
    state = CASE WHEN state = 'planned' THEN 'requested' ELSE state END,
    requested_at = coalesce(requested_at, :now), attempts = attempts + 1, next_attempt_at = :lease_until
WHERE id = ANY(:ids::uuid[]) AND state IN ('planned', 'requested', 'outcome_unknown')
RETURNING id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed;

-- name: begin^
-- The intent, recorded before the rail is called; until the lease ends no second worker calls it.
UPDATE clearing.disbursement AS d SET
    state = CASE WHEN state = 'planned' THEN 'requested' ELSE state END,
    requested_at = coalesce(requested_at, :now), attempts = attempts + 1, next_attempt_at = :lease_until
WHERE id = :id AND (state = 'planned' OR (state IN ('requested', 'outcome_unknown') AND next_attempt_at <= :now))
    AND approvals_needed <= (SELECT count(*) FROM clearing.disbursement_approval AS a WHERE a.disbursement_id = d.id)
RETURNING id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed;

-- name: lock_disbursements
-- Disbursements as they are, locked for this transaction in the order of their ids.
SELECT id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed
FROM clearing.disbursement WHERE id = ANY(:ids::uuid[]) ORDER BY id FOR UPDATE;

-- name: finish
UPDATE clearing.disbursement AS d SET state = outcome.state, rail_reference = outcome.rail_reference, failure = outcome.failure,
    next_attempt_at = outcome.next_attempt_at, finished_at = outcome.finished_at
FROM unnest(:ids::uuid[], :states::text[], :rail_references::text[], :failures::text[], :next_attempts::timestamptz[],
    :finished::timestamptz[]) AS outcome (id, state, rail_reference, failure, next_attempt_at, finished_at)
WHERE d.id = outcome.id AND d.state IN ('requested', 'outcome_unknown')
RETURNING d.id, party_id, currency, period, amount_minor, destination, end_to_end_id, d.state, planned_at, attempts,
    d.rail_reference, d.failure, rail, approvals_needed;

-- name: get^
SELECT id, party_id, currency, period, amount_minor, destination, end_to_end_id, state, planned_at, attempts,
    rail_reference, failure, rail, approvals_needed
FROM clearing.disbursement WHERE id = :id;

-- name: forecast
-- Open payables by due date, and those scheduled for a disbursement that is not paid yet.
SELECT party_id, currency, due_date, state, sum(amount_minor)::bigint AS amount_minor,
       coalesce(sum(amount_minor) FILTER (WHERE kind NOT LIKE 'reserve\_%' AND kind NOT LIKE 'remainder\_%'), 0)::bigint AS sales_minor,
       coalesce(-sum(amount_minor) FILTER (WHERE kind = 'reserve_withheld'), 0)::bigint AS held_minor, count(*) AS sessions
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

-- name: awaiting_approval
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

-- name: open_due_dates
-- Open payables due from a day on, with the time of their sale: a page, in the order of the key.
SELECT p.shard, p.subject_id, p.kind, p.reference, p.party_id, p.currency, p.due_date, e.sale_at
FROM clearing.payable AS p JOIN clearing.entry AS e USING (shard, subject_id, kind, reference)
WHERE p.state = 'open' AND p.due_date >= :since
  AND (p.shard, p.subject_id, p.kind, p.reference, p.party_id) > (:shard, :subject_id, :kind, :reference, :party_id)
ORDER BY p.shard, p.subject_id, p.kind, p.reference, p.party_id LIMIT :limit;

-- name: move_due_dates!
-- The new due dates and the reason in one statement.
WITH change AS MATERIALIZED (
    SELECT * FROM unnest(:shards::smallint[], :subjects::uuid[], :kinds::text[], :refs::text[], :parties::text[],
                         :olds::date[], :news::date[])
        AS change (shard, subject_id, kind, reference, party_id, old_date, new_date)
), moved AS (
    UPDATE clearing.payable AS p SET due_date = change.new_date FROM change
    WHERE p.shard = change.shard AND p.subject_id = change.subject_id AND p.kind = change.kind
      AND p.reference = change.reference AND p.party_id = change.party_id
      AND p.state = 'open' AND p.due_date = change.old_date
    RETURNING p.shard, p.subject_id, p.kind, p.reference, p.party_id, change.old_date, change.new_date
)
INSERT INTO clearing.due_date_change (shard, subject_id, kind, reference, party_id, changed_at, old_date, new_date, reason)
SELECT shard, subject_id, kind, reference, party_id, :now::timestamptz, old_date, new_date, :reason FROM moved;

-- name: insert_returned_payables!
-- The payables of a returned disbursement, before they are open again.
INSERT INTO clearing.returned_payable (shard, subject_id, kind, reference, party_id, disbursement_id, amount_minor, due_date)
SELECT shard, subject_id, kind, reference, party_id, disbursement_id, amount_minor, due_date
FROM clearing.payable WHERE disbursement_id = :id
ON CONFLICT DO NOTHING;
