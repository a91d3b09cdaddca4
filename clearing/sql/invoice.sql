-- Issuing documents between parties: what was supplied in a period, series without gaps, how far parties are documented.

-- name: lock_issuing!
-- One issuer at a time, until its transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.documents', 0));

-- name: allow_minutes!
-- A whole month is summed: more than a request of the hot path may take.
SET LOCAL statement_timeout = '10min';

-- name: wait_for_writers!
-- Granted once every entry that is being posted is committed; what is posted later is booked later.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.books', 0));

-- name: first_booked$
SELECT min(booked_at) FROM clearing.batch;

-- name: supplied
-- Sums by supplier, customer, currency, session where it has a document of its own, supply and ruling; corrections apart
-- from captures, as they become credit notes; what a business bought of drivers' sessions by session, as its lines. A pair's documents are issued by the cadence of the one that is not the
-- platform, of two others by the supplier's; those to a business that buys sessions by its own.
SELECT one.supplier_id, one.customer_id, one.currency, one.subject, one.leg, one.ruling, one.correction, one.session,
       sum(one.net)::bigint AS net_minor, sum(one.vat)::bigint AS vat_minor, count(*) AS sessions,
       min(one.sale_at) AS first_sale_at, sum(one.energy_kwh) AS energy_kwh
FROM (
    SELECT leg ->> 'supplier' AS supplier_id, leg ->> 'customer' AS customer_id, e.currency, leg ->> 'leg' AS leg,
           leg ->> 'ruling' AS ruling, e.kind <> 'capture' AND (e.kind <> 'sale_reissued' OR (leg ->> 'net')::bigint < 0) AS correction, e.sale_at, (leg ->> 'net')::bigint AS net,
           (leg ->> 'vat')::bigint AS vat,
           -- Of a correction what it corrects: the part of the energy that it is of the price.
           -- Another buyer changes what an operator is paid, not what it supplied.
           CASE WHEN leg ->> 'leg' = 'to_driver' OR (leg ->> 'leg' = 'to_dealer' AND e.kind NOT LIKE 'sale%') THEN sign((leg ->> 'net')::numeric) * e.energy_kwh
               * e.gross_minor / coalesce(origin.gross_minor, e.gross_minor) END AS energy_kwh,
           CASE WHEN by_whom.document_cadence = 'session' THEN e.subject_id::text ELSE '' END AS subject,
           CASE WHEN leg ->> 'leg' = 'to_driver' THEN e.subject_id::text ELSE '' END AS session
    FROM clearing.batch AS b
    JOIN clearing.entry AS e ON e.batch_id = b.id
    CROSS JOIN LATERAL jsonb_array_elements(e.legs::jsonb) AS leg
    LEFT JOIN clearing.entry AS origin ON e.kind <> 'capture' AND origin.shard = e.shard
        AND origin.subject_id = e.subject_id AND origin.kind = 'capture' AND origin.reference = ''
    JOIN clearing.party AS by_whom
        ON by_whom.id = CASE WHEN leg ->> 'supplier' = 'platform' OR leg ->> 'leg' = 'to_driver'
                             THEN leg ->> 'customer' ELSE leg ->> 'supplier' END
    WHERE b.booked_at >= :since AND b.booked_at < :until AND e.legs <> '[]'
      -- A driver's supply has a document of its own, unless a business buys it that is invoiced by period.
      AND (leg ->> 'leg' <> 'to_driver' OR by_whom.document_cadence <> 'session')
      AND by_whom.id = ANY (:parties::text[])
) AS one
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ORDER BY one.correction, one.supplier_id, one.customer_id, one.currency, one.subject, one.leg, one.ruling, first_sale_at,
    one.session;

-- name: corrected
-- The documents that a period's corrections correct: that of the two parties which covers the capture.
SELECT DISTINCT leg ->> 'supplier' AS supplier_id, leg ->> 'customer' AS customer_id, c.currency, c.subject_id::text AS session,
       d.subject, d.series, d.number, (d.issued_at AT TIME ZONE :zone)::date AS issued_on
FROM clearing.batch AS b
JOIN clearing.entry AS c ON c.batch_id = b.id
CROSS JOIN LATERAL jsonb_array_elements(c.legs::jsonb) AS leg
JOIN clearing.entry AS origin ON origin.shard = c.shard AND origin.subject_id = c.subject_id AND origin.kind = 'capture'
JOIN clearing.document AS d ON d.supplier_id = leg ->> 'supplier' AND d.customer_id = leg ->> 'customer'
    AND d.currency = c.currency AND d.type_code NOT IN (261, 381) AND d.subject IN ('', c.subject_id::text)
    AND (origin.booked_at AT TIME ZONE :zone)::date BETWEEN d.period_start AND d.period_end
WHERE b.booked_at >= :since AND b.booked_at < :until AND c.kind <> 'capture' AND c.legs <> '[]'
  AND (leg ->> 'leg' <> 'to_driver' OR leg ->> 'customer' <> 'driver')
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

-- name: put_exception!
INSERT INTO clearing.document_exception AS known (supplier_id, customer_id, currency, period_start, period_end, party_id, reason,
    first_at, last_at)
VALUES (:supplier_id, :customer_id, :currency, :period_start, :period_end, :party_id, :reason, :now, :now)
ON CONFLICT (supplier_id, customer_id, currency, period_start, period_end)
DO UPDATE SET reason = excluded.reason, last_at = excluded.last_at;

-- name: resolve_exceptions!
-- Of a period that is issued again from the start: what still may not be is put back.
DELETE FROM clearing.document_exception
WHERE party_id = ANY (:parties::text[]) AND period_start = :period_start AND period_end = :period_end
  AND NOT (supplier_id, customer_id, currency) IN (
      SELECT * FROM unnest(:suppliers::text[], :customers::text[], :currencies::text[]));

-- name: exception_periods
-- The periods with something to try again, and by whose cadence they were issued.
SELECT period_start, period_end, array_agg(DISTINCT party_id ORDER BY party_id) AS parties
FROM clearing.document_exception GROUP BY period_start, period_end ORDER BY period_start, period_end;

-- name: changed_exception_periods
-- Those with an exception one of whose parties was changed since the last attempt.
SELECT e.period_start, e.period_end, array_agg(DISTINCT e.party_id ORDER BY e.party_id) AS parties
FROM clearing.document_exception AS e
WHERE EXISTS (SELECT 1 FROM clearing.party AS p
              WHERE p.id IN (e.supplier_id, e.customer_id) AND p.updated_at >= e.last_at)
GROUP BY e.period_start, e.period_end ORDER BY e.period_start, e.period_end;

-- name: exceptions
SELECT supplier_id, customer_id, currency, period_start, period_end, reason, first_at, last_at
FROM clearing.document_exception ORDER BY first_at, supplier_id, customer_id, currency, period_start;

-- name: overlapping^
-- A document of the same two parties that covers a part of these days in another way: it would be supplied twice.
SELECT series, number, period_start, period_end FROM clearing.document
WHERE supplier_id = :supplier_id AND customer_id = :customer_id AND currency = :currency
  AND period_start <= :period_end AND period_end >= :period_start
  AND NOT (period_start = :period_start AND period_end = :period_end AND (subject = '') = (:subject::text = ''))
ORDER BY period_start LIMIT 1;

-- name: issued^
SELECT series, number FROM clearing.document
WHERE supplier_id = :supplier_id AND customer_id = :customer_id AND currency = :currency
  AND period_start = :period_start AND period_end = :period_end AND series = :series AND subject = :subject;

-- name: next_number$
-- Locked until the transaction ends: a document that is not stored uses no number.
INSERT INTO clearing.document_series AS known (issuer_id, series, next_number) VALUES (:issuer_id, :series, 2)
ON CONFLICT (issuer_id, series) DO UPDATE SET next_number = known.next_number + 1
RETURNING next_number - 1;

-- name: insert_document!
INSERT INTO clearing.document (issuer_id, series, number, type_code, supplier_id, customer_id, period_start, period_end,
    currency, net_minor, vat_minor, gross_minor, subject, content, content_sha256, issued_at)
VALUES (:issuer_id, :series, :number, :type_code, :supplier_id, :customer_id, :period_start, :period_end,
    :currency, :net_minor, :vat_minor, :gross_minor, :subject, (:content)::text::jsonb, :content_sha256, :now);
