-- Documents: what was supplied in a period, series without gaps, what was issued.

-- name: hold_issuing!
-- One issuer at a time, until its transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.documents', 0));

-- name: take_time!
-- A whole month is summed: more than a request of the hot path may take.
SET LOCAL statement_timeout = '10min';

-- name: wait_for_writers!
-- Granted once every entry that is being posted is committed; what is posted later is booked later.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.books', 0));

-- name: first_booked$
SELECT min(booked_at) FROM clearing.batch;

-- name: supplied
-- Sums by supplier, customer, currency, session where it has a document of its own, supply and ruling; corrections apart
-- from captures, as they become credit notes. A pair's documents are drawn by the cadence of the one that is not the
-- platform, of two others by the supplier's.
SELECT one.supplier_id, one.customer_id, one.currency, one.subject, one.leg, one.ruling, one.correction,
       sum(one.net)::bigint AS net_minor, sum(one.vat)::bigint AS vat_minor, count(*) AS sessions,
       min(one.sale_at) AS first_sale_at
FROM (
    SELECT leg ->> 'supplier' AS supplier_id, leg ->> 'customer' AS customer_id, e.currency, leg ->> 'leg' AS leg,
           leg ->> 'ruling' AS ruling, e.kind <> 'capture' AS correction, e.sale_at, (leg ->> 'net')::bigint AS net,
           (leg ->> 'vat')::bigint AS vat,
           CASE WHEN by_whom.document_cadence = 'session' THEN e.subject_id::text ELSE '' END AS subject
    FROM clearing.batch AS b
    JOIN clearing.entry AS e ON e.batch_id = b.id
    CROSS JOIN LATERAL jsonb_array_elements(e.legs::jsonb) AS leg
    JOIN clearing.party AS by_whom
        ON by_whom.id = CASE leg ->> 'supplier' WHEN 'platform' THEN leg ->> 'customer' ELSE leg ->> 'supplier' END
    WHERE b.booked_at >= :since AND b.booked_at < :until AND e.legs <> '[]' AND leg ->> 'leg' <> 'to_driver'
      AND by_whom.id = ANY (:parties::text[])
) AS one
GROUP BY 1, 2, 3, 4, 5, 6, 7
ORDER BY one.correction, one.supplier_id, one.customer_id, one.currency, one.subject, one.leg, one.ruling;

-- name: corrected
-- The documents that a period's corrections correct: that of the two parties which covers the capture.
SELECT DISTINCT leg ->> 'supplier' AS supplier_id, leg ->> 'customer' AS customer_id, c.currency, c.subject_id::text AS session,
       d.subject, d.series, d.number
FROM clearing.batch AS b
JOIN clearing.entry AS c ON c.batch_id = b.id
CROSS JOIN LATERAL jsonb_array_elements(c.legs::jsonb) AS leg
JOIN clearing.entry AS origin ON origin.lane = c.lane AND origin.subject_id = c.subject_id AND origin.kind = 'capture'
JOIN clearing.document AS d ON d.supplier_id = leg ->> 'supplier' AND d.customer_id = leg ->> 'customer'
    AND d.currency = c.currency AND d.type_code <> 381 AND d.subject IN ('', c.subject_id::text)
    AND (origin.booked_at AT TIME ZONE :zone)::date BETWEEN d.period_start AND d.period_end
WHERE b.booked_at >= :since AND b.booked_at < :until AND c.kind <> 'capture' AND c.legs <> '[]'
  AND leg ->> 'leg' <> 'to_driver'
ORDER BY d.series, d.number;

-- name: progress
-- How far each party's documents reach.
SELECT p.id, p.document_cadence, p.created_at, g.documented_to
FROM clearing.party AS p LEFT JOIN clearing.document_progress AS g ON g.party_id = p.id
WHERE p.kind <> 'platform' ORDER BY p.id;

-- name: move_progress!
INSERT INTO clearing.document_progress AS known (party_id, documented_to)
SELECT id, :documented_to::date FROM unnest(:parties::text[]) AS moved (id)
ON CONFLICT (party_id) DO UPDATE SET documented_to = greatest(known.documented_to, excluded.documented_to);

-- name: put_refusal!
INSERT INTO clearing.document_refusal AS known (supplier_id, customer_id, currency, period_start, period_end, party_id, reason,
    first_at, last_at)
VALUES (:supplier_id, :customer_id, :currency, :period_start, :period_end, :party_id, :reason, :now, :now)
ON CONFLICT (supplier_id, customer_id, currency, period_start, period_end)
DO UPDATE SET reason = excluded.reason, last_at = excluded.last_at;

-- name: forget_refusals!
-- Of a period that is issued again from the start: what still may not be is put back.
DELETE FROM clearing.document_refusal
WHERE party_id = ANY (:parties::text[]) AND period_start = :period_start AND period_end = :period_end
  AND NOT (supplier_id, customer_id, currency) IN (
      SELECT * FROM unnest(:suppliers::text[], :customers::text[], :currencies::text[]));

-- name: refused_periods
-- The periods with something to try again, and by whose cadence they were drawn.
SELECT period_start, period_end, array_agg(DISTINCT party_id ORDER BY party_id) AS parties
FROM clearing.document_refusal GROUP BY period_start, period_end ORDER BY period_start, period_end;

-- name: refusals
SELECT supplier_id, customer_id, currency, period_start, period_end, reason, first_at, last_at
FROM clearing.document_refusal ORDER BY first_at, supplier_id, customer_id, currency, period_start;

-- name: overlapping^
-- A document of the same two parties that covers a part of these days in another way: it would be supplied twice.
SELECT series, number, period_start, period_end FROM clearing.document
WHERE supplier_id = :supplier_id AND customer_id = :customer_id AND currency = :currency
  AND period_start <= :period_end AND period_end >= :period_start
  AND NOT (period_start = :period_start AND period_end = :period_end AND (subject = '') = (:subject::text = ''))
ORDER BY period_start LIMIT 1;

-- name: issued^
SELECT series, number FROM clearing.document
WHERE supplier_id = :supplier_id AND customer_id = :customer_id AND type_code = :type_code AND currency = :currency
  AND period_start = :period_start AND period_end = :period_end AND series = :series AND subject = :subject;

-- name: next_number$
-- Held until the transaction ends: a document that is not stored takes no number.
INSERT INTO clearing.document_series AS known (issuer_id, series, next_number) VALUES (:issuer_id, :series, 2)
ON CONFLICT (issuer_id, series) DO UPDATE SET next_number = known.next_number + 1
RETURNING next_number - 1;

-- name: insert_document!
INSERT INTO clearing.document (issuer_id, series, number, type_code, supplier_id, customer_id, period_start, period_end,
    currency, net_minor, vat_minor, gross_minor, subject, content, content_sha256, issued_at)
VALUES (:issuer_id, :series, :number, :type_code, :supplier_id, :customer_id, :period_start, :period_end,
    :currency, :net_minor, :vat_minor, :gross_minor, :subject, (:content)::text::jsonb, :content_sha256, :now);

-- name: documents
SELECT series, number, type_code, supplier_id, customer_id, period_start, period_end, currency, net_minor, vat_minor,
       gross_minor, issued_at
FROM clearing.document
WHERE period_start >= :period_start AND period_end <= :period_end ORDER BY issuer_id, series, number;

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
       gross_minor, issued_at, content::text AS content, content_sha256
FROM clearing.document
WHERE series = :series AND number = :number
  AND (:party_id::text IS NULL OR supplier_id = :party_id OR customer_id = :party_id);

-- name: contents
-- Documents whose content is hashed, to be proved.
SELECT series, number, content::text AS content, content_sha256
FROM clearing.document WHERE content_sha256 IS NOT NULL ORDER BY issuer_id, series, number;

-- name: file^
SELECT content, sha256 FROM clearing.document_file WHERE name = :name AND format = :format AND language = :language;

-- name: keep_file!
INSERT INTO clearing.document_file (name, format, language, sha256, content, stored_at)
VALUES (:name, :format, :language, :sha256, :content, :now) ON CONFLICT DO NOTHING;
