-- What is stored for cleared sessions and for those that could not be cleared.

-- name: lock_capture^
SELECT e.shard, e.subject_id, e.currency, e.gross_minor, e.legs, e.cpo_id, e.demand_partner_id, e.authorization_method, e.tax_jurisdiction, e.sale_at,
       e.agreement_id, e.agreement_version, e.tariff_sha256, e.cdr_id, e.psp_object_id, e.priced_minor, e.energy_kwh,
       a.terms::text AS terms
FROM clearing.entry AS e
JOIN clearing.agreement AS a ON a.id = e.agreement_id AND a.version = e.agreement_version
WHERE e.shard = :shard AND e.subject_id = :session_id AND e.kind = 'capture' AND e.reference = ''
FOR UPDATE OF e;

-- name: latest_issue^
-- The driver's supply of a session as it was issued anew for the last time.
SELECT reference, legs FROM clearing.entry
WHERE shard = :shard AND subject_id = :session_id AND kind = 'sale_reissued'
ORDER BY reference::integer DESC LIMIT 1;

-- name: entry_of^
SELECT currency, gross_minor, legs, cpo_id, demand_partner_id, authorization_method, tax_jurisdiction, sale_at, agreement_id, agreement_version,
       tariff_sha256, cdr_id, psp_object_id, priced_minor, energy_kwh
FROM clearing.entry
WHERE shard = :shard AND subject_id = :session_id AND kind = :kind AND reference = :reference;

-- name: transfers_of
SELECT debit_account, credit_account, amount_minor, currency FROM clearing.transfer
WHERE shard = :shard AND subject_id = :session_id AND kind = :kind AND reference = :reference ORDER BY ordinal;

-- name: payables_of
SELECT party_id, amount_minor, currency, due_date FROM clearing.payable
WHERE shard = :shard AND subject_id = :session_id AND kind = :kind AND reference = :reference ORDER BY party_id;

-- name: locks
SELECT base, quote, rate, source, rate_date, markup_bps FROM clearing.fx_lock
WHERE shard = :shard AND session_id = :session_id;

-- name: rulings
SELECT id, content FROM clearing.vat_ruling WHERE id = ANY(:ids::text[]);

-- name: reversed_amounts$
SELECT coalesce(sum(CASE WHEN kind IN ('dispute_won', 'refund_failed') THEN -gross_minor ELSE gross_minor END), 0)::bigint
FROM clearing.entry
WHERE shard = :shard AND subject_id = :session_id AND kind IN ('refund', 'refund_failed', 'dispute', 'dispute_won');

-- name: kinds_of
SELECT id, kind FROM clearing.party WHERE id = ANY(:ids::text[]);

-- name: dispute_fees^
-- What is booked as the PSP's fee of a dispute in one currency, and by how many corrections.
SELECT count(DISTINCT reference) FILTER (WHERE reference <> :reference::text) AS corrections,
       coalesce(sum(CASE WHEN debit_account = 'platform:psp:expense' THEN amount_minor ELSE -amount_minor END)
                FILTER (WHERE 'platform:psp:expense' IN (debit_account, credit_account) AND currency = :currency::text),
                0)::bigint AS minor
FROM clearing.transfer
WHERE shard = :shard::smallint AND subject_id = :session_id::uuid AND kind = 'dispute'
  AND (reference = :reference::text OR starts_with(reference, :reference::text || :mark::text));

-- name: disputed$
SELECT coalesce(sum(CASE WHEN kind = 'dispute_won' THEN -gross_minor ELSE gross_minor END), 0)::bigint
FROM clearing.entry
WHERE shard = :shard AND subject_id = :session_id AND kind IN ('dispute', 'dispute_won');

-- name: insert_rulings!
INSERT INTO clearing.vat_ruling (id, content)
SELECT id, content FROM unnest(:ids::text[], :contents::text[]) AS ruling (id, content) ORDER BY id
ON CONFLICT DO NOTHING;

-- name: mark_exceptions!
INSERT INTO clearing.session_exception AS known (shard, session_id, reason, detail, exception_at, last_at)
SELECT shard, session_id, reason, detail, :now::timestamptz, :now::timestamptz
FROM unnest(:shards::smallint[], :sessions::uuid[], :reasons::text[], :details::text[]) AS fresh (shard, session_id, reason, detail)
ORDER BY shard, session_id
ON CONFLICT (shard, session_id) DO UPDATE SET reason = excluded.reason, detail = excluded.detail,
    attempts = known.attempts + 1, last_at = excluded.last_at, resolved_at = NULL;

-- name: any_uncleared$
SELECT EXISTS (SELECT 1 FROM clearing.session_exception WHERE resolved_at IS NULL);

-- name: resolve_exceptions!
UPDATE clearing.session_exception AS p SET resolved_at = :now::timestamptz
FROM unnest(:shards::smallint[], :sessions::uuid[]) AS done (shard, session_id)
WHERE p.shard = done.shard AND p.session_id = done.session_id AND p.resolved_at IS NULL  -- shards of p
;

-- name: lock_volumes!
-- One writer at a time counts a tiered agreement; locked in the order of names.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.volume ' || id, 0))
FROM (SELECT unnest(:ids::text[]) AS id ORDER BY 1) AS tiered;

-- name: volumes
SELECT agreement_id, month, sum(sessions)::bigint AS sessions FROM clearing.agreement_volume
WHERE agreement_id = ANY(:ids::text[]) GROUP BY agreement_id, month;

-- name: insert_volumes!
INSERT INTO clearing.agreement_volume (agreement_id, month, batch_id, sessions)
SELECT agreement_id, month, :batch_id::uuid, sessions
FROM unnest(:ids::text[], :months::date[], :counts::integer[]) AS fresh (agreement_id, month, sessions);
