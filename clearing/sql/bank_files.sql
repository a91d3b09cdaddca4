-- The bank's files: payment files on their way out, messages of the bank taken in.

-- name: drawable_currencies
-- In which currencies bank payments wait to be drawn.
SELECT DISTINCT currency FROM clearing.disbursement WHERE rail = 'bank' AND state = 'planned' ORDER BY currency;

-- name: to_draw
-- Bank payments that are planned and released, held for this transaction.
SELECT d.id, d.party_id, d.currency, d.period, d.amount_minor, d.destination, d.end_to_end_id, d.state, d.planned_at, d.attempts,
    d.rail_reference, d.failure, d.rail, d.approvals_needed
FROM clearing.disbursement AS d
WHERE d.rail = 'bank' AND d.state = 'planned' AND d.currency = ANY(:currencies::text[]) AND d.approvals_needed <= (
    SELECT count(*) FROM clearing.disbursement_approval AS a WHERE a.disbursement_id = d.id)
ORDER BY d.id LIMIT :limit FOR UPDATE OF d SKIP LOCKED;

-- name: take_unsent^
-- The oldest file that is not known to have reached the bank; held, so that one worker writes it.
SELECT message_id, content, sha256 FROM clearing.payment_file WHERE sent_at IS NULL AND NOT message_id = ANY(:beside::text[])
ORDER BY created_at, message_id LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: files
-- Payment files, the latest first, a page at a time; without their bytes.
SELECT message_id, created_at, sha256, payment_count, control_sum, sent_at, length(content) AS size_bytes FROM clearing.payment_file
WHERE :before::text IS NULL
   OR (created_at, message_id) < (SELECT b.created_at, b.message_id FROM clearing.payment_file AS b WHERE b.message_id = :before)
ORDER BY created_at DESC, message_id DESC LIMIT :limit;

-- name: file^
SELECT message_id, content, sha256 FROM clearing.payment_file WHERE message_id = :message_id;

-- name: hold_intake!
-- The bank's messages are worked in one after the other.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.bank_intake', 0));

-- name: claim_message$
-- A message that was taken is never taken again; one that was refused may come again, when it can be read by then.
INSERT INTO clearing.bank_message AS known (sha256, name, kind, state, size_bytes, received_at, told_by)
VALUES (:sha256, :name, 'unknown', 'taken', :size_bytes, :now, :told_by)
ON CONFLICT (sha256) DO UPDATE SET name = excluded.name, state = 'taken', reason = NULL, received_at = excluded.received_at,
    told_by = excluded.told_by
WHERE known.state = 'refused'
RETURNING sha256;

-- name: finish_message!
UPDATE clearing.bank_message SET kind = :kind, state = :state, settled = :settled, rejected = :rejected, returned = :returned,
    new_lines = :new_lines, reason = :reason
WHERE sha256 = :sha256;

-- name: message^
SELECT sha256, name, kind, state, size_bytes, received_at, settled, rejected, returned, new_lines, reason, told_by
FROM clearing.bank_message WHERE sha256 = :sha256;

-- name: messages
-- What the bank said, the latest first, a page at a time.
SELECT sha256, name, kind, state, size_bytes, received_at, settled, rejected, returned, new_lines, reason, told_by
FROM clearing.bank_message
WHERE (:state::text IS NULL OR state = :state)
  AND (:before::text IS NULL
       OR (received_at, sha256) < (SELECT b.received_at, b.sha256 FROM clearing.bank_message AS b WHERE b.sha256 = :before))
ORDER BY received_at DESC, sha256 DESC LIMIT :limit;

-- name: credits_of
-- Money that came in under the ids of payments of ours, as statements told it.
SELECT reference, amount_minor, currency, detail FROM clearing.reconciliation_item
WHERE leg = 'book_bank' AND side = 'right' AND amount_minor > 0 AND reference = ANY(:references::text[])
ORDER BY reference, occurred_on, source_id;

-- name: refused_since$
SELECT count(*) FROM clearing.bank_message WHERE state = 'refused' AND received_at >= :since;
