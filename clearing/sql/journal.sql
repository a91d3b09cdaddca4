-- The journal: entries, transfers, payables, batches, parked sessions.

-- name: hold_books_open!
-- Shared by every writer until its transaction ends; closing a period takes the same lock alone.
-- A batch is planned anew, for its rows are looked up by key: a plan that was kept from when the journal was small would
-- read all of it for each batch, and so would one that takes the pages of an index to lie far apart.
SELECT pg_advisory_xact_lock_shared(hashtextextended('clearing.books', 0)),
    set_config('plan_cache_mode', 'force_custom_plan', true), set_config('random_page_cost', '1.1', true);

-- name: hold_books_shut!
SELECT pg_advisory_xact_lock(hashtextextended('clearing.books', 0));

-- name: closed_until$
SELECT max(closed_until) FROM clearing.closed_period;

-- name: known_entries
-- Which of these entries are in the journal already.
SELECT e.subject_id, e.kind, e.reference
FROM unnest(:lanes::smallint[], :subjects::uuid[], :kinds::text[], :refs::text[]) AS asked (lane, subject_id, kind, reference)
JOIN clearing.entry AS e USING (lane, subject_id, kind, reference);

-- name: insert_entries
-- Waits for a writer of the same entry and then leaves it out: what is not returned was posted by another.
INSERT INTO clearing.entry (lane, subject_id, kind, reference, batch_id, booked_at, currency, gross_minor, sale_at, cpo_id,
    demand_partner_id, rail, territory, agreement_id, agreement_version, tariff_sha256, cdr_id, psp_object_id, priced_minor,
    energy_kwh, legs, flags, hash)
SELECT lane, subject_id, kind, reference, :batch_id::uuid, :now::timestamptz, currency, gross_minor, sale_at, cpo_id,
    demand_partner_id, rail, territory, agreement_id, agreement_version, tariff_sha256, cdr_id, psp_object_id, priced_minor,
    energy_kwh, legs, string_to_array(flags, ','), hash
FROM unnest(:lanes::smallint[], :subjects::uuid[], :kinds::text[], :refs::text[], :currencies::text[], :gross::bigint[],
    :sales::timestamptz[], :cpos::text[], :partners::text[], :rails::text[], :territories::text[], :agreements::text[],
    :versions::integer[], :tariffs::text[], :cdrs::text[], :psp_objects::text[], :priced::bigint[], :energies::numeric[],
    :legs::text[], :flags::text[], :hashes::bytea[])
    AS fresh (lane, subject_id, kind, reference, currency, gross_minor, sale_at, cpo_id, demand_partner_id, rail, territory,
    agreement_id, agreement_version, tariff_sha256, cdr_id, psp_object_id, priced_minor, energy_kwh, legs, flags, hash)
ON CONFLICT DO NOTHING
RETURNING subject_id, kind, reference;

-- name: insert_rulings!
INSERT INTO clearing.vat_ruling (id, content)
SELECT id, content FROM unnest(:ids::text[], :contents::text[]) AS ruling (id, content) ORDER BY id
ON CONFLICT DO NOTHING;

-- name: hold_chain!
SELECT pg_advisory_xact_lock(hashtextextended('clearing.chain', (:chain)::bigint));

-- name: chain_head^
SELECT position, hash, booked_at FROM clearing.batch WHERE chain = :chain ORDER BY position DESC LIMIT 1;

-- name: book_later!
-- A batch that was overtaken by a later one of its chain is booked with it: a chain never goes back in time.
UPDATE clearing.entry SET booked_at = :booked_at WHERE batch_id = :batch_id;

-- name: insert_batch!
INSERT INTO clearing.batch (id, chain, position, booked_at, entry_count, transfer_count, blinding_key, merkle_root, previous_hash, hash)
VALUES (:id, :chain, :position, :now, :entry_count, :transfer_count, :blinding_key, :merkle_root, :previous_hash, :hash);

-- name: park!
INSERT INTO clearing.parked AS known (lane, session_id, reason, detail, parked_at, last_at)
SELECT lane, session_id, reason, detail, :now::timestamptz, :now::timestamptz
FROM unnest(:lanes::smallint[], :sessions::uuid[], :reasons::text[], :details::text[]) AS fresh (lane, session_id, reason, detail)
ORDER BY lane, session_id
ON CONFLICT (lane, session_id) DO UPDATE SET reason = excluded.reason, detail = excluded.detail,
    attempts = known.attempts + 1, last_at = excluded.last_at, resolved_at = NULL;

-- name: any_parked$
SELECT EXISTS (SELECT FROM clearing.parked WHERE resolved_at IS NULL);

-- name: resolve_parked!
UPDATE clearing.parked AS p SET resolved_at = :now::timestamptz
FROM unnest(:lanes::smallint[], :sessions::uuid[]) AS done (lane, session_id)
WHERE p.lane = done.lane AND p.session_id = done.session_id AND p.resolved_at IS NULL;

-- name: parked
SELECT session_id, reason, detail, attempts, parked_at FROM clearing.parked
WHERE resolved_at IS NULL ORDER BY parked_at, session_id LIMIT :limit;

-- name: hold_volumes!
-- One writer at a time counts a tiered agreement, taken in the order of names.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.volume ' || id, 0))
FROM (SELECT unnest(:ids::text[]) AS id ORDER BY 1) AS tiered;

-- name: volumes
SELECT agreement_id, month, sum(sessions)::bigint AS sessions FROM clearing.agreement_volume
WHERE agreement_id = ANY(:ids::text[]) GROUP BY agreement_id, month;

-- name: insert_volumes!
INSERT INTO clearing.agreement_volume (agreement_id, month, batch_id, sessions)
SELECT agreement_id, month, :batch_id::uuid, sessions
FROM unnest(:ids::text[], :months::date[], :counts::integer[]) AS fresh (agreement_id, month, sessions);
