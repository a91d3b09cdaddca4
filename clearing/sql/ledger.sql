-- The journal: entries, transfers, payables and the batches that seal them.

-- name: lock_books_open!
-- Shared by every writer until its transaction ends; closing a period takes it exclusively.
-- Each batch gets a plan of its own, since its rows are looked up by key: a plan cached from when the journal was small would
-- read all of it for each batch, and so would one that assumes the pages of an index to be far apart.
SELECT pg_advisory_xact_lock_shared(hashtextextended('clearing.books', 0)),
    set_config('plan_cache_mode', 'force_custom_plan', true), set_config('random_page_cost', '1.1', true);

-- name: closed_until$
SELECT max(closed_until) FROM clearing.closed_period;

-- name: known_entries
-- Which of these entries are in the journal already.
SELECT e.subject_id, e.kind, e.reference
FROM unnest(:shards::smallint[], :subjects::uuid[], :kinds::text[], :refs::text[]) AS asked (shard, subject_id, kind, reference)
JOIN clearing.entry AS e ON e.shard = asked.shard AND e.subject_id = asked.subject_id AND e.kind = asked.kind
  AND e.reference = asked.reference  -- shards of e
;

-- name: insert_entries
-- Waits for a writer of the same entry and then leaves it out: what is not returned was posted by another.
INSERT INTO clearing.entry (shard, subject_id, kind, reference, batch_id, booked_at, currency, gross_minor, sale_at, cpo_id,
    demand_partner_id, authorization_method, tax_jurisdiction, agreement_id, agreement_version, tariff_sha256, cdr_id, psp_object_id, priced_minor,
    energy_kwh, legs, flags, hash)
SELECT shard, subject_id, kind, reference, :batch_id::uuid, :now::timestamptz, currency, gross_minor, sale_at, cpo_id,
    demand_partner_id, authorization_method, tax_jurisdiction, agreement_id, agreement_version, tariff_sha256, cdr_id, psp_object_id, priced_minor,
    energy_kwh, legs, string_to_array(flags, ','), hash
FROM unnest(:shards::smallint[], :subjects::uuid[], :kinds::text[], :refs::text[], :currencies::text[], :gross::bigint[],
    :sales::timestamptz[], :cpos::text[], :partners::text[], :authorization_methods::text[], :tax_jurisdictions::text[], :agreements::text[],
    :versions::integer[], :tariffs::text[], :cdrs::text[], :psp_objects::text[], :priced::bigint[], :energies::numeric[],
    :legs::text[], :flags::text[], :hashes::bytea[])
    AS fresh (shard, subject_id, kind, reference, currency, gross_minor, sale_at, cpo_id, demand_partner_id, authorization_method, tax_jurisdiction,
    agreement_id, agreement_version, tariff_sha256, cdr_id, psp_object_id, priced_minor, energy_kwh, legs, flags, hash)
ON CONFLICT DO NOTHING
RETURNING subject_id, kind, reference;

-- name: lock_chain!
SELECT pg_advisory_xact_lock(hashtextextended('clearing.chain', (:chain)::bigint));

-- name: chain_head^
SELECT position, hash, booked_at FROM clearing.batch WHERE chain = :chain ORDER BY position DESC LIMIT 1;

-- name: book_later!
-- A batch that was overtaken by a later one of its chain is booked with it: a chain never goes back in time.
UPDATE clearing.entry SET booked_at = :booked_at WHERE batch_id = :batch_id;

-- name: insert_batch!
INSERT INTO clearing.batch (id, chain, position, booked_at, entry_count, transfer_count, blinding_key, merkle_root, previous_hash, hash)
VALUES (:id, :chain, :position, :now, :entry_count, :transfer_count, :blinding_key, :merkle_root, :previous_hash, :hash);

-- name: posted_amount^
SELECT currency, gross_minor FROM clearing.entry
WHERE shard = :shard AND subject_id = :subject_id AND kind = :kind AND reference = :reference;

-- name: posted_transfers
SELECT debit_account, credit_account, amount_minor, currency FROM clearing.transfer
WHERE shard = :shard AND subject_id = :subject_id AND kind = :kind AND reference = :reference ORDER BY ordinal;
