-- The general ledger as files: journal lines, trial balance, VAT figures.

-- name: accounts_used
-- Every account that the journal has moved before the end of the period, with the currencies in which it was.
SELECT DISTINCT account, currency FROM clearing.account_delta WHERE booked_at < :until ORDER BY account, currency;

-- name: period_batches
-- The batches of a period in the order of booking, with what proves that none is left out.
SELECT id, chain, position, booked_at, entry_count, transfer_count, blinding_key, merkle_root, previous_hash, hash
FROM clearing.batch
WHERE booked_at >= :since AND booked_at < :until AND (booked_at, chain, position) > (:after_at, :after_chain, :after_position)
ORDER BY booked_at, chain, position LIMIT :limit;

-- name: raise_work_mem!
-- A group of batches is sorted in memory, and its rows are looked up by key whatever the planner makes of them.
SELECT set_config('work_mem', '64MB', true), set_config('random_page_cost', '1.1', true),
    set_config('enable_seqscan', 'off', true), set_config('max_parallel_workers_per_gather', '0', true), set_config('jit', 'off', true);

-- name: journal_csv
-- The transfers of some batches, each a row of the journal, in the order of booking: entries are sorted, and the transfers of
-- each are looked up by their key. Chart, digits and rates are JSON objects, not joins, so that the order is kept.
SELECT (:offset::bigint) + row_number() OVER (ORDER BY e.place, t.ordinal) AS line, e.booked_on::text AS booked_on, e.kind,
       e.subject_id AS subject, e.shown_reference AS reference,
       t.debit ->> 0 AS debit_account, t.debit_account AS debit_path, t.credit ->> 0 AS credit_account,
       t.credit_account AS credit_path,
       CASE t.places WHEN 0 THEN t.amount_minor::text
           ELSE (t.amount_minor / (10 ^ t.places)::bigint) || (:point::text)
               || lpad((t.amount_minor % (10 ^ t.places)::bigint)::text, t.places, '0') END AS amount,
       t.currency,
       CASE WHEN t.rate IS NULL THEN '' ELSE replace(round(t.amount_minor * (t.rate ->> 0)::numeric / (10 ^ t.places)::bigint,
           (:places::integer))::text, '.', (:point::text)) END AS reporting_amount,
       CASE WHEN t.rate IS NULL THEN '' ELSE (:reporting::text) END AS reporting_currency, coalesce(t.rate ->> 1, '') AS rate_source,
       coalesce(nullif(t.debit ->> 1, ''), t.credit ->> 1) AS vat_code,
       coalesce(nullif(t.debit ->> 2, ''), nullif(t.credit ->> 2, ''), e.cpo_id) AS counterparty,
       e.cdr_id, e.psp_object, e.chain, e.position
FROM (
    SELECT row_number() OVER (
               ORDER BY b.booked_at, b.chain, b.position, e.shard, e.subject_id, e.kind, e.reference) AS place,
           e.shard, e.subject_id, e.kind, e.reference, b.chain, b.position, (b.booked_at AT TIME ZONE (:zone::text))::date AS booked_on,
           CASE WHEN e.reference ~ '^\s*[-=+@|%]' THEN '''' ELSE '' END || e.reference AS shown_reference,
           coalesce(e.cpo_id, '') AS cpo_id, coalesce(e.cdr_id, '') AS cdr_id, coalesce(e.psp_object_id, '') AS psp_object
    FROM clearing.batch AS b JOIN clearing.entry AS e ON e.batch_id = b.id
    WHERE b.id = ANY(:batches::uuid[])
    ORDER BY 1
) AS e
CROSS JOIN LATERAL (
    SELECT ordinal, debit_account, credit_account, amount_minor, currency,
           (:chart::text::jsonb) -> debit_account AS debit, (:chart::text::jsonb) -> credit_account AS credit,
           ((:digits::text::jsonb) ->> currency)::integer AS places,
           CASE WHEN (:reporting::text) <> '' THEN (:rates::text::jsonb) -> (currency || ' ' || e.booked_on::text) END AS rate
    FROM clearing.transfer
    WHERE (shard, subject_id, kind, reference) = (e.shard, e.subject_id, e.kind, e.reference) OFFSET 0
) AS t
ORDER BY e.place, t.ordinal;

-- name: journal_rows
-- As above, with amounts in minor units.
SELECT e.booked_at, (e.booked_at AT TIME ZONE (:zone::text))::date AS booked_on, e.batch_id, e.kind, e.subject_id, e.reference,
       t.ordinal, t.debit_account, t.credit_account, t.amount_minor, t.currency, e.cpo_id, e.cdr_id
FROM (
    SELECT row_number() OVER (
               ORDER BY b.booked_at, b.chain, b.position, e.shard, e.subject_id, e.kind, e.reference) AS place,
           b.booked_at, b.id AS batch_id, e.shard, e.subject_id, e.kind, e.reference, coalesce(e.cpo_id, '') AS cpo_id,
           coalesce(e.cdr_id, '') AS cdr_id
    FROM clearing.batch AS b JOIN clearing.entry AS e ON e.batch_id = b.id
    WHERE b.id = ANY(:batches::uuid[])
) AS e
CROSS JOIN LATERAL (
    SELECT ordinal, debit_account, credit_account, amount_minor, currency FROM clearing.transfer
    WHERE (shard, subject_id, kind, reference) = (e.shard, e.subject_id, e.kind, e.reference) OFFSET 0
) AS t
ORDER BY e.place, t.ordinal;

-- name: daily_sums
-- What moved between each two accounts on each day.
SELECT (b.booked_at AT TIME ZONE (:zone::text))::date AS booked_on, e.kind, t.debit_account, t.credit_account, t.currency,
       sum(t.amount_minor)::bigint AS amount_minor, count(*) AS transfers
FROM clearing.batch AS b
JOIN clearing.entry AS e ON e.batch_id = b.id
JOIN clearing.transfer AS t USING (shard, subject_id, kind, reference)
WHERE b.booked_at >= :since AND b.booked_at < :until
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5;

-- name: account_sums
-- Each account before the period and in it.
SELECT account, currency,
       coalesce(sum(debit_minor) FILTER (WHERE booked_at < :since), 0)::bigint AS before_debit_minor,
       coalesce(sum(credit_minor) FILTER (WHERE booked_at < :since), 0)::bigint AS before_credit_minor,
       coalesce(sum(debit_minor) FILTER (WHERE booked_at >= :since), 0)::bigint AS debit_minor,
       coalesce(sum(credit_minor) FILTER (WHERE booked_at >= :since), 0)::bigint AS credit_minor
FROM clearing.account_delta WHERE booked_at < :until
GROUP BY account, currency ORDER BY account, currency;

-- name: moved_days
-- The days of a period on which each currency moved.
SELECT DISTINCT currency, (booked_at AT TIME ZONE (:zone::text))::date AS day FROM clearing.account_delta
WHERE booked_at >= :since AND booked_at < :until ORDER BY currency, day;

-- name: supply_sums
-- The supplies of a period by supplier, customer, ruling and currency; corrections count with their sign. Acquisition tax is
-- rounded for each supply, as it was booked.
SELECT leg ->> 'leg' AS leg, leg ->> 'supplier' AS supplier_id, leg ->> 'customer' AS customer_id, leg ->> 'ruling' AS ruling_id,
       r.content AS ruling, e.currency, sum((leg ->> 'net')::bigint)::bigint AS net_minor,
       sum((leg ->> 'vat')::bigint)::bigint AS vat_minor,
       sum(round((leg ->> 'net')::numeric * (r.content::jsonb ->> 'acquisition_rate')::numeric / 100))::bigint AS acquisition_minor,
       count(*) AS supplies
FROM clearing.batch AS b
JOIN clearing.entry AS e ON e.batch_id = b.id
CROSS JOIN LATERAL jsonb_array_elements(e.legs::jsonb) AS leg
LEFT JOIN clearing.vat_ruling AS r ON r.id = leg ->> 'ruling'
WHERE b.booked_at >= :since AND b.booked_at < :until AND e.legs <> '[]'
GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 6;
