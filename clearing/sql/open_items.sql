-- What clearing holds open for a person, one statement for each list. A column is a field of `OpenCause`: a field that a
-- list does not have is left out.

-- name: session_exceptions
SELECT session_id AS id, reason, detail, exception_at AS since FROM clearing.session_exception
WHERE resolved_at IS NULL ORDER BY exception_at, session_id;

-- name: differences
SELECT id, owner, amount_minor, currency, type AS reason, format('%s %s: %s', pair, reference, detail) AS detail,
       since::timestamp AT TIME ZONE 'UTC' AS since
FROM clearing.reconciliation_difference
WHERE resolved_at IS NULL ORDER BY clearing.reconciliation_difference.since, id;

-- name: psp_differences
-- The lines in which our books and the PSP's record differ, as the last comparison found them: the oldest of a currency.
SELECT currency, reference FROM (
    SELECT currency, reference, since, row_number() OVER (PARTITION BY currency ORDER BY since, reference) AS place
    FROM clearing.reconciliation_difference WHERE pair = 'book_psp' AND resolved_at IS NULL
) AS difference
WHERE place <= :limit ORDER BY currency, place;

-- name: document_exceptions
SELECT concat_ws('/', supplier_id, customer_id, currency, period_start, period_end) AS name, party_id,
       'document_not_issued' AS reason, reason AS detail, first_at AS since
FROM clearing.document_exception ORDER BY first_at, supplier_id, customer_id, currency, period_start;

-- name: pending_driver_documents
-- By seller: they all wait for the same data.
SELECT supplier_id AS name, supplier_id AS party_id, 'document_incomplete' AS reason,
       format('%s documents for drivers: %s', count(*), min(reason)) AS detail, min(first_at) AS since
FROM clearing.pending_driver_document GROUP BY supplier_id ORDER BY min(first_at), supplier_id;

-- name: payout_holds
-- In force on the party's own day, with what it keeps from being paid in the party's settlement currency.
WITH held AS MATERIALIZED (
    SELECT h.id, h.party_id, party.settlement_currency AS currency, h.four_eyes, h.reason, h.placed_by, h.since
    FROM clearing.payout_hold AS h JOIN clearing.party AS party ON party.id = h.party_id
    WHERE h.lifted_at IS NULL AND h.rail IS NULL AND h.cause IS NULL
      AND h.since <= (:now::timestamptz AT TIME ZONE party.time_zone)::date
      AND (h.until IS NULL OR h.until > (:now::timestamptz AT TIME ZONE party.time_zone)::date)
), owed AS MATERIALIZED (
    SELECT p.party_id, p.currency, sum(p.amount_minor)::bigint AS amount_minor FROM clearing.payable AS p
    WHERE p.state = 'open' AND p.party_id IN (SELECT h.party_id FROM held AS h)
    GROUP BY p.party_id, p.currency
)
SELECT h.id, h.party_id, h.currency,
       CASE WHEN h.four_eyes THEN 'four_eyes_hold' ELSE 'payout_hold' END AS reason,
       format('%s (placed by %s)', h.reason, h.placed_by) AS detail, h.since::timestamp AT TIME ZONE 'UTC' AS since,
       coalesce(o.amount_minor, 0) AS amount_minor
FROM held AS h LEFT JOIN owed AS o ON o.party_id = h.party_id AND o.currency = h.currency
ORDER BY h.since, h.id;

-- name: unpayable_accounts
-- Parties that are paid over a rail which can't pay them, where something is owed to them in their settlement currency.
WITH held AS MATERIALIZED (
    SELECT h.id, h.party_id, party.settlement_currency AS currency, h.rail, h.reason, h.since
    FROM clearing.payout_hold AS h JOIN clearing.party AS party ON party.id = h.party_id
    WHERE h.lifted_at IS NULL AND h.rail IS NOT NULL
      AND h.rail = CASE WHEN EXISTS (SELECT 1 FROM clearing.bank_details AS b
                                     WHERE b.party_id = h.party_id AND b.state = 'approved')
                        THEN 'bank' ELSE 'psp' END
), owed AS MATERIALIZED (
    SELECT p.party_id, p.currency, sum(p.amount_minor)::bigint AS amount_minor FROM clearing.payable AS p
    WHERE p.state = 'open' AND p.party_id IN (SELECT h.party_id FROM held AS h)
    GROUP BY p.party_id, p.currency
)
SELECT h.id, h.party_id, h.currency, h.rail || '_account' AS reason, h.reason AS detail,
       h.since::timestamp AT TIME ZONE 'UTC' AS since, o.amount_minor
FROM held AS h JOIN owed AS o ON o.party_id = h.party_id AND o.currency = h.currency AND o.amount_minor > 0
ORDER BY h.since, h.id;

-- name: unchecked_parties
-- Parties that a check of their identity keeps from being paid, where something is owed to them in their settlement currency.
WITH held AS MATERIALIZED (
    SELECT h.id, h.party_id, party.settlement_currency AS currency, h.cause, h.reason, h.since
    FROM clearing.payout_hold AS h JOIN clearing.party AS party ON party.id = h.party_id
    WHERE h.lifted_at IS NULL AND h.cause = 'party_checks'
), owed AS MATERIALIZED (
    SELECT p.party_id, p.currency, sum(p.amount_minor)::bigint AS amount_minor FROM clearing.payable AS p
    WHERE p.state = 'open' AND p.party_id IN (SELECT h.party_id FROM held AS h)
    GROUP BY p.party_id, p.currency
)
SELECT h.id, h.party_id, h.currency, h.cause AS reason, h.reason AS detail,
       h.since::timestamp AT TIME ZONE 'UTC' AS since, o.amount_minor
FROM held AS h JOIN owed AS o ON o.party_id = h.party_id AND o.currency = h.currency AND o.amount_minor > 0
ORDER BY h.since, h.id;

-- name: lapsing_checks
-- Parties' latest checks that lapse by a day, or have; those of the automatic screening, which lapse with their list, as one.
WITH due AS (
    SELECT * FROM (
        SELECT DISTINCT ON (party_id, kind) id, party_id, kind, result, valid_until, recorded_by FROM clearing.party_check
        ORDER BY party_id, kind, position DESC) AS latest
    WHERE valid_until <= :lapses_by::date AND result NOT IN ('failed', 'no_match')
)
SELECT id, party_id, 'check_lapses' AS reason, format('%s counts until %s', replace(kind, '_', ' '), valid_until) AS detail,
       (valid_until - :notice_days::integer)::timestamp AT TIME ZONE 'UTC' AS since
FROM due WHERE recorded_by <> :screener
UNION ALL
(SELECT id, NULL, 'sanctions_list_old', format('screenings of %s parties count until %s', count(*) OVER (), valid_until),
        (valid_until - :notice_days::integer)::timestamp AT TIME ZONE 'UTC'
 FROM due WHERE recorded_by = :screener ORDER BY valid_until, id LIMIT 1)
ORDER BY since, id;

-- name: unknown_disbursements
SELECT id, party_id, currency, amount_minor, rail || '_outcome_unknown' AS reason,
       format('no answer after %s attempts', attempts) AS detail, requested_at AS since
FROM clearing.disbursement
WHERE state = 'outcome_unknown' AND requested_at < :requested_before::timestamptz ORDER BY requested_at, id;

-- name: approval_requests
SELECT id, party_id, currency, amount_minor, resolution AS reason,
       format('%s (proposed by %s)', reason, proposed_by) AS detail, proposed_at AS since
FROM clearing.approval_request WHERE state = 'pending' ORDER BY proposed_at, id;

-- name: disbursement_approvals
SELECT d.id, d.party_id, d.currency, d.amount_minor, 'above_approval_limit' AS reason,
       format('%s of %s approvals given', given.approvals, d.approvals_needed) AS detail, d.planned_at AS since
FROM clearing.disbursement AS d
CROSS JOIN LATERAL (
    SELECT count(*) AS approvals FROM clearing.disbursement_approval AS a WHERE a.disbursement_id = d.id) AS given
WHERE d.state = 'planned' AND d.approvals_needed > given.approvals ORDER BY d.planned_at, d.id;

-- name: pending_bank_details
-- With what is not paid meanwhile in the party's settlement currency.
WITH pending AS MATERIALIZED (
    SELECT b.party_id, b.version, b.submitted_by, b.submitted_at, party.settlement_currency AS currency
    FROM clearing.bank_details AS b JOIN clearing.party AS party ON party.id = b.party_id WHERE b.state = 'pending'
), owed AS MATERIALIZED (
    SELECT p.party_id, p.currency, sum(p.amount_minor)::bigint AS amount_minor FROM clearing.payable AS p
    WHERE p.state = 'open' AND p.party_id IN (SELECT h.party_id FROM pending AS h)
    GROUP BY p.party_id, p.currency
)
SELECT b.party_id || '/' || b.version AS name, b.party_id, b.currency, 'new_bank_details' AS reason,
       format('submitted by %s; nothing is paid to the party until they are decided', b.submitted_by) AS detail,
       b.submitted_at AS since, coalesce(o.amount_minor, 0) AS amount_minor
FROM pending AS b LEFT JOIN owed AS o ON o.party_id = b.party_id AND o.currency = b.currency
ORDER BY b.submitted_at, b.party_id;

-- name: old_suspense
SELECT s.id, s.currency, s.remaining_minor AS amount_minor, s.owner, 'purpose_unknown' AS reason, s.detail,
       s.since::timestamp AT TIME ZONE 'UTC' AS since
FROM clearing.suspense_item AS s
WHERE s.remaining_minor <> 0 AND s.since < :since_before::date ORDER BY s.since, s.id;

-- name: unsent_payment_files
-- The amount where all payments of the file are in one currency.
SELECT f.message_id AS name, paid.currency, paid.amount_minor, 'not_sent' AS reason,
       format('%s payments are not known to have reached the bank', f.payment_count) AS detail, f.created_at AS since
FROM clearing.payment_file AS f
CROSS JOIN LATERAL (
    SELECT CASE WHEN count(DISTINCT d.currency) = 1 THEN min(d.currency) END AS currency,
           CASE WHEN count(DISTINCT d.currency) = 1 THEN sum(d.amount_minor)::bigint END AS amount_minor
    FROM clearing.payment_file_item AS i JOIN clearing.disbursement AS d ON d.id = i.disbursement_id
    WHERE i.message_id = f.message_id) AS paid
WHERE f.sent_at IS NULL AND f.created_at < :created_before::timestamptz ORDER BY f.created_at, f.message_id;

-- name: rejected_bank_messages
SELECT sha256 AS name, 'not_imported' AS reason, format('%s: %s', name, reason) AS detail, received_at AS since
FROM clearing.bank_message WHERE state = 'rejected' ORDER BY received_at, sha256;

-- name: proposed_meter_keys
SELECT id, party_id, 'meter_key_changed' AS reason,
       format('another key for meter %s (entered by %s)',
              concat_ws(' ', meter_serial, gateway_serial, charge_point_id), entered_by) AS detail, entered_at AS since
FROM clearing.meter_key WHERE state = 'proposed' ORDER BY entered_at, id;
