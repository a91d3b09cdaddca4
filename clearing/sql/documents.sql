-- Documents: what was supplied in a period, series without gaps, what was issued.

-- name: hold_issuing!
-- One issuer at a time, until its transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.documents', 0));

-- name: take_time!
-- A whole month is summed: more than a request of the hot path may take.
SET LOCAL statement_timeout = '10min';

-- name: booked_within$
SELECT EXISTS (SELECT 1 FROM clearing.batch WHERE booked_at >= :since AND booked_at < :until);

-- name: supplied
-- Sums by supplier, customer, currency, supply and ruling; corrections apart from captures, as they become credit notes.
SELECT leg ->> 'supplier' AS supplier_id, leg ->> 'customer' AS customer_id, e.currency, leg ->> 'leg' AS leg,
       leg ->> 'ruling' AS ruling, e.kind <> 'capture' AS correction,
       sum((leg ->> 'net')::bigint)::bigint AS net_minor, sum((leg ->> 'vat')::bigint)::bigint AS vat_minor,
       count(*) AS sessions
FROM clearing.entry AS e CROSS JOIN LATERAL jsonb_array_elements(e.legs::jsonb) AS leg
WHERE e.booked_at >= :since AND e.booked_at < :until AND e.legs <> '[]' AND leg ->> 'leg' <> 'to_driver'
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY 1, 2, 3, 6, 4, 5;

-- name: issued$
SELECT number FROM clearing.document
WHERE supplier_id = :supplier_id AND customer_id = :customer_id AND type_code = :type_code AND currency = :currency
  AND period_start = :period_start AND period_end = :period_end AND series = :series;

-- name: next_number$
-- Held until the transaction ends: a document that is not stored takes no number.
INSERT INTO clearing.document_series AS known (issuer_id, series, next_number) VALUES (:issuer_id, :series, 2)
ON CONFLICT (issuer_id, series) DO UPDATE SET next_number = known.next_number + 1
RETURNING next_number - 1;

-- name: insert_document!
INSERT INTO clearing.document (issuer_id, series, number, type_code, supplier_id, customer_id, period_start, period_end,
    currency, net_minor, vat_minor, gross_minor, content, issued_at)
VALUES (:issuer_id, :series, :number, :type_code, :supplier_id, :customer_id, :period_start, :period_end,
    :currency, :net_minor, :vat_minor, :gross_minor, (:content)::text::jsonb, :now);

-- name: documents
SELECT series, number, type_code, supplier_id, customer_id, currency, net_minor, vat_minor, gross_minor,
       content ->> 'ubl' AS ubl, content ->> 'cii' AS cii
FROM clearing.document WHERE period_start = :period_start AND period_end = :period_end
ORDER BY issuer_id, series, number;

-- name: listed
-- A party's documents, as supplier or customer, the latest first; party_id null: everybody's.
SELECT series, number, type_code, supplier_id, customer_id, period_start, period_end, currency, net_minor, vat_minor,
       gross_minor, issued_at
FROM clearing.document AS d
WHERE (:party_id::text IS NULL OR supplier_id = :party_id OR customer_id = :party_id)
  AND (:before_series::text IS NULL OR (issued_at, series, number) < (
      SELECT b.issued_at, b.series, b.number FROM clearing.document AS b
      WHERE b.series = :before_series AND b.number = :before_number::bigint
        AND (:party_id::text IS NULL OR b.supplier_id = :party_id OR b.customer_id = :party_id)))
ORDER BY issued_at DESC, series DESC, number DESC LIMIT :limit;

-- name: one^
SELECT series, number, type_code, supplier_id, customer_id, period_start, period_end, currency, net_minor, vat_minor,
       gross_minor, issued_at, content::text AS content
FROM clearing.document
WHERE series = :series AND number = :number
  AND (:party_id::text IS NULL OR supplier_id = :party_id OR customer_id = :party_id);
