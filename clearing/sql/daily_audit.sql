-- The daily audit: pages of batches, shards, and what is open, each read by its key. Nothing here reads the whole ledger
-- but `checkpoints`, which has a row a run.

-- name: checkpoints
SELECT sequence, sealed_at, shares, content_sha256, previous_hash, hash FROM clearing.audit_checkpoint ORDER BY sequence;

-- name: latest_checkpoint^
SELECT sequence, sealed_at, shares, content_sha256, previous_hash, hash FROM clearing.audit_checkpoint
ORDER BY sequence DESC LIMIT 1;

-- name: checkpoint_content$
SELECT content FROM clearing.audit_checkpoint WHERE sequence = :sequence;

-- name: insert_checkpoint!
INSERT INTO clearing.audit_checkpoint (sequence, sealed_at, shares, content, content_sha256, previous_hash, hash)
VALUES (:sequence, :sealed_at, :shares, :content, :content_sha256, :previous_hash, :hash);

-- name: last_batches
-- The last batch of every chain, each found by its index.
WITH RECURSIVE known (chain) AS (
    SELECT min(chain) FROM clearing.batch
    UNION ALL
    SELECT (SELECT min(b.chain) FROM clearing.batch AS b WHERE b.chain > known.chain) FROM known WHERE known.chain IS NOT NULL
)
SELECT head.chain, head.position, head.hash, head.booked_at FROM known
CROSS JOIN LATERAL (
    SELECT b.chain, b.position, b.hash, b.booked_at FROM clearing.batch AS b
    WHERE b.chain = known.chain ORDER BY b.position DESC LIMIT 1
) AS head
ORDER BY head.chain;

-- name: batches_at
-- Batches at these positions, each beside the hash of the one before it.
SELECT b.id, b.chain, b.position, b.booked_at, b.entry_count, b.transfer_count, b.blinding_key, b.merkle_root,
       b.previous_hash, b.hash, p.hash AS hash_before
FROM unnest(:positions::bigint[]) AS asked (position)
JOIN clearing.batch AS b ON b.chain = :chain AND b.position = asked.position
LEFT JOIN clearing.batch AS p ON p.chain = b.chain AND p.position = b.position - 1
ORDER BY b.position;

-- name: entries_of
SELECT batch_id, shard, subject_id, kind, reference, currency, gross_minor, coalesce(tariff_sha256, '') AS tariff_sha256,
       coalesce(cdr_id, '') AS cdr_id, legs, hash
FROM clearing.entry WHERE batch_id = ANY (:batches::uuid[]) ORDER BY batch_id, shard, subject_id, kind, reference;

-- name: transfers_of
SELECT t.subject_id, t.kind, t.reference, t.ordinal, t.debit_account, t.credit_account, t.amount_minor, t.currency
FROM clearing.entry AS e JOIN clearing.transfer AS t USING (shard, subject_id, kind, reference)
WHERE e.batch_id = ANY (:batches::uuid[]) ORDER BY t.shard, t.subject_id, t.kind, t.reference, t.ordinal;

-- name: payables_of
SELECT p.subject_id, p.kind, p.reference, p.party_id, p.amount_minor, p.currency
FROM clearing.entry AS e JOIN clearing.payable AS p USING (shard, subject_id, kind, reference)
WHERE e.batch_id = ANY (:batches::uuid[]);

-- name: deltas_of
SELECT d.batch_id, d.account, d.currency, d.debit_minor, d.credit_minor
FROM unnest(:batches::uuid[], :accounts::text[], :currencies::text[]) AS asked (batch_id, account, currency)
LEFT JOIN clearing.account_delta AS d USING (account, currency, batch_id)
WHERE d.batch_id IS NOT NULL;

-- name: fx_transfers_of
-- What each session moved through a position, beside its lock.
SELECT t.subject_id, l.base, l.quote, l.rate, l.source, l.rate_date, l.markup_bps, t.kind, t.reference,
       t.debit_account, t.credit_account, t.amount_minor, t.currency
FROM clearing.entry AS e JOIN clearing.transfer AS t USING (shard, subject_id, kind, reference)
JOIN clearing.fx_lock AS l ON l.shard = t.shard AND l.session_id = t.subject_id
    AND 'fx:' || l.base || '-' || l.quote || ':position' IN (t.debit_account, t.credit_account)
WHERE e.batch_id = ANY (:batches::uuid[]) ORDER BY t.subject_id, t.kind, t.reference, t.ordinal;

-- name: documents_of
-- What a driver's document says is what the journal holds; these batches are documented but for what is pending.
SELECT e.subject_id::text AS subject,
       format('%s %s: journaled %s net and %s VAT, documented %s and %s', e.kind, e.reference, leg ->> 'net', leg ->> 'vat',
              coalesce(d.net_minor::text, 'nothing'), coalesce(d.vat_minor::text, 'nothing')) AS detail
FROM clearing.entry AS e
CROSS JOIN LATERAL jsonb_array_elements(e.legs::jsonb) AS leg
LEFT JOIN clearing.driver_document AS d
    ON (d.shard, d.session_id, d.kind, d.reference) = (e.shard, e.subject_id, e.kind, e.reference)
WHERE e.batch_id = ANY (:batches::uuid[]) AND e.legs <> '[]'
  AND leg ->> 'leg' = 'to_driver' AND (leg ->> 'net')::bigint + (leg ->> 'vat')::bigint <> 0
  AND NOT EXISTS (SELECT 1 FROM clearing.pending_driver_document AS p
                  WHERE (p.shard, p.session_id, p.kind, p.reference) = (e.shard, e.subject_id, e.kind, e.reference))
  AND (d.net_minor, d.vat_minor, d.ruling_id) IS DISTINCT FROM ((leg ->> 'net')::bigint, (leg ->> 'vat')::bigint, leg ->> 'ruling')
LIMIT 100;

-- name: document_cursors
SELECT chain, position FROM clearing.document_cursor;

-- name: pending_positions
-- The batches of entries whose driver's document is pending.
SELECT DISTINCT b.chain, b.position
FROM clearing.pending_driver_document AS p
JOIN clearing.entry AS e ON (e.shard, e.subject_id, e.kind, e.reference) = (p.shard, p.session_id, p.kind, p.reference)
JOIN clearing.batch AS b ON b.id = e.batch_id;

-- name: orphan_transfers
SELECT t.subject_id::text || ' ' || t.kind AS subject, 'a transfer without its entry' AS detail
FROM clearing.transfer AS t
LEFT JOIN clearing.entry AS e ON e.shard = :shard AND (e.subject_id, e.kind, e.reference) = (t.subject_id, t.kind, t.reference)
WHERE t.shard = :shard AND e.subject_id IS NULL LIMIT 100;

-- name: orphan_payables
SELECT p.subject_id::text || ' ' || p.kind || ' ' || p.party_id AS subject, 'a payable without its entry' AS detail
FROM clearing.payable AS p
LEFT JOIN clearing.entry AS e ON e.shard = :shard AND (e.subject_id, e.kind, e.reference) = (p.subject_id, p.kind, p.reference)
WHERE p.shard = :shard AND e.subject_id IS NULL LIMIT 100;

-- name: orphan_entries
SELECT e.subject_id::text || ' ' || e.kind AS subject, 'its batch ' || e.batch_id || ' is missing' AS detail
FROM clearing.entry AS e LEFT JOIN clearing.batch AS b ON b.id = e.batch_id
WHERE e.shard = :shard AND b.id IS NULL LIMIT 100;

-- name: captured_of
-- What the journal has of these sessions: captured, less what was given back, by session and currency.
SELECT e.subject_id, e.currency,
       sum(CASE WHEN e.kind IN ('capture', 'refund_failed', 'dispute_won') THEN e.gross_minor ELSE -e.gross_minor END)::bigint AS minor
FROM unnest(:shards::smallint[], :sessions::uuid[]) AS asked (shard, id)
JOIN clearing.entry AS e ON e.shard = asked.shard AND e.subject_id = asked.id  -- shards of e
WHERE e.kind IN ('capture', 'refund', 'refund_failed', 'dispute', 'dispute_won')
GROUP BY e.subject_id, e.currency;

-- name: unpaid_payables
-- What is open, and what is tied to a disbursement that is not paid, by party: read by the indexes of both.
WITH unpaid AS (
    SELECT party_id, currency, amount_minor FROM clearing.payable WHERE state = 'open'
    UNION ALL
    SELECT p.party_id, p.currency, p.amount_minor
    FROM clearing.disbursement AS d JOIN clearing.payable AS p ON p.disbursement_id = d.id
    WHERE d.state IN ('planned', 'requested', 'outcome_unknown')
)
SELECT party_id, currency, sum(amount_minor)::bigint AS minor FROM unpaid GROUP BY party_id, currency;

-- name: open_suspense
SELECT currency, sum(remaining_minor)::bigint AS minor FROM clearing.suspense_item WHERE remaining_minor <> 0 GROUP BY currency;

-- name: disbursement_days^
SELECT min(period) AS first, max(period) AS last FROM clearing.disbursement;

-- name: disbursements_to_prove
-- Those that are under way, those of these days, and those named.
SELECT id FROM clearing.disbursement WHERE state IN ('planned', 'requested', 'outcome_unknown')
UNION SELECT id FROM clearing.disbursement WHERE period = ANY (:days::date[])
UNION SELECT id FROM clearing.disbursement WHERE id = ANY (:ids::uuid[]);

-- name: disbursements_unequal
-- A disbursement is the sum of the payables that point to it, all in its own party and currency.
SELECT d.id::text AS subject, 'pays ' || d.amount_minor || ', its payables sum to ' || coalesce(p.minor::text, 'nothing') AS detail
FROM clearing.disbursement AS d
LEFT JOIN (
    SELECT disbursement_id, sum(amount_minor) AS minor, min(party_id) AS first_party, max(party_id) AS last_party,
           min(currency) AS first_currency, max(currency) AS last_currency
    FROM clearing.payable WHERE disbursement_id = ANY (:ids::uuid[]) GROUP BY disbursement_id
) AS p ON p.disbursement_id = d.id
WHERE d.id = ANY (:ids::uuid[]) AND d.state NOT IN ('cancelled', 'failed', 'returned') AND (p.minor IS DISTINCT FROM d.amount_minor
    OR (p.first_party, p.last_party, p.first_currency, p.last_currency) <> (d.party_id, d.party_id, d.currency, d.currency))
LIMIT 100;

-- name: disbursements_unposted
-- Paid, in the journal with that amount and not returned there; or else not in the journal, or returned there too.
SELECT d.id::text AS subject, format('is %s, journaled %s and returned %s', d.state, coalesce(e.gross_minor::text, 'nothing'),
                                     coalesce(r.gross_minor::text, 'nothing')) AS detail
FROM clearing.disbursement AS d
CROSS JOIN LATERAL (SELECT (get_byte(uuid_send(d.id), 15) & 63)::smallint AS shard) AS own
LEFT JOIN clearing.entry AS e ON (e.shard, e.subject_id, e.kind, e.reference) = (own.shard, d.id, 'disbursement', '')
LEFT JOIN clearing.entry AS r ON (r.shard, r.subject_id, r.kind, r.reference) = (own.shard, d.id, 'disbursement_return', '')
WHERE d.id = ANY (:ids::uuid[]) AND CASE d.state
    WHEN 'paid' THEN (e.gross_minor, e.currency) IS DISTINCT FROM (d.amount_minor, d.currency) OR r.subject_id IS NOT NULL
    WHEN 'returned' THEN r.gross_minor IS DISTINCT FROM e.gross_minor
    ELSE e.subject_id IS NOT NULL END
LIMIT 100;

-- name: returned_unequal
-- What is stored of a returned disbursement is that disbursement.
SELECT d.id::text AS subject, 'returned ' || d.amount_minor || ', what it had netted sums to ' || r.minor AS detail
FROM clearing.disbursement AS d
JOIN (SELECT disbursement_id, sum(amount_minor) AS minor FROM clearing.returned_payable
      WHERE disbursement_id = ANY (:ids::uuid[]) GROUP BY disbursement_id) AS r ON r.disbursement_id = d.id
WHERE d.state <> 'returned' OR r.minor <> d.amount_minor LIMIT 100;

-- name: statements_unequal
-- The statements of a party and currency follow each other: each opens with what the one before closed with.
SELECT s.disbursement_id::text AS subject,
       format('statement %s opens with %s, the one before closed with %s', s.number, s.opening_minor,
              coalesce(p.closing_minor::text, 'nothing')) AS detail
FROM clearing.settlement_statement AS s
LEFT JOIN clearing.settlement_statement AS p ON (p.party_id, p.currency, p.number) = (s.party_id, s.currency, s.number - 1)
WHERE s.disbursement_id = ANY (:ids::uuid[]) AND (s.opening_minor <> coalesce(p.closing_minor, 0) OR (s.number > 1 AND p.number IS NULL))
LIMIT 100;

-- name: series
SELECT issuer_id, series, next_number FROM clearing.document_series;

-- name: driver_documents_numbered^
-- How many of these numbers of a series are stored: each shard is asked by its own index.
SELECT count(d.number) AS stored, count(DISTINCT d.number) AS numbers
FROM generate_series(0, 63) AS known (shard)
JOIN clearing.driver_document AS d ON d.shard = known.shard::smallint AND d.series = :series AND d.number BETWEEN :first AND :last;

-- name: hashed_documents
-- Contents of documents with hashes: all from a number on, and of the lower ones a share.
SELECT d.series, d.number, d.content::text AS content, d.content_sha256
FROM unnest(:issuers::text[], :series::text[], :numbers::bigint[]) AS known (issuer_id, series, number)
JOIN clearing.document AS d ON d.issuer_id = known.issuer_id AND d.series = known.series
    AND (d.number >= known.number OR d.number % :shares::bigint = :share::bigint)
WHERE d.content_sha256 IS NOT NULL;

-- name: snapshot_days
SELECT DISTINCT as_of FROM clearing.account_snapshot ORDER BY as_of;

-- name: snapshot_unequal
-- A snapshot is the one before it and every delta booked between the two.
WITH computed AS (
    SELECT account, currency, sum(debit_minor) AS debit_minor, sum(credit_minor) AS credit_minor FROM (
        SELECT account, currency, debit_minor, credit_minor FROM clearing.account_snapshot WHERE as_of = :before::timestamptz
        UNION ALL
        SELECT account, currency, debit_minor, credit_minor FROM clearing.account_delta
        WHERE booked_at >= coalesce(:before::timestamptz, '-infinity'::timestamptz) AND booked_at < :at::timestamptz
    ) AS moved GROUP BY account, currency
)
SELECT c.account || ' ' || c.currency || ' at ' || :at::timestamptz::text AS subject,
       'snapshot ' || coalesce(s.debit_minor, 0) || '/' || coalesce(s.credit_minor, 0)
       || ', deltas ' || c.debit_minor || '/' || c.credit_minor AS detail
FROM computed AS c LEFT JOIN clearing.account_snapshot AS s
    ON s.account = c.account AND s.currency = c.currency AND s.as_of = :at::timestamptz
WHERE s.account IS NULL OR (s.debit_minor, s.credit_minor) <> (c.debit_minor, c.credit_minor) LIMIT 100;
