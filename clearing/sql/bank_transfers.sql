-- Payment files to the bank, and the bank's messages.

-- name: planned_currencies
-- The currencies of planned bank disbursements.
SELECT DISTINCT currency FROM clearing.disbursement WHERE rail = 'bank' AND state = 'planned' ORDER BY currency;

-- name: lock_payable
-- Bank disbursements that are planned and approved, locked for this transaction.
SELECT d.id, d.party_id, d.currency, d.period, d.amount_minor, d.destination, d.end_to_end_id, d.state, d.planned_at, d.attempts,
    d.rail_reference, d.failure, d.rail, d.approvals_needed
FROM clearing.disbursement AS d
WHERE d.rail = 'bank' AND d.state = 'planned' AND d.currency = ANY(:currencies::text[]) AND d.approvals_needed <= (
    SELECT count(*) FROM clearing.disbursement_approval AS a WHERE a.disbursement_id = d.id)
ORDER BY d.id LIMIT :limit FOR UPDATE OF d SKIP LOCKED;

-- name: lock_unsent_file^
-- The oldest file that is not known to have reached the bank; locked, so that one worker writes it.
SELECT message_id, content, sha256 FROM clearing.payment_file WHERE sent_at IS NULL AND NOT message_id = ANY(:except_ids::text[])
ORDER BY created_at, message_id LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: files
-- Payment files, the latest first, a page at a time; without their bytes.
SELECT message_id, created_at, sha256, payment_count, control_sum, sent_at, length(content) AS size_bytes FROM clearing.payment_file
WHERE :before::text IS NULL
   OR (created_at, message_id) < (SELECT b.created_at, b.message_id FROM clearing.payment_file AS b WHERE b.message_id = :before)
ORDER BY created_at DESC, message_id DESC LIMIT :limit;

-- name: file^
SELECT message_id, content, sha256 FROM clearing.payment_file WHERE message_id = :message_id;

-- name: lock_import!
-- The bank's messages are imported one after the other.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.bank_intake', 0));

-- name: claim_message$
-- An imported message is never imported again; a rejected one may be imported later, when it can be read.
INSERT INTO clearing.bank_message AS known (sha256, name, kind, state, size_bytes, received_at, reported_by)
VALUES (:sha256, :name, 'unknown', 'imported', :size_bytes, :now, :reported_by)
ON CONFLICT (sha256) DO UPDATE SET name = excluded.name, state = 'imported', reason = NULL, received_at = excluded.received_at,
    reported_by = excluded.reported_by
WHERE known.state = 'rejected'
RETURNING sha256;

-- name: finish_message!
UPDATE clearing.bank_message SET kind = :kind, state = :state, settled = :settled, rejected = :rejected, returned = :returned,
    new_lines = :new_lines, reason = :reason
WHERE sha256 = :sha256;

-- name: message^
SELECT sha256, name, kind, state, size_bytes, received_at, settled, rejected, returned, new_lines, reason, reported_by
FROM clearing.bank_message WHERE sha256 = :sha256;

-- name: messages
-- The bank's messages, the latest first, a page at a time.
SELECT sha256, name, kind, state, size_bytes, received_at, settled, rejected, returned, new_lines, reason, reported_by
FROM clearing.bank_message
WHERE (:state::text IS NULL OR state = :state)
  AND (:before::text IS NULL
       OR (received_at, sha256) < (SELECT b.received_at, b.sha256 FROM clearing.bank_message AS b WHERE b.sha256 = :before))
ORDER BY received_at DESC, sha256 DESC LIMIT :limit;

-- name: credits_of
-- Money received under the end-to-end ids of our disbursements, as reported by statements.
SELECT reference, amount_minor, currency, detail FROM clearing.reconciliation_item
WHERE pair = 'book_bank' AND side = 'right' AND amount_minor > 0 AND reference = ANY(:references::text[])
ORDER BY reference, occurred_on, source_id;

-- name: disbursement_of^
-- The bank disbursement with this end-to-end id.
SELECT id, amount_minor, currency, state FROM clearing.disbursement WHERE end_to_end_id = :end_to_end_id AND rail = 'bank';

-- name: insert_file!
INSERT INTO clearing.payment_file (message_id, created_at, content, sha256, payment_count, control_sum)
VALUES (:message_id, :now, :content, :sha256, :payment_count, :control_sum);

-- name: insert_file_items!
INSERT INTO clearing.payment_file_item (disbursement_id, message_id, batch_id)
SELECT id, :message_id, batch_id FROM unnest(:ids::uuid[], :batches::text[]) AS item (id, batch_id);

-- name: request_disbursements!
-- From here on only the bank's status report or statement ends them.
UPDATE clearing.disbursement SET state = 'requested', requested_at = :now, attempts = 1
WHERE id = ANY(:ids::uuid[]) AND state = 'planned';

-- name: mark_sent!
UPDATE clearing.payment_file SET sent_at = :now WHERE message_id = :message_id AND sent_at IS NULL;

-- name: disbursements_of_file
SELECT i.disbursement_id, i.batch_id, d.end_to_end_id, d.state
FROM clearing.payment_file_item AS i JOIN clearing.disbursement AS d ON d.id = i.disbursement_id
WHERE i.message_id = :message_id ORDER BY i.disbursement_id;

-- name: unsent_files
SELECT message_id FROM clearing.payment_file WHERE sent_at IS NULL ORDER BY created_at, message_id;

-- name: unknown_files
-- Of message ids, those of no file here.
SELECT given.message_id FROM unnest(:message_ids::text[]) AS given (message_id)
WHERE NOT EXISTS (SELECT 1 FROM clearing.payment_file AS f WHERE f.message_id = given.message_id)
ORDER BY given.message_id;

-- name: parties_of_accounts
-- Whoever has or had one of these bank accounts.
SELECT DISTINCT party_id FROM clearing.bank_details WHERE iban = ANY(:ibans::text[]) ORDER BY party_id;
