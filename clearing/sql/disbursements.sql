-- Read models of disbursements and payables.

-- name: list_disbursements
-- The newest first: planned_at, then id, since these ids carry no time.
WITH page AS MATERIALIZED (
    SELECT d.* FROM clearing.disbursement AS d
    WHERE (:party_id::text IS NULL OR d.party_id = :party_id)
      AND (:state::text IS NULL OR d.state = :state)
      AND (:before::uuid IS NULL
           OR (d.planned_at, d.id) < (SELECT b.planned_at, b.id FROM clearing.disbursement AS b WHERE b.id = :before))
    ORDER BY d.planned_at DESC, d.id DESC LIMIT :limit
), netted AS MATERIALIZED (
    SELECT p.disbursement_id FROM clearing.payable AS p WHERE p.disbursement_id IN (SELECT d.id FROM page AS d)
)
SELECT d.id, d.party_id, d.currency, d.period, d.amount_minor, d.end_to_end_id, d.state, d.planned_at,
       d.finished_at, d.failure, (SELECT count(*) FROM netted AS n WHERE n.disbursement_id = d.id) AS payables
FROM page AS d
ORDER BY d.planned_at DESC, d.id DESC;

-- name: select_disbursement^
WITH netted AS MATERIALIZED (SELECT p.disbursement_id FROM clearing.payable AS p WHERE p.disbursement_id = :id)
SELECT d.id, d.party_id, d.currency, d.period, d.amount_minor, d.end_to_end_id, d.state, d.planned_at,
       d.finished_at, d.failure, (SELECT count(*) FROM netted AS n WHERE n.disbursement_id = d.id) AS payables
FROM clearing.disbursement AS d
WHERE d.id = :id AND (:party_id::text IS NULL OR d.party_id = :party_id);

-- name: select_disbursements
WITH netted AS MATERIALIZED (
    SELECT p.disbursement_id FROM clearing.payable AS p WHERE p.disbursement_id = ANY(:ids::uuid[])
)
SELECT d.id, d.party_id, d.currency, d.period, d.amount_minor, d.end_to_end_id, d.state, d.planned_at,
       d.finished_at, d.failure, (SELECT count(*) FROM netted AS n WHERE n.disbursement_id = d.id) AS payables
FROM clearing.disbursement AS d
WHERE d.id = ANY(:ids::uuid[]);

-- name: payables_of_session
SELECT p.shard, p.subject_id, p.kind, p.reference, p.party_id, p.amount_minor, p.currency, p.due_date, p.disbursement_id,
       CASE WHEN d.state = 'paid' THEN 'paid' ELSE p.state END AS state
FROM clearing.payable AS p LEFT JOIN clearing.disbursement AS d ON d.id = p.disbursement_id
WHERE p.shard = :shard AND p.subject_id = :session_id AND (:party_id::text IS NULL OR p.party_id = :party_id)
ORDER BY p.party_id, p.kind, p.reference;

-- name: payables_of_disbursement
SELECT p.shard, p.subject_id, p.kind, p.reference, p.party_id, p.amount_minor, p.currency, p.due_date, p.disbursement_id,
       CASE WHEN d.state = 'paid' THEN 'paid' ELSE p.state END AS state
FROM clearing.payable AS p JOIN clearing.disbursement AS d ON d.id = p.disbursement_id
WHERE p.disbursement_id = :disbursement_id AND (:party_id::text IS NULL OR p.party_id = :party_id)
  AND (:after::uuid IS NULL OR p.subject_id > :after)
ORDER BY p.subject_id FETCH FIRST :limit ROWS WITH TIES;

-- name: open_payables
SELECT p.shard, p.subject_id, p.kind, p.reference, p.party_id, p.amount_minor, p.currency, p.due_date, p.disbursement_id,
       p.state
FROM clearing.payable AS p
WHERE p.state = 'open' AND (:party_id::text IS NULL OR p.party_id = :party_id)
  AND (:after_day::date IS NULL OR (p.due_date, p.subject_id) > (:after_day, :after_id::uuid))
ORDER BY p.due_date, p.subject_id FETCH FIRST :limit ROWS WITH TIES;

-- name: approvers
SELECT disbursement_id, approver FROM clearing.disbursement_approval WHERE disbursement_id = ANY(:ids::uuid[])
ORDER BY disbursement_id, approved_at, approver;

-- name: transfers_under_way
-- Sent to the PSP, or about to be, without an outcome: by currency.
SELECT currency, sum(amount_minor)::bigint AS minor FROM clearing.disbursement
WHERE rail = 'psp' AND state IN ('requested', 'outcome_unknown')
GROUP BY currency;

-- name: unknown_transfers
-- Of transfers at the PSP, those that no disbursement here has: neither by the PSP's id nor by our own name.
SELECT given.rail_reference
FROM unnest(:rail_references::text[], :end_to_end_ids::text[]) AS given (rail_reference, end_to_end_id)
WHERE NOT EXISTS (
    SELECT 1 FROM clearing.disbursement AS d
    WHERE d.rail_reference = given.rail_reference OR d.end_to_end_id = given.end_to_end_id)
ORDER BY given.rail_reference;
