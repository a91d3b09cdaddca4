-- What clearing holds open for a person, one statement for each list.

-- name: session_exceptions
SELECT session_id, reason, detail, exception_at AS since FROM clearing.session_exception
WHERE resolved_at IS NULL ORDER BY exception_at, session_id;

-- name: differences
SELECT id, pair, reference, type, owner, amount_minor, currency, since, detail FROM clearing.reconciliation_difference
WHERE resolved_at IS NULL ORDER BY since, id;

-- name: document_exceptions
SELECT supplier_id, customer_id, currency, period_start, period_end, party_id, reason, first_at AS since
FROM clearing.document_exception ORDER BY first_at, supplier_id, customer_id, currency, period_start;

-- name: payout_holds
-- In force on the party's own day, with what it keeps from being paid in the party's settlement currency.
SELECT h.id, h.party_id, h.reason, h.since, h.placed_by, h.four_eyes, party.settlement_currency AS currency,
       (SELECT coalesce(sum(p.amount_minor), 0)::bigint FROM clearing.payable AS p
        WHERE p.party_id = h.party_id AND p.currency = party.settlement_currency AND p.state = 'open') AS amount_minor
FROM clearing.payout_hold AS h JOIN clearing.party AS party ON party.id = h.party_id
WHERE h.lifted_at IS NULL AND h.since <= (:now::timestamptz AT TIME ZONE party.time_zone)::date
  AND (h.until IS NULL OR h.until > (:now::timestamptz AT TIME ZONE party.time_zone)::date)
ORDER BY h.since, h.id;

-- name: approval_requests
SELECT id, resolution, party_id, currency, amount_minor, reason, proposed_by, proposed_at AS since
FROM clearing.approval_request WHERE state = 'pending' ORDER BY proposed_at, id;

-- name: disbursement_approvals
SELECT d.id, d.party_id, d.currency, d.amount_minor, d.approvals_needed, given.approvals, d.planned_at AS since
FROM clearing.disbursement AS d
CROSS JOIN LATERAL (
    SELECT count(*) AS approvals FROM clearing.disbursement_approval AS a WHERE a.disbursement_id = d.id) AS given
WHERE d.state = 'planned' AND d.approvals_needed > given.approvals ORDER BY d.planned_at, d.id;

-- name: pending_bank_details
-- With what is not paid meanwhile in the party's settlement currency.
SELECT b.party_id, b.version, b.submitted_by, b.submitted_at AS since, party.settlement_currency AS currency,
       (SELECT coalesce(sum(p.amount_minor), 0)::bigint FROM clearing.payable AS p
        WHERE p.party_id = b.party_id AND p.currency = party.settlement_currency AND p.state = 'open') AS amount_minor
FROM clearing.bank_details AS b JOIN clearing.party AS party ON party.id = b.party_id
WHERE b.state = 'pending' ORDER BY b.submitted_at, b.party_id;

-- name: old_suspense
SELECT id, currency, remaining_minor AS amount_minor, owner, detail, since
FROM clearing.suspense_item WHERE remaining_minor <> 0 AND since < :since_before::date ORDER BY since, id;

-- name: unsent_payment_files
-- The amount where all payments of the file are in one currency.
SELECT f.message_id, f.payment_count, f.created_at AS since, paid.currency, paid.amount_minor
FROM clearing.payment_file AS f
CROSS JOIN LATERAL (
    SELECT CASE WHEN count(DISTINCT d.currency) = 1 THEN min(d.currency) END AS currency,
           CASE WHEN count(DISTINCT d.currency) = 1 THEN sum(d.amount_minor)::bigint END AS amount_minor
    FROM clearing.payment_file_item AS i JOIN clearing.disbursement AS d ON d.id = i.disbursement_id
    WHERE i.message_id = f.message_id) AS paid
WHERE f.sent_at IS NULL AND f.created_at < :created_before ORDER BY f.created_at, f.message_id;

-- name: rejected_bank_messages
SELECT sha256, name, reason, received_at AS since FROM clearing.bank_message
WHERE state = 'rejected' ORDER BY received_at, sha256;

-- name: unknown_disbursements
SELECT id, party_id, currency, amount_minor, rail, attempts, requested_at AS since FROM clearing.disbursement
WHERE state = 'outcome_unknown' AND requested_at < :unknown_before ORDER BY requested_at, id;
