-- Settlement statements: the facts of each, the cut of the journal that it ends at, its lines in the journal's order.

-- name: disbursement^
SELECT d.id, d.party_id, d.currency, d.period, d.amount_minor, d.destination, d.end_to_end_id, d.state, d.rail,
       d.rail_reference, d.planned_at, d.requested_at, d.finished_at, d.returned_at, d.failure, p.kind AS party_kind, p.name,
       p.country, p.details::text AS details, i.name AS issuer_name, i.country AS issuer_country,
       i.details::text AS issuer_details, p.time_zone, f.message_id, e.batch_id, b.booked_at, b.chain, b.position, b.blinding_key,
       b.previous_hash, b.hash
FROM clearing.disbursement AS d
JOIN clearing.party AS p ON p.id = d.party_id
JOIN clearing.party AS i ON i.kind = 'platform'
LEFT JOIN clearing.payment_file_item AS f ON f.disbursement_id = d.id
LEFT JOIN clearing.entry AS e ON e.shard = :shard AND e.subject_id = d.id AND e.kind = 'disbursement'
LEFT JOIN clearing.batch AS b ON b.id = e.batch_id
WHERE d.id = :id AND (:party_id::text IS NULL OR d.party_id = :party_id);

-- name: lock_statements!
-- One writer of statements per party and currency, until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.settlement_statement ' || :party_id::text || ' ' || :currency::text, 0));

-- name: without_statement
-- Paid disbursements of the party without a statement, in the order of booking.
WITH unstated AS MATERIALIZED (
    SELECT d.id, d.amount_minor FROM clearing.disbursement AS d
    WHERE d.party_id = :party_id AND d.currency = :currency AND d.state IN ('paid', 'returned')
      AND NOT EXISTS (SELECT 1 FROM clearing.settlement_statement AS s WHERE s.disbursement_id = d.id)
), booked AS MATERIALIZED (
    SELECT e.subject_id, e.booked_at, e.batch_id FROM clearing.entry AS e
    WHERE e.kind = 'disbursement' AND (e.shard, e.subject_id) IN (
        SELECT (get_byte(uuid_send(d.id), 15) & 63)::smallint, d.id FROM unstated AS d)
)
SELECT d.id, d.amount_minor, e.booked_at, b.chain, b.position
FROM unstated AS d JOIN booked AS e ON e.subject_id = d.id JOIN clearing.batch AS b ON b.id = e.batch_id
ORDER BY e.booked_at, b.chain, b.position, d.id;

-- name: stored^
SELECT disbursement_id, party_id, currency, number, booked_at, chains, positions, balance_minor, opening_minor, closing_minor,
       head, line_count, sha256, issued_at
FROM clearing.settlement_statement WHERE disbursement_id = :id;

-- name: of_number^
SELECT disbursement_id, party_id, currency, number, booked_at, chains, positions, balance_minor, opening_minor, closing_minor,
       head, line_count, sha256, issued_at
FROM clearing.settlement_statement WHERE party_id = :party_id AND currency = :currency AND number = :number;

-- name: last_number$
SELECT coalesce(max(number), 0) FROM clearing.settlement_statement WHERE party_id = :party_id AND currency = :currency;

-- name: cut
-- How far each chain had come at an instant: chains are few, and each is looked at from its end.
WITH RECURSIVE known AS (
    (SELECT chain FROM clearing.batch ORDER BY chain LIMIT 1)
    UNION ALL
    SELECT (SELECT b.chain FROM clearing.batch AS b WHERE b.chain > known.chain ORDER BY b.chain LIMIT 1)
    FROM known WHERE known.chain IS NOT NULL
)
SELECT known.chain, coalesce((SELECT b.position FROM clearing.batch AS b WHERE b.chain = known.chain AND b.booked_at <= :at
                              ORDER BY b.position DESC LIMIT 1), 0) AS position
FROM known WHERE known.chain IS NOT NULL ORDER BY known.chain;

-- name: moved$
-- What moved on the account between two cuts.
SELECT coalesce(sum(d.credit_minor - d.debit_minor), 0)::bigint
FROM clearing.account_delta AS d
JOIN clearing.batch AS b ON b.id = d.batch_id
JOIN unnest(:chains::smallint[], :after::bigint[], :until::bigint[]) AS cut (chain, after_position, until_position)
    ON cut.chain = b.chain AND b.position > cut.after_position AND b.position <= cut.until_position
WHERE d.account = :account AND d.currency = :currency AND d.booked_at >= :since;

-- name: insert!
INSERT INTO clearing.settlement_statement (disbursement_id, party_id, currency, number, booked_at, chains, positions, balance_minor,
    opening_minor, closing_minor, head, issued_at)
VALUES (:id, :party_id, :currency, :number, :booked_at, :chains, :positions, :balance_minor, :opening_minor, :closing_minor,
    :head, :now);

-- name: seal!
UPDATE clearing.settlement_statement SET line_count = :line_count, sha256 = :sha256
WHERE disbursement_id = :id AND sha256 IS NULL;

-- name: holds
-- Holds that were in force between one disbursement and the planning of the next.
SELECT reason, since, until, lifted_at FROM clearing.payout_hold
WHERE party_id = :party_id AND (since < :last_day OR (since = :last_day AND lifted_at <= :planned_at))
  AND (until IS NULL OR until > :first_day) AND (lifted_at IS NULL OR lifted_at > :after)
ORDER BY since, id LIMIT 100;

-- name: documents
-- Documents that the party issued or received between two instants.
SELECT series, number, type_code, currency, gross_minor, issued_at, count(*) OVER () AS total FROM clearing.document
WHERE (supplier_id = :party_id OR customer_id = :party_id) AND issued_at > :after AND issued_at <= :until
ORDER BY issued_at, series, number LIMIT :limit;

-- name: bank_line^
-- The bank's line of a disbursement, once it is matched.
SELECT source_id, occurred_on, amount_minor, currency FROM clearing.reconciliation_item
WHERE pair = 'book_bank' AND side = 'right' AND reference = :end_to_end_id AND matched_at IS NOT NULL AND amount_minor < 0
ORDER BY occurred_on, source_id LIMIT 1;

-- name: paid_between
-- Disbursements paid from one instant to another, for writing many statements.
SELECT id FROM clearing.disbursement
WHERE state IN ('paid', 'returned') AND finished_at >= :since AND finished_at < :until
  AND (:party_id::text IS NULL OR party_id = :party_id)
ORDER BY finished_at, id;

-- name: lines
-- What a disbursement netted, batch by batch in the journal's order. What was reopened by a returned disbursement since the cut
-- before is marked.
WITH netted AS MATERIALIZED (
    SELECT shard, subject_id, kind, reference, party_id, amount_minor, due_date FROM clearing.payable
    WHERE disbursement_id = :id
    UNION ALL
    SELECT shard, subject_id, kind, reference, party_id, amount_minor, due_date FROM clearing.returned_payable
    WHERE disbursement_id = :id
), booked AS MATERIALIZED (
    SELECT n.shard, n.subject_id, n.kind, n.reference, n.party_id, n.amount_minor, n.due_date, e.currency AS session_currency,
           e.gross_minor, e.sale_at, e.authorization_method, e.tax_jurisdiction, e.cdr_id, e.energy_kwh, e.cpo_id, e.demand_partner_id,
           e.legs, e.flags, e.agreement_id, e.agreement_version, e.batch_id,
           l.base, l.quote, l.rate, l.source, l.rate_date, l.markup_bps
    FROM netted AS n
    JOIN clearing.entry AS e
        ON e.shard = n.shard AND e.subject_id = n.subject_id AND e.kind = n.kind AND e.reference = n.reference
    LEFT JOIN clearing.fx_lock AS l
        ON l.shard = e.shard AND l.session_id = e.subject_id AND l.base = e.currency AND l.quote = :currency
), changed AS MATERIALIZED (
    SELECT c.shard, c.subject_id, c.kind, c.reference, c.party_id,
           json_agg(json_build_array(c.old_date, c.new_date, c.reason) ORDER BY c.changed_at)::text AS moved
    FROM clearing.due_date_change AS c
    WHERE (c.shard, c.subject_id, c.kind, c.reference, c.party_id)
            IN (SELECT n.shard, n.subject_id, n.kind, n.reference, n.party_id FROM netted AS n)
      AND c.changed_at <= :planned_at
    GROUP BY c.shard, c.subject_id, c.kind, c.reference, c.party_id
), returned AS MATERIALIZED (
    SELECT r.shard, r.subject_id, r.kind, r.reference, r.party_id, r.disbursement_id FROM clearing.returned_payable AS r
    WHERE (r.shard, r.subject_id, r.kind, r.reference, r.party_id)
            IN (SELECT n.shard, n.subject_id, n.kind, n.reference, n.party_id FROM netted AS n)
      AND r.disbursement_id <> :id
), back AS MATERIALIZED (
    SELECT e.subject_id, e.batch_id FROM clearing.entry AS e
    WHERE e.kind = 'disbursement_return' AND (e.shard, e.subject_id) IN (
        SELECT (get_byte(uuid_send(r.disbursement_id), 15) & 63)::smallint, r.disbursement_id FROM returned AS r)
), reopened AS MATERIALIZED (
    SELECT r.shard, r.subject_id, r.kind, r.reference, r.party_id FROM returned AS r
    JOIN back AS k ON k.subject_id = r.disbursement_id
    JOIN clearing.batch AS bb ON bb.id = k.batch_id
    JOIN unnest(:chains::smallint[], :after::bigint[], :until::bigint[]) AS cut (chain, after_position, until_position)
        ON cut.chain = bb.chain AND bb.position > cut.after_position AND bb.position <= cut.until_position
)
SELECT e.shard, e.subject_id, e.kind, e.reference, e.amount_minor, e.due_date, b.booked_at, e.session_currency,
       e.gross_minor, e.sale_at, e.authorization_method, e.tax_jurisdiction, e.cdr_id, e.energy_kwh, e.cpo_id, e.demand_partner_id, e.legs, e.flags,
       a.terms ->> 'psp_cost_charged_to' AS psp_cost_charged_to,
       e.base, e.quote, e.rate, e.source, e.rate_date, e.markup_bps,
       e.batch_id, b.chain, b.position, b.blinding_key, b.previous_hash, b.hash, c.moved,
       EXISTS (
           SELECT 1 FROM reopened AS r
           WHERE (r.shard, r.subject_id, r.kind, r.reference, r.party_id)
               = (e.shard, e.subject_id, e.kind, e.reference, e.party_id)) AS came_back
FROM booked AS e
JOIN clearing.batch AS b ON b.id = e.batch_id
LEFT JOIN clearing.agreement AS a ON a.id = e.agreement_id AND a.version = e.agreement_version
LEFT JOIN changed AS c ON (c.shard, c.subject_id, c.kind, c.reference, c.party_id)
    = (e.shard, e.subject_id, e.kind, e.reference, e.party_id)
ORDER BY b.chain, b.position, e.shard, e.subject_id, e.kind, e.reference;

-- name: leaves
-- Every entry of a batch by its hash, in the batch's order; what else a proof needs only of some subjects.
SELECT subject_id, kind, reference, hash,
       CASE WHEN subject_id = ANY(:subjects::uuid[]) THEN coalesce(tariff_sha256, '') END AS tariff_sha256,
       CASE WHEN subject_id = ANY(:subjects::uuid[]) THEN coalesce(cdr_id, '') END AS cdr_id,
       CASE WHEN subject_id = ANY(:subjects::uuid[]) THEN legs END AS legs
FROM clearing.entry WHERE batch_id = :batch_id ORDER BY shard, subject_id, kind, reference;

-- name: transfers
-- All transfers of these entries, in their order.
SELECT t.subject_id, t.kind, t.reference, t.debit_account, t.credit_account, t.amount_minor, t.currency
FROM unnest(:shards::smallint[], :subjects::uuid[], :kinds::text[], :refs::text[]) AS own (shard, subject_id, kind, reference)
JOIN clearing.transfer AS t ON t.shard = own.shard AND t.subject_id = own.subject_id AND t.kind = own.kind
  AND t.reference = own.reference  -- shards of t
ORDER BY t.shard, t.subject_id, t.kind, t.reference, t.ordinal;
