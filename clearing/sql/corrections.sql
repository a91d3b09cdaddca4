-- Stored captures, for refunds, disputes and credits.

-- name: lock_capture^
SELECT e.lane, e.subject_id, e.currency, e.gross_minor, e.legs, e.cpo_id, e.demand_partner_id, e.rail, e.territory, e.sale_at,
       e.agreement_id, e.agreement_version, e.tariff_sha256, e.cdr_id, e.psp_object_id, e.priced_minor, e.energy_kwh,
       a.terms::text AS terms
FROM clearing.entry AS e
JOIN clearing.agreement AS a ON a.id = e.agreement_id AND a.version = e.agreement_version
WHERE e.lane = :lane AND e.subject_id = :session_id AND e.kind = 'capture' AND e.reference = ''
FOR UPDATE OF e;

-- name: entry_of^
SELECT currency, gross_minor, legs, cpo_id, demand_partner_id, rail, territory, sale_at, agreement_id, agreement_version,
       tariff_sha256, cdr_id, psp_object_id, priced_minor, energy_kwh
FROM clearing.entry
WHERE lane = :lane AND subject_id = :session_id AND kind = :kind AND reference = :reference;

-- name: transfers_of
SELECT debit_account, credit_account, amount_minor, currency FROM clearing.transfer
WHERE lane = :lane AND subject_id = :session_id AND kind = :kind AND reference = :reference ORDER BY ordinal;

-- name: payables_of
SELECT party_id, amount_minor, currency, due_date FROM clearing.payable
WHERE lane = :lane AND subject_id = :session_id AND kind = :kind AND reference = :reference ORDER BY party_id;

-- name: locks
SELECT base, quote, rate, source, rate_date, markup_bps FROM clearing.fx_lock
WHERE lane = :lane AND session_id = :session_id;

-- name: rulings
SELECT id, content FROM clearing.vat_ruling WHERE id = ANY(:ids::text[]);

-- name: taken_back$
SELECT coalesce(sum(CASE WHEN kind IN ('dispute_won', 'refund_failed') THEN -gross_minor ELSE gross_minor END), 0)::bigint
FROM clearing.entry
WHERE lane = :lane AND subject_id = :session_id AND kind IN ('reversal', 'refund', 'refund_failed', 'dispute', 'dispute_won');

-- name: known_reference$
SELECT EXISTS (
    SELECT 1 FROM clearing.entry
    WHERE lane = :lane AND subject_id = :session_id AND kind = :kind AND reference = :reference);

-- name: kinds_of
SELECT id, kind FROM clearing.party WHERE id = ANY(:ids::text[]);

-- name: dispute_fees^
-- What is booked as the PSP's fee of a dispute, and by how many corrections.
SELECT count(DISTINCT reference) FILTER (WHERE reference <> :reference::text) AS corrections,
       coalesce(sum(CASE WHEN debit_account = 'platform:psp:expense' THEN amount_minor ELSE -amount_minor END)
                FILTER (WHERE 'platform:psp:expense' IN (debit_account, credit_account)), 0)::bigint AS minor
FROM clearing.transfer
WHERE lane = :lane::smallint AND subject_id = :session_id::uuid AND kind = 'dispute'
  AND (reference = :reference::text OR starts_with(reference, :reference::text || :mark::text));

-- name: disputed$
SELECT coalesce(sum(CASE WHEN kind = 'dispute_won' THEN -gross_minor ELSE gross_minor END), 0)::bigint
FROM clearing.entry
WHERE lane = :lane AND subject_id = :session_id AND kind IN ('dispute', 'dispute_won');
