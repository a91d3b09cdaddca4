-- One session's way through the books: its entries with their batches, its payables with their payments.

-- name: entries_of
SELECT e.kind, e.reference, e.currency, b.id, b.chain, b.position, b.booked_at, b.blinding_key, b.merkle_root, b.previous_hash,
       b.hash
FROM clearing.entry AS e JOIN clearing.batch AS b ON b.id = e.batch_id
WHERE e.shard = :shard AND e.subject_id = :session_id
ORDER BY b.booked_at, b.chain, b.position, e.kind, e.reference;

-- name: cleared_at$
-- When a session was cleared: its sale was booked.
SELECT min(b.booked_at) FROM clearing.entry AS e JOIN clearing.batch AS b ON b.id = e.batch_id
WHERE e.shard = :shard AND e.subject_id = :session_id AND e.kind = 'capture';

-- name: uncleared_at$
-- When clearing first could not clear a session, whatever became of it.
SELECT exception_at FROM clearing.session_exception WHERE shard = :shard AND session_id = :session_id;

-- name: payables_of
-- With the payment that settles each, and the bank's line of that once it is matched.
WITH owed AS MATERIALIZED (
    SELECT p.kind, p.reference, p.party_id, p.amount_minor, p.currency, p.due_date, p.disbursement_id
    FROM clearing.payable AS p WHERE p.shard = :shard AND p.subject_id = :session_id
)
SELECT p.kind, p.reference, p.party_id, y.kind AS party_kind, p.amount_minor, p.currency, p.due_date, d.id AS disbursement_id,
       d.state, d.rail, d.amount_minor AS paid_minor, d.end_to_end_id, d.rail_reference, d.finished_at, s.sha256,
       line.source_id AS line_id, line.occurred_on AS line_day, line.amount_minor AS line_minor
FROM owed AS p
JOIN clearing.party AS y ON y.id = p.party_id
LEFT JOIN clearing.disbursement AS d ON d.id = p.disbursement_id
LEFT JOIN clearing.settlement_statement AS s ON s.disbursement_id = d.id
LEFT JOIN LATERAL (
    SELECT i.source_id, i.occurred_on, i.amount_minor FROM clearing.reconciliation_item AS i
    WHERE i.pair = 'book_bank' AND i.side = 'right' AND i.reference = d.end_to_end_id AND i.matched_at IS NOT NULL
      AND i.amount_minor < 0
    ORDER BY i.occurred_on, i.source_id LIMIT 1
) AS line ON true
ORDER BY p.kind, p.reference, p.party_id;
