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

-- name: journal_csv
-- The transfers of some batches, each a row of the journal, in the order of booking.
SELECT (:offset::bigint) + row_number() OVER (
           ORDER BY b.booked_at, b.chain, b.position, e.shard, e.subject_id, e.kind, e.reference, t.ordinal) AS line,
       to_char(b.booked_at AT TIME ZONE (:zone::text), 'YYYY-MM-DD') AS booked_on, e.kind, e.subject_id AS subject,
       CASE WHEN e.reference ~ '^\s*[-=+@|%]' THEN '''' ELSE '' END || e.reference AS reference,
       debit.number AS debit_account, debit.path AS debit_path, credit.number AS credit_account, credit.path AS credit_path,
       CASE digits.places WHEN 0 THEN t.amount_minor::text
           ELSE (t.amount_minor / digits.factor) || (:point::text)
               || lpad((t.amount_minor % digits.factor)::text, digits.places, '0') END AS amount,
       t.currency,
       CASE WHEN rate.rate IS NULL THEN '' ELSE replace(round(
           t.amount_minor * rate.rate / digits.factor, (:places::integer))::text, '.', (:point::text)) END AS reporting_amount,
       CASE WHEN rate.rate IS NULL THEN '' ELSE (:reporting::text) END AS reporting_currency,
       coalesce(rate.source, '') AS rate_source, coalesce(nullif(debit.vat_code, ''), credit.vat_code) AS vat_code,
       coalesce(nullif(debit.party, ''), nullif(credit.party, ''), e.cpo_id, '') AS counterparty,
       coalesce(e.cdr_id, '') AS cdr_id, coalesce(e.psp_object_id, '') AS psp_object, b.chain, b.position
FROM clearing.batch AS b
JOIN clearing.entry AS e ON e.batch_id = b.id
JOIN clearing.transfer AS t USING (shard, subject_id, kind, reference)
JOIN unnest(:paths::text[], :numbers::text[], :vat_codes::text[], :parties::text[]) AS debit (path, number, vat_code, party)
    ON debit.path = t.debit_account
JOIN unnest(:paths::text[], :numbers::text[], :vat_codes::text[], :parties::text[]) AS credit (path, number, vat_code, party)
    ON credit.path = t.credit_account
JOIN unnest(:currencies::text[], :digits::integer[], :factors::bigint[]) AS digits (currency, places, factor)
    ON digits.currency = t.currency
LEFT JOIN unnest(:rate_currencies::text[], :rate_days::date[], :rates::numeric[], :rate_sources::text[])
    AS rate (currency, day, rate, source)
    ON rate.currency = t.currency AND rate.day = (b.booked_at AT TIME ZONE (:zone::text))::date
WHERE b.id = ANY(:batches::uuid[])
ORDER BY 1;

-- name: journal_rows
-- As above, with amounts in minor units.
SELECT b.booked_at, (b.booked_at AT TIME ZONE (:zone::text))::date AS booked_on, b.id AS batch_id, e.kind, e.subject_id, e.reference,
       t.ordinal, t.debit_account, t.credit_account, t.amount_minor, t.currency, coalesce(e.cpo_id, '') AS cpo_id,
       coalesce(e.cdr_id, '') AS cdr_id
FROM clearing.batch AS b
JOIN clearing.entry AS e ON e.batch_id = b.id
JOIN clearing.transfer AS t USING (shard, subject_id, kind, reference)
WHERE b.id = ANY(:batches::uuid[])
ORDER BY b.booked_at, b.chain, b.position, e.shard, e.subject_id, e.kind, e.reference, t.ordinal;

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
