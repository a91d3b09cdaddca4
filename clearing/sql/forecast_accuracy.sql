-- The forecast of each day, and its error against what was paid.

-- name: start_run^
-- One run a day; no row: there was one.
INSERT INTO clearing.forecast_run (forecast_on, ran_at) VALUES (:day, :now) ON CONFLICT DO NOTHING RETURNING forecast_on;

-- name: delete_snapshots!
DELETE FROM clearing.forecast_snapshot WHERE forecast_on < :day;

-- name: delete_errors!
DELETE FROM clearing.forecast_error WHERE pay_on >= :since::date;

-- name: measure!
-- For every day since: the last forecast before it, and the forecast made as many clearing days ahead as the party's terms,
-- against what was paid. A disbursement that no forecast had counts in full, and so does a forecast one that was not paid.
WITH day AS (
    SELECT d::date AS pay_on, (SELECT max(forecast_on) FROM clearing.forecast_run WHERE forecast_on < d::date) AS forecast_on
    FROM generate_series(:since::date, :until::date - 1, interval '1 day') AS d
), paid AS (
    SELECT d.party_id, d.currency, d.period AS pay_on, sum(d.amount_minor) AS minor
    FROM clearing.disbursement AS d
    WHERE d.state IN ('paid', 'returned') AND d.period >= :since::date AND d.period < :until::date
    GROUP BY d.party_id, d.currency, d.period
), last_forecast AS (
    SELECT s.party_id, s.currency, s.pay_on, s.amount_minor AS minor
    FROM day JOIN clearing.forecast_snapshot AS s ON s.forecast_on = day.forecast_on AND s.pay_on = day.pay_on
), compared AS (
    SELECT 'day' AS ahead, coalesce(p.pay_on, s.pay_on) AS pay_on, coalesce(p.currency, s.currency) AS currency,
           coalesce(p.minor, 0) AS paid, coalesce(s.minor, 0) AS forecast
    FROM (SELECT paid.* FROM paid JOIN day USING (pay_on) WHERE day.forecast_on IS NOT NULL) AS p
    FULL JOIN last_forecast AS s USING (party_id, currency, pay_on)
    UNION ALL
    SELECT 'terms', s.pay_on, s.currency, coalesce(p.minor, 0), s.amount_minor
    FROM clearing.forecast_snapshot AS s JOIN clearing.party AS party ON party.id = s.party_id AND s.days_ahead = party.terms_days
    LEFT JOIN paid AS p USING (party_id, currency, pay_on)
    WHERE s.pay_on >= :since::date AND s.pay_on < :until::date
)
INSERT INTO clearing.forecast_error (pay_on, ahead, currency, error_minor, paid_minor, payments)
SELECT pay_on, ahead, currency, sum(abs(paid - forecast)), sum(paid), count(*) FROM compared GROUP BY pay_on, ahead, currency;

-- name: days
-- Each day's last forecast before it, beside what was paid on it: by party and currency, the latest day first.
WITH day AS (
    SELECT d::date AS pay_on, (SELECT max(forecast_on) FROM clearing.forecast_run WHERE forecast_on < d::date) AS forecast_on
    FROM generate_series(:since::date, :until::date - 1, interval '1 day') AS d
), paid AS (
    SELECT d.party_id, d.currency, d.period AS pay_on, sum(d.amount_minor) AS minor
    FROM clearing.disbursement AS d
    WHERE d.state IN ('paid', 'returned') AND d.period >= :since::date AND d.period < :until::date
      AND (:party_id::text IS NULL OR d.party_id = :party_id::text)
    GROUP BY d.party_id, d.currency, d.period
), expected AS (
    SELECT s.party_id, s.currency, s.pay_on, s.amount_minor AS minor
    FROM day JOIN clearing.forecast_snapshot AS s ON s.forecast_on = day.forecast_on AND s.pay_on = day.pay_on
    WHERE :party_id::text IS NULL OR s.party_id = :party_id::text
)
SELECT pay_on AS day, party_id, currency, expected.minor::bigint AS forecast_minor, coalesce(paid.minor, 0)::bigint AS actual_minor
FROM paid FULL JOIN expected USING (party_id, currency, pay_on)
ORDER BY pay_on DESC, party_id, currency;

-- name: errors
SELECT ahead, currency, sum(error_minor)::bigint AS error_minor, sum(paid_minor)::bigint AS paid_minor,
       sum(payments)::bigint AS payments
FROM clearing.forecast_error WHERE pay_on >= :since AND pay_on < :until
GROUP BY ahead, currency ORDER BY ahead, currency;
