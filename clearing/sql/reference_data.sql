-- Exchange rates, and the epochs by which caches see that reference data changed.

-- name: epochs
SELECT name, epoch FROM clearing.reference_epoch;

-- name: renew_epoch!
UPDATE clearing.reference_epoch SET epoch = gen_random_uuid() WHERE name = :name;

-- name: insert_rates$
WITH added AS (
    INSERT INTO clearing.fx_rate (base, quote, rate_date, rate, source, imported_at)
    SELECT base, quote, rate_date, rate, source, :now::timestamptz
    FROM unnest(:bases::text[], :quotes::text[], :days::date[], :rates::numeric[], :sources::text[])
        AS published (base, quote, rate_date, rate, source)
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM added;

-- name: rates
SELECT base, quote, rate_date, rate, source FROM clearing.fx_rate ORDER BY quote, rate_date, source;

-- name: rates_between
SELECT base, quote, rate_date, rate, source FROM clearing.fx_rate
WHERE rate_date BETWEEN :first_day AND :last_day ORDER BY quote, rate_date, source;
