-- The audit, check by check: each query returns only violations, at most 100 of them.

-- name: transit_not_zero
-- Every entry's transit is zero per currency.
SELECT subject_id::text || ' ' || kind || ' ' || currency AS subject,
       'transit is ' || sum(CASE WHEN credit_account = 'session:transit' THEN amount_minor ELSE -amount_minor END) AS detail
FROM clearing.transfer WHERE 'session:transit' IN (debit_account, credit_account)
GROUP BY shard, subject_id, kind, reference, currency
HAVING sum(CASE WHEN credit_account = 'session:transit' THEN amount_minor ELSE -amount_minor END) <> 0
LIMIT 100;

-- name: orphan_transfers
SELECT t.subject_id::text || ' ' || t.kind AS subject, 'a transfer without its entry' AS detail
FROM clearing.transfer AS t LEFT JOIN clearing.entry AS e USING (shard, subject_id, kind, reference)
WHERE e.subject_id IS NULL LIMIT 100;

-- name: orphan_payables
SELECT p.subject_id::text || ' ' || p.kind || ' ' || p.party_id AS subject, 'a payable without its entry' AS detail
FROM clearing.payable AS p LEFT JOIN clearing.entry AS e USING (shard, subject_id, kind, reference)
WHERE e.subject_id IS NULL LIMIT 100;

-- name: captures_unposted
-- Every captured minor unit is posted: the first transfer of a capture is its amount.
SELECT e.subject_id::text AS subject,
       'captured ' || e.gross_minor || ' ' || e.currency || ', posted ' || coalesce(t.amount_minor::text, 'nothing') AS detail
FROM clearing.entry AS e
LEFT JOIN clearing.transfer AS t ON (t.shard, t.subject_id, t.kind, t.reference) = (e.shard, e.subject_id, e.kind, e.reference)
    AND t.ordinal = 0 AND t.currency = e.currency
WHERE e.kind IN ('capture', 'sale_reissued') AND t.amount_minor IS DISTINCT FROM e.gross_minor LIMIT 100;

-- name: supplies_unequal
-- The driver's net and VAT are the capture.
SELECT e.subject_id::text AS subject,
       'driver leg of ' || (leg ->> 'net') || ' + ' || (leg ->> 'vat') || ' is not the capture of ' || e.gross_minor AS detail
FROM clearing.entry AS e CROSS JOIN LATERAL jsonb_array_elements(e.legs::jsonb) AS leg
WHERE e.kind IN ('capture', 'sale_reissued') AND leg ->> 'leg' = 'to_driver'
  AND (leg ->> 'net')::bigint + (leg ->> 'vat')::bigint <> e.gross_minor LIMIT 100;

-- name: deltas_unequal
-- The deltas of every batch are the sums of its transfers.
WITH moved AS (
    SELECT e.batch_id, side.account, t.currency, sum(side.debit) AS debit_minor, sum(side.credit) AS credit_minor
    FROM clearing.transfer AS t JOIN clearing.entry AS e USING (shard, subject_id, kind, reference)
    CROSS JOIN LATERAL (VALUES (t.debit_account, t.amount_minor, 0::bigint), (t.credit_account, 0::bigint, t.amount_minor))
        AS side (account, debit, credit)
    GROUP BY e.batch_id, side.account, t.currency
)
SELECT coalesce(m.account, d.account) || ' ' || coalesce(m.currency, d.currency) || ' batch ' || coalesce(m.batch_id, d.batch_id) AS subject,
       'transfers ' || coalesce(m.debit_minor, 0) || '/' || coalesce(m.credit_minor, 0)
       || ', deltas ' || coalesce(d.debit_minor, 0) || '/' || coalesce(d.credit_minor, 0) AS detail
FROM moved AS m FULL JOIN clearing.account_delta AS d USING (batch_id, account, currency)
WHERE m.debit_minor IS DISTINCT FROM d.debit_minor OR m.credit_minor IS DISTINCT FROM d.credit_minor LIMIT 100;

-- name: snapshots_unequal
SELECT s.account || ' ' || s.currency || ' at ' || s.as_of AS subject,
       'snapshot ' || s.debit_minor || '/' || s.credit_minor || ', deltas ' || d.debit_minor || '/' || d.credit_minor AS detail
FROM clearing.account_snapshot AS s
CROSS JOIN LATERAL (
    SELECT coalesce(sum(debit_minor), 0) AS debit_minor, coalesce(sum(credit_minor), 0) AS credit_minor
    FROM clearing.account_delta AS d
    WHERE d.account = s.account AND d.currency = s.currency AND d.booked_at < s.as_of
) AS d
WHERE (s.debit_minor, s.credit_minor) <> (d.debit_minor, d.credit_minor) LIMIT 100;

-- name: payables_unequal
-- What an entry owes a party is what it moved on the party's payable account.
WITH posted AS (
    SELECT t.shard, t.subject_id, t.kind, t.reference, split_part(side.account, ':', 2) AS party_id, t.currency,
           sum(side.minor) AS minor
    FROM clearing.transfer AS t
    CROSS JOIN LATERAL (VALUES (t.debit_account, -t.amount_minor), (t.credit_account, t.amount_minor)) AS side (account, minor)
    WHERE side.account LIKE '%:payable' AND t.kind NOT IN ('disbursement', 'disbursement_return')
    GROUP BY t.shard, t.subject_id, t.kind, t.reference, party_id, t.currency
    HAVING sum(side.minor) <> 0
)
SELECT coalesce(p.subject_id, o.subject_id)::text || ' ' || coalesce(p.kind, o.kind) || ' ' || coalesce(p.party_id, o.party_id) AS subject,
       'posted ' || coalesce(o.minor, 0) || ', payable ' || coalesce(p.amount_minor, 0) AS detail
FROM posted AS o FULL JOIN clearing.payable AS p
    ON (p.shard, p.subject_id, p.kind, p.reference, p.party_id, p.currency)
     = (o.shard, o.subject_id, o.kind, o.reference, o.party_id, o.currency)
WHERE o.minor IS DISTINCT FROM p.amount_minor LIMIT 100;

-- name: open_unequal
-- The balance of a party's account is what is open and scheduled, not what was paid.
WITH owed AS (
    SELECT p.party_id, p.currency, sum(p.amount_minor) AS minor
    FROM clearing.payable AS p LEFT JOIN clearing.disbursement AS d ON d.id = p.disbursement_id
    WHERE d.state IS DISTINCT FROM 'paid' GROUP BY p.party_id, p.currency
), balance AS (
    SELECT split_part(account, ':', 2) AS party_id, currency, sum(credit_minor - debit_minor) AS minor
    FROM clearing.account_delta WHERE account LIKE '%:payable' GROUP BY party_id, currency
)
SELECT coalesce(o.party_id, s.party_id) || ' ' || coalesce(o.currency, s.currency) AS subject,
       'the balance is ' || coalesce(s.minor, 0) || ', payables sum to ' || coalesce(o.minor, 0) AS detail
FROM owed AS o FULL JOIN balance AS s USING (party_id, currency)
WHERE coalesce(o.minor, 0) <> coalesce(s.minor, 0) LIMIT 100;

-- name: disbursements_unequal
-- A disbursement is the sum of the payables that point to it, all in its own party and currency.
SELECT d.id::text AS subject, 'pays ' || d.amount_minor || ', its payables sum to ' || coalesce(p.minor::text, 'nothing') AS detail
FROM clearing.disbursement AS d
LEFT JOIN (
    SELECT disbursement_id, sum(amount_minor) AS minor, min(party_id) AS first_party, max(party_id) AS last_party,
           min(currency) AS first_currency, max(currency) AS last_currency
    FROM clearing.payable WHERE disbursement_id IS NOT NULL GROUP BY disbursement_id
) AS p ON p.disbursement_id = d.id
WHERE d.state NOT IN ('cancelled', 'failed', 'returned') AND (p.minor IS DISTINCT FROM d.amount_minor
    OR (p.first_party, p.last_party, p.first_currency, p.last_currency) <> (d.party_id, d.party_id, d.currency, d.currency))
LIMIT 100;

-- name: disbursements_unposted
SELECT d.id::text AS subject, 'paid, but not in the journal with that amount' AS detail
FROM clearing.disbursement AS d
LEFT JOIN clearing.entry AS e ON e.subject_id = d.id AND e.kind = 'disbursement'
WHERE d.state = 'paid' AND (e.gross_minor IS DISTINCT FROM d.amount_minor OR e.currency IS DISTINCT FROM d.currency) LIMIT 100;

-- name: batches
SELECT id, chain, position, booked_at, entry_count, transfer_count, blinding_key, merkle_root, previous_hash, hash
FROM clearing.batch WHERE chain = :chain AND position > :after ORDER BY position LIMIT :limit;

-- name: chains
SELECT DISTINCT chain FROM clearing.batch ORDER BY chain;

-- name: batch_entries
SELECT shard, subject_id, kind, reference, currency, coalesce(tariff_sha256, '') AS tariff_sha256, coalesce(cdr_id, '') AS cdr_id,
       legs, hash
FROM clearing.entry WHERE batch_id = :batch_id ORDER BY shard, subject_id, kind, reference;

-- name: batch_transfers
SELECT t.subject_id, t.kind, t.reference, t.ordinal, t.debit_account, t.credit_account, t.amount_minor, t.currency
FROM clearing.entry AS e JOIN clearing.transfer AS t USING (shard, subject_id, kind, reference)
WHERE e.batch_id = :batch_id ORDER BY shard, subject_id, kind, reference, ordinal;

-- name: orphan_entries
-- Entries whose batch is not there.
SELECT e.subject_id::text || ' ' || e.kind AS subject, 'its batch ' || e.batch_id || ' is missing' AS detail
FROM clearing.entry AS e LEFT JOIN clearing.batch AS b ON b.id = e.batch_id WHERE b.id IS NULL LIMIT 100;

-- name: fx_transfers
-- What each session moved through a position, beside its lock.
SELECT t.subject_id, l.base, l.quote, l.rate, l.source, l.rate_date, l.markup_bps, t.kind, t.reference,
       t.debit_account, t.credit_account, t.amount_minor, t.currency
FROM clearing.entry AS e JOIN clearing.transfer AS t USING (shard, subject_id, kind, reference)
JOIN clearing.fx_lock AS l ON l.shard = t.shard AND l.session_id = t.subject_id
    AND 'fx:' || l.base || '-' || l.quote || ':position' IN (t.debit_account, t.credit_account)
WHERE e.batch_id = :batch_id ORDER BY t.subject_id, t.kind, t.reference, t.ordinal;

-- name: documents_gapped
-- A series of drivers' documents has every number from 1 to the last that was assigned, and no other.
SELECT s.series AS subject,
       format('%s numbers assigned, %s stored, the highest is %s', s.next_number - 1, count(d.number), coalesce(max(d.number), 0)) AS detail
FROM clearing.document_series AS s LEFT JOIN clearing.driver_document AS d ON d.series = s.series
WHERE s.series ~ '^(DI|DC|DR|DB)-'
GROUP BY s.series, s.next_number
HAVING count(d.number) <> s.next_number - 1 OR coalesce(max(d.number), 0) <> s.next_number - 1
    OR count(DISTINCT d.number) <> count(d.number);

-- name: documents_unequal
-- What a driver's document says is what the journal holds, and no documented batch lacks a document.
SELECT e.subject_id::text AS subject,
       format('%s %s: journaled %s net and %s VAT, documented %s and %s', e.kind, e.reference, leg ->> 'net', leg ->> 'vat',
              coalesce(d.net_minor::text, 'nothing'), coalesce(d.vat_minor::text, 'nothing')) AS detail
FROM clearing.document_cursor AS c
JOIN clearing.batch AS b ON b.chain = c.chain AND b.position <= c.position
JOIN clearing.entry AS e ON e.batch_id = b.id AND e.legs <> '[]'
CROSS JOIN LATERAL jsonb_array_elements(e.legs::jsonb) AS leg
LEFT JOIN clearing.driver_document AS d
    ON (d.shard, d.session_id, d.kind, d.reference) = (e.shard, e.subject_id, e.kind, e.reference)
WHERE leg ->> 'leg' = 'to_driver' AND (leg ->> 'net')::bigint + (leg ->> 'vat')::bigint <> 0
  AND NOT EXISTS (SELECT 1 FROM clearing.pending_driver_document AS p
                  WHERE (p.shard, p.session_id, p.kind, p.reference) = (e.shard, e.subject_id, e.kind, e.reference))
  AND (d.net_minor, d.vat_minor, d.ruling_id) IS DISTINCT FROM ((leg ->> 'net')::bigint, (leg ->> 'vat')::bigint, leg ->> 'ruling');

-- name: received
-- Money that staff recorded as received from a party or into suspense, minus what has left suspense, by currency.
SELECT t.currency, sum(CASE WHEN credit.counted AND NOT debit.counted THEN t.amount_minor
                            WHEN debit.counted AND NOT credit.counted THEN -t.amount_minor ELSE 0 END)::bigint AS minor
FROM clearing.transfer AS t
CROSS JOIN LATERAL (SELECT t.debit_account = 'suspense' OR t.debit_account LIKE '%:payable' AS counted) AS debit
CROSS JOIN LATERAL (SELECT t.credit_account = 'suspense' OR t.credit_account LIKE '%:payable' AS counted) AS credit
WHERE t.kind IN ('suspense', 'suspense_cleared', 'receivable_payment') GROUP BY t.currency;

-- name: returned_fees
-- The fees that the PSP returned: of disputes as it reported them, others by approved entries.
SELECT currency, sum(amount_minor)::bigint AS minor FROM clearing.transfer
WHERE credit_account = 'platform:psp:expense'
  AND kind IN ('dispute', 'fee', 'suspense', 'suspense_cleared', 'write_off', 'own_funds', 'psp_payout', 'receivable_payment')
GROUP BY currency;

-- name: suspense_unequal
-- The balance of suspense is the sum of what remains of its items.
WITH item AS (
    SELECT currency, sum(remaining_minor) AS minor FROM clearing.suspense_item GROUP BY currency
), balance AS (
    SELECT currency, sum(credit_minor - debit_minor) AS minor FROM clearing.account_delta WHERE account = 'suspense' GROUP BY currency
)
SELECT coalesce(i.currency, s.currency) AS subject,
       'the balance is ' || coalesce(s.minor, 0) || ', its items sum to ' || coalesce(i.minor, 0) AS detail
FROM item AS i FULL JOIN balance AS s USING (currency) WHERE coalesce(i.minor, 0) <> coalesce(s.minor, 0);

-- name: approvals_unposted
-- Every entry of a booked approval request is in the journal, and none of one that is not booked.
WITH named AS MATERIALIZED (
    SELECT d.id, (one ->> 'subject')::uuid AS subject_id, one ->> 'kind' AS kind, one ->> 'reference' AS reference
    FROM clearing.approval_request AS d CROSS JOIN LATERAL jsonb_array_elements(d.entries::jsonb) AS one
), posted AS MATERIALIZED (
    SELECT e.subject_id, e.kind, e.reference FROM clearing.entry AS e
    WHERE (e.shard, e.subject_id, e.kind, e.reference) IN (
        SELECT (get_byte(uuid_send(n.subject_id), 15) & 63)::smallint, n.subject_id, n.kind, n.reference
        FROM named AS n)
), made AS (
    SELECT n.id, count(*) AS named, count(p.subject_id) AS posted
    FROM named AS n LEFT JOIN posted AS p USING (subject_id, kind, reference) GROUP BY n.id
)
SELECT d.id::text AS subject, 'is ' || d.state || ', but of its ' || coalesce(m.named, 0) || ' entries '
       || coalesce(m.posted, 0) || ' are posted' AS detail
FROM clearing.approval_request AS d LEFT JOIN made AS m ON m.id = d.id
WHERE coalesce(m.posted, 0) <> CASE d.state WHEN 'booked' THEN coalesce(m.named, 0) ELSE 0 END LIMIT 100;

-- name: statements_unequal
-- The statements of a party and currency follow each other: each opens with what the one before closed with.
SELECT s.disbursement_id::text AS subject,
       format('statement %s opens with %s, the one before closed with %s', s.number, s.opening_minor,
              coalesce(p.closing_minor::text, 'nothing')) AS detail
FROM clearing.settlement_statement AS s
LEFT JOIN clearing.settlement_statement AS p ON (p.party_id, p.currency, p.number) = (s.party_id, s.currency, s.number - 1)
WHERE s.opening_minor <> coalesce(p.closing_minor, 0) OR (s.number > 1 AND p.number IS NULL) LIMIT 100;

-- name: returned_unequal
-- What is stored of a returned disbursement is that disbursement.
SELECT d.id::text AS subject, 'returned ' || d.amount_minor || ', what it had netted sums to ' || r.minor AS detail
FROM clearing.disbursement AS d
JOIN (SELECT disbursement_id, sum(amount_minor) AS minor FROM clearing.returned_payable GROUP BY disbursement_id) AS r
    ON r.disbursement_id = d.id
WHERE d.state <> 'returned' OR r.minor <> d.amount_minor LIMIT 100;

-- name: captured
SELECT currency, kind, sum(gross_minor)::bigint AS gross_minor, count(*) AS entries
FROM clearing.entry WHERE kind IN ('capture', 'refund', 'refund_failed', 'dispute', 'dispute_won')
GROUP BY currency, kind ORDER BY currency, kind;

-- name: unpaid_sums
-- A payable that is tied to a disbursement is paid once its disbursement is.
SELECT p.currency, sum(p.amount_minor)::bigint AS amount_minor
FROM clearing.payable AS p LEFT JOIN clearing.disbursement AS d ON d.id = p.disbursement_id
WHERE d.state IS DISTINCT FROM 'paid' GROUP BY p.currency ORDER BY p.currency;

-- name: disbursed
SELECT currency, sum(amount_minor)::bigint AS amount_minor FROM clearing.disbursement
WHERE state = 'paid' GROUP BY currency ORDER BY currency;
