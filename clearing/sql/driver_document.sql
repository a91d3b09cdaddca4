-- Documents for drivers: batches not documented yet, their supplies, numbers, what was issued.

-- name: chains
-- The chains that have batches behind their cursor; the journal's chains are found by skipping along the index.
WITH RECURSIVE known (chain) AS (
    SELECT min(chain) FROM clearing.batch
    UNION ALL
    SELECT (SELECT min(b.chain) FROM clearing.batch AS b WHERE b.chain > known.chain) FROM known WHERE known.chain IS NOT NULL
)
SELECT known.chain FROM known LEFT JOIN clearing.document_cursor AS c ON c.chain = known.chain
WHERE known.chain IS NOT NULL AND EXISTS (
    SELECT 1 FROM clearing.batch AS b WHERE b.chain = known.chain AND b.position = coalesce(c.position, 0) + 1)
ORDER BY known.chain;

-- name: open_cursor!
INSERT INTO clearing.document_cursor (chain, position) VALUES (:chain, 0) ON CONFLICT DO NOTHING;

-- name: next_batches
-- The batches behind a chain's cursor, in order; one row without a batch where there is none, no row without a cursor.
-- Skipped while another worker documents this chain.
SELECT c.position AS documented, b.id, b.position, b.entry_count FROM clearing.document_cursor AS c
LEFT JOIN clearing.batch AS b
    ON b.chain = :chain AND b.position > c.position AND b.position <= c.position + :limit::integer
WHERE c.chain = :chain ORDER BY b.position FOR UPDATE OF c SKIP LOCKED;

-- name: move_cursor!
UPDATE clearing.document_cursor SET position = :position WHERE chain = :chain;

-- name: supplies
-- Entries of batches that are about a supply to a driver.
SELECT batch_id, shard, subject_id AS session_id, kind, reference, currency, legs, tax_jurisdiction, sale_at, energy_kwh, cpo_id
FROM clearing.entry
WHERE batch_id = ANY (:batch_ids::uuid[]) AND legs LIKE '%"leg":"to_driver"%'
ORDER BY sale_at, shard, subject_id, kind, reference;

-- name: take_numbers$
-- The first of `count` numbers of a series, locked until the transaction ends: a document that is not stored uses no number.
INSERT INTO clearing.document_series AS known (issuer_id, series, next_number) VALUES (:issuer_id, :series, 1 + :count::bigint)
ON CONFLICT (issuer_id, series) DO UPDATE SET next_number = known.next_number + :count::bigint
RETURNING next_number - :count::bigint;

-- name: insert_sellers!
INSERT INTO clearing.document_seller (id, content)
SELECT id, content FROM unnest(:ids::text[], :contents::text[]) AS seller (id, content) ORDER BY id
ON CONFLICT DO NOTHING;

-- name: of_sessions
SELECT d.shard, d.session_id, d.kind, d.reference, d.supplier_id, d.series, d.number, d.currency, d.net_minor, d.vat_minor,
       d.ruling_id, d.place, d.sale_day, d.energy_kwh, d.preceding, d.no_invoice_because, d.issued_on, d.issued_at, d.details,
       s.content AS seller
FROM unnest(:shards::smallint[], :sessions::uuid[]) AS asked (shard, session_id)
JOIN clearing.driver_document AS d ON d.shard = asked.shard AND d.session_id = asked.session_id  -- shards of d
JOIN clearing.document_seller AS s ON s.id = d.seller_id
ORDER BY d.issued_at, d.kind <> 'capture', d.series, d.number;

-- name: add_pending!
INSERT INTO clearing.pending_driver_document AS known (shard, session_id, kind, reference, supplier_id, reason, first_at, last_at)
SELECT shard, session_id, kind, reference, supplier_id, reason, :now::timestamptz, :now::timestamptz
FROM unnest(:shards::smallint[], :sessions::uuid[], :kinds::text[], :references::text[], :suppliers::text[], :reasons::text[])
    AS fresh (shard, session_id, kind, reference, supplier_id, reason)
ORDER BY shard, session_id, kind, reference
ON CONFLICT (shard, session_id, kind, reference) DO UPDATE SET reason = excluded.reason, last_at = excluded.last_at;

-- name: pending_to_retry
-- Suppliers whose data were changed since a document of theirs was last tried, or that were not tried for long.
SELECT DISTINCT p.supplier_id FROM clearing.pending_driver_document AS p
JOIN clearing.party AS s ON s.id = p.supplier_id
WHERE s.updated_at >= p.last_at OR p.last_at < :tried_before::timestamptz ORDER BY p.supplier_id;

-- name: list_pending
-- What drivers are not issued yet, the oldest first, behind the last one that was read.
SELECT p.session_id, p.kind, p.reference, p.supplier_id, p.reason, p.first_at, p.last_at
FROM clearing.pending_driver_document AS p
WHERE :after_at::timestamptz IS NULL
   OR (p.first_at, p.session_id, p.kind, p.reference)
      > (:after_at::timestamptz, :after_session::uuid, :after_kind::text, :after_reference::text)
ORDER BY p.first_at, p.session_id, p.kind, p.reference LIMIT :limit;

-- name: lock_supplier$
-- One worker at a time tries the pending documents of a supplier, until its transaction ends; false: another does.
SELECT pg_try_advisory_xact_lock(hashtextextended('clearing.pending_driver_document ' || :supplier_id::text, 0));

-- name: pending_of_supplier
-- Captures before their corrections; those tried longest ago first.
SELECT e.shard, e.subject_id AS session_id, e.kind, e.reference, e.currency, e.legs, e.tax_jurisdiction, e.sale_at, e.energy_kwh,
       e.cpo_id
FROM clearing.pending_driver_document AS p
JOIN clearing.entry AS e ON e.shard = p.shard AND e.subject_id = p.session_id AND e.kind = p.kind AND e.reference = p.reference
WHERE p.supplier_id = :supplier_id
ORDER BY p.last_at, e.kind <> 'capture', e.sale_at, e.shard, e.subject_id, e.kind, e.reference
LIMIT :limit;

-- name: delete_pending!
DELETE FROM clearing.pending_driver_document AS p
USING unnest(:shards::smallint[], :sessions::uuid[], :kinds::text[], :references::text[])
    AS done (shard, session_id, kind, reference)
WHERE p.shard = done.shard AND p.session_id = done.session_id AND p.kind = done.kind AND p.reference = done.reference  -- shards of p
;

-- name: pending_of_sessions
SELECT p.session_id, min(p.reason) AS reason
FROM unnest(:shards::smallint[], :sessions::uuid[]) AS asked (shard, session_id)
JOIN clearing.pending_driver_document AS p ON p.shard = asked.shard AND p.session_id = asked.session_id  -- shards of p
GROUP BY p.session_id;
