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
-- The transfers of some batches in the order of booking, each a whole row of CSV in one text: entries are sorted, and the
-- transfers of each are looked up by their key. What an entry gives to its rows is written once for all of them. Chart, VAT
-- codes and parties are JSON objects of texts that are quoted already, not joins, so that the order is kept.
SELECT ((:offset::bigint) + row_number() OVER ())::text || e.head || ((:chart::text::jsonb) ->> t.debit_account)
       || ((:chart::text::jsonb) ->> t.credit_account)
       || CASE WHEN (:all_cents::boolean) OR t.currency = ANY(:cents::bpchar[])
           THEN CASE WHEN (:point::text) = '.' THEN (t.amount_minor * 0.01)::text
                     ELSE replace((t.amount_minor * 0.01)::text, '.', (:point::text)) END
           ELSE replace(round(t.amount_minor / (10 ^ ((:digits::text::jsonb) ->> t.currency::text)::integer)::bigint::numeric,
               ((:digits::text::jsonb) ->> t.currency::text)::integer)::text, '.', (:point::text)) END
       || CASE WHEN (:reporting::text) <> '' THEN
           (:delimiter::text) || t.currency::text || (:delimiter::text)
           || replace(round(t.amount_minor * ((:rates::text::jsonb) -> (t.currency || ' ' || e.booked_on::text) ->> 0)::numeric
               / (10 ^ ((:digits::text::jsonb) ->> t.currency::text)::integer)::bigint, (:reporting_places::integer))::text,
               '.', (:point::text))
           || (:delimiter::text) || (:reporting::text) || (:delimiter::text)
           || ((:rates::text::jsonb) -> (t.currency || ' ' || e.booked_on::text) ->> 1) || (:delimiter::text)
           WHEN t.currency = (:first_currency::bpchar) THEN (:first_shown::text)
           ELSE (:delimiter::text) || t.currency::text || (:empty::text) END
       || coalesce((:vat_codes::text::jsonb) ->> t.debit_account, (:vat_codes::text::jsonb) ->> t.credit_account, (:delimiter::text))
       || coalesce((:parties::text::jsonb) ->> t.debit_account, (:parties::text::jsonb) ->> t.credit_account, e.cpo_id)
       || e.tail AS line
FROM (
    SELECT shard, subject_id, kind, reference, booked_on,
           concat((:delimiter::text), booked_on, (:delimiter::text), kind, (:delimiter::text), subject_id, (:delimiter::text),
               CASE WHEN plain THEN reference ELSE '"' || CASE WHEN reference ~ '^\s*[-=+@|%]' THEN '''' ELSE '' END
                   || replace(translate(reference, (:breaks::text), '    '), '"', '""') || '"' END, (:delimiter::text)) AS head,
           CASE WHEN plain THEN cpo_id ELSE '"' || replace(translate(cpo_id, (:breaks::text), '    '), '"', '""') || '"' END AS cpo_id,
           concat((:delimiter::text), CASE WHEN plain THEN cdr_id ELSE '"' || CASE WHEN cdr_id ~ '^\s*[-=+@|%]' THEN '''' ELSE '' END
                   || replace(translate(cdr_id, (:breaks::text), '    '), '"', '""') || '"' END, (:delimiter::text),
               CASE WHEN plain THEN psp_object ELSE '"' || CASE WHEN psp_object ~ '^\s*[-=+@|%]' THEN '''' ELSE '' END
                   || replace(translate(psp_object, (:breaks::text), '    '), '"', '""') || '"' END,
               (:delimiter::text), chain, (:delimiter::text), position) AS tail
    FROM (
        SELECT e.shard, e.subject_id, e.kind, e.reference, b.booked_at, b.chain, b.position,
               (b.booked_at AT TIME ZONE (:zone::text))::date AS booked_on, coalesce(e.cpo_id, '') AS cpo_id,
               coalesce(e.cdr_id, '') AS cdr_id, coalesce(e.psp_object_id, '') AS psp_object,
               concat('~', e.reference, '~', e.cdr_id, '~', e.psp_object_id, '~', e.cpo_id) !~ '[",;=+@|%[:cntrl:]]|~[-\s]' AS plain
        FROM clearing.batch AS b JOIN clearing.entry AS e ON e.batch_id = b.id
        WHERE b.id = ANY(:batches::uuid[])
    ) AS e
    ORDER BY booked_at, chain, position, shard, subject_id, kind, reference
) AS e
CROSS JOIN LATERAL (
    SELECT debit_account, credit_account, amount_minor, currency
    FROM clearing.transfer
    WHERE (shard, subject_id, kind, reference) = (e.shard, e.subject_id, e.kind, e.reference)
    ORDER BY ordinal
) AS t;

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
    WHERE (shard, subject_id, kind, reference) = (e.shard, e.subject_id, e.kind, e.reference) ORDER BY ordinal
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
-- The supplies of a period by supplier, customer, ruling, currency and day; corrections count with their sign. Acquisition tax is
-- rounded for each supply, as it was booked.
SELECT leg ->> 'leg' AS leg, leg ->> 'supplier' AS supplier_id, leg ->> 'customer' AS customer_id, leg ->> 'ruling' AS ruling_id,
       r.content AS ruling, e.currency, sum((leg ->> 'net')::bigint)::bigint AS net_minor,
       sum((leg ->> 'vat')::bigint)::bigint AS vat_minor,
       sum(round((leg ->> 'net')::numeric * (r.content::jsonb ->> 'acquisition_rate')::numeric / 100))::bigint AS acquisition_minor,
       count(*) AS supplies, (b.booked_at AT TIME ZONE (:zone::text))::date AS booked_on
FROM clearing.batch AS b
JOIN clearing.entry AS e ON e.batch_id = b.id
CROSS JOIN LATERAL jsonb_array_elements(e.legs::jsonb) AS leg
LEFT JOIN clearing.vat_ruling AS r ON r.id = leg ->> 'ruling'
WHERE b.booked_at >= :since AND b.booked_at < :until AND e.legs <> '[]'
GROUP BY 1, 2, 3, 4, 5, 6, booked_on ORDER BY 1, 2, 3, 4, 6, booked_on;
