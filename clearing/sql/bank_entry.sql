-- Entries of bank statements, and the notifications that detail them.

-- name: add_entries
-- The entries that no statement had reported before.
INSERT INTO clearing.bank_entry (entry_id, iban, currency, amount_minor, booked_on, value_on, dated, refs, line_id, recorded_at)
SELECT entry_id, iban, currency, amount_minor, booked_on, value_on, dated, string_to_array(refs, chr(31)), line_id, :now::timestamptz
FROM unnest(:ids::text[], :ibans::text[], :currencies::text[], :amounts::bigint[], :booked::date[], :values::date[], :dated::bool[],
    :refs::text[], :lines::text[]) AS e (entry_id, iban, currency, amount_minor, booked_on, value_on, dated, refs, line_id)
ON CONFLICT DO NOTHING RETURNING entry_id;

-- name: entries_of
-- Stored entries under these ids.
SELECT entry_id, iban, currency, amount_minor, booked_on, value_on, dated, refs, line_id FROM clearing.bank_entry
WHERE entry_id = ANY(:ids::text[]);

-- name: unnoticed_entries
-- Entries of these sums without a notification, the oldest first.
SELECT entry_id, iban, currency, amount_minor, booked_on, value_on, dated, refs, line_id FROM clearing.bank_entry
WHERE noticed_at IS NULL AND iban = ANY(:ibans::text[]) AND currency = ANY(:currencies::text[])
  AND amount_minor = ANY(:amounts::bigint[])
ORDER BY booked_on, entry_id LIMIT :limit;

-- name: add_notices
-- Details that were not reported before.
INSERT INTO clearing.bank_notice (notice_id, message, iban, currency, amount_minor, booked_on, value_on, dated, refs, itemized, lines,
    recorded_at)
SELECT notice_id, :message, iban, currency, amount_minor, booked_on, value_on, dated, string_to_array(refs, chr(31)), itemized, lines,
    :now::timestamptz
FROM unnest(:ids::text[], :ibans::text[], :currencies::text[], :amounts::bigint[], :booked::date[], :values::date[], :dated::bool[],
    :refs::text[], :itemized::bool[], :lines::text[])
    AS n (notice_id, iban, currency, amount_minor, booked_on, value_on, dated, refs, itemized, lines)
ON CONFLICT DO NOTHING RETURNING notice_id;

-- name: open_notices
-- Details of movements that no statement has yet, within some days of these entries.
SELECT notice_id, message, iban, currency, amount_minor, booked_on, value_on, dated, refs, itemized, lines FROM clearing.bank_notice
WHERE entry_id IS NULL AND iban = ANY(:ibans::text[]) AND currency = ANY(:currencies::text[])
  AND booked_on BETWEEN :first::date AND :last::date
ORDER BY booked_on, notice_id LIMIT :limit;

-- name: attach_notices!
UPDATE clearing.bank_notice AS n SET entry_id = m.entry_id
FROM unnest(:notices::text[], :entries::text[]) AS m (notice_id, entry_id)
WHERE n.notice_id = m.notice_id AND n.entry_id IS NULL;

-- name: mark_noticed!
UPDATE clearing.bank_entry SET noticed_at = :now::timestamptz WHERE entry_id = ANY(:ids::text[]);

-- name: mark_itemized!
-- The entry's transactions have taken the place of its only line.
UPDATE clearing.bank_entry SET line_id = NULL WHERE entry_id = ANY(:ids::text[]);

-- name: payments_of
-- Our payments under these end-to-end ids, or in these batches or files.
SELECT i.batch_id, i.message_id, d.end_to_end_id, d.amount_minor, d.currency, d.state
FROM clearing.payment_file_item AS i JOIN clearing.disbursement AS d ON d.id = i.disbursement_id
WHERE d.end_to_end_id = ANY(:payments::text[]) OR i.batch_id = ANY(:batches::text[]) OR i.message_id = ANY(:batches::text[])
ORDER BY d.end_to_end_id;
