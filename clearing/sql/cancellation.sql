-- Planned disbursements that may no longer be sent.

-- name: cancellable
-- Planned disbursements that a hold, bank details, the approval limit or deregistration may forbid to send; locked for this
-- transaction. Without a parameter: a plan that serves one party as well as all looks each one up, at twenty times the cost.
SELECT d.id, d.party_id, d.currency, d.period, d.amount_minor, d.destination, d.end_to_end_id, d.state, d.planned_at, d.attempts,
    d.rail_reference, d.failure, d.rail, d.approvals_needed
FROM clearing.disbursement AS d
JOIN clearing.party AS party ON party.id = d.party_id
LEFT JOIN clearing.payout_terms AS terms ON terms.party_id = d.party_id
LEFT JOIN clearing.bank_details AS bank ON bank.party_id = d.party_id AND bank.state = 'approved'
WHERE d.state = 'planned' AND (
    party.payout_hold IS NOT NULL
    OR d.destination IS DISTINCT FROM coalesce(bank.iban, party.connected_account)
    OR terms.deregistered_on > d.period
    OR (d.approvals_needed = 0 AND d.amount_minor > terms.approval_above_minor)
    OR d.party_id IN (SELECT h.party_id FROM clearing.payout_hold AS h WHERE h.lifted_at IS NULL)
    OR d.party_id IN (SELECT p.party_id FROM clearing.bank_details AS p WHERE p.state = 'pending'))
ORDER BY d.id LIMIT 10000 FOR UPDATE OF d SKIP LOCKED;

-- name: cancellable_of_party
-- The same of one party.
SELECT d.id, d.party_id, d.currency, d.period, d.amount_minor, d.destination, d.end_to_end_id, d.state, d.planned_at, d.attempts,
    d.rail_reference, d.failure, d.rail, d.approvals_needed
FROM clearing.disbursement AS d
JOIN clearing.party AS party ON party.id = d.party_id
LEFT JOIN clearing.payout_terms AS terms ON terms.party_id = d.party_id
LEFT JOIN clearing.bank_details AS bank ON bank.party_id = d.party_id AND bank.state = 'approved'
WHERE d.state = 'planned' AND d.party_id = :party_id AND (
    party.payout_hold IS NOT NULL
    OR d.destination IS DISTINCT FROM coalesce(bank.iban, party.connected_account)
    OR terms.deregistered_on > d.period
    OR (d.approvals_needed = 0 AND d.amount_minor > terms.approval_above_minor)
    OR d.party_id IN (SELECT h.party_id FROM clearing.payout_hold AS h WHERE h.lifted_at IS NULL)
    OR d.party_id IN (SELECT p.party_id FROM clearing.bank_details AS p WHERE p.state = 'pending'))
ORDER BY d.id LIMIT 10000 FOR UPDATE OF d SKIP LOCKED;

-- name: cancel!
UPDATE clearing.disbursement AS d SET state = 'cancelled', failure = cancelled.failure, finished_at = :now::timestamptz
FROM unnest(:ids::uuid[], :failures::text[]) AS cancelled (id, failure)
WHERE d.id = cancelled.id AND d.state = 'planned';

-- name: reopen!
UPDATE clearing.payable SET state = 'open', disbursement_id = NULL
WHERE disbursement_id = ANY(:ids::uuid[]) AND state = 'scheduled';
