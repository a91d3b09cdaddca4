-- Documents between parties as they were issued, and the files made of them.

-- name: documents_of_period
SELECT series, number, type_code, supplier_id, customer_id, period_start, period_end, currency, net_minor, vat_minor,
       gross_minor, issued_at
FROM clearing.document
WHERE period_start >= :period_start AND period_end <= :period_end ORDER BY issuer_id, series, number;

-- name: list_documents
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

-- name: find_document^
SELECT series, number, type_code, supplier_id, customer_id, period_start, period_end, currency, net_minor, vat_minor,
       gross_minor, issued_at, content::text AS content, content_sha256
FROM clearing.document
WHERE series = :series AND number = :number
  AND (:party_id::text IS NULL OR supplier_id = :party_id OR customer_id = :party_id);

-- name: hashed_contents
-- Documents whose content is hashed, to be proved.
SELECT series, number, content::text AS content, content_sha256
FROM clearing.document WHERE content_sha256 IS NOT NULL ORDER BY issuer_id, series, number;

-- name: find_file^
SELECT content, sha256 FROM clearing.document_file WHERE name = :name AND format = :format AND language = :language;

-- name: insert_file!
INSERT INTO clearing.document_file (name, format, language, sha256, content, stored_at)
VALUES (:name, :format, :language, :sha256, :content, :now) ON CONFLICT DO NOTHING;
