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

-- name: unknown_disbursements
SELECT id, party_id, currency, amount_minor, rail, attempts, requested_at AS since FROM clearing.disbursement
WHERE state = 'outcome_unknown' AND requested_at < :unknown_before ORDER BY requested_at, id;

-- name: proposed_meter_keys
SELECT id, party_id, meter_serial, gateway_serial, charge_point_id, entered_by, entered_at AS since
FROM clearing.meter_key WHERE state = 'proposed' ORDER BY entered_at, id;
