-- The forecast of a day, kept, and held against what was paid when the day had come.

-- name: take^
-- One snapshot a day; no row: it was taken before.
INSERT INTO clearing.forecast_taken (taken_on, taken_at) VALUES (:day, :now) ON CONFLICT DO NOTHING RETURNING taken_on;

-- name: forget!
DELETE FROM clearing.forecast_snapshot WHERE taken_on < :day;

-- name: forget_errors!
DELETE FROM clearing.forecast_error WHERE pay_on >= :since::date;

-- name: measure!
-- For every day that has come since: what the last forecast before it said, and the one made as many clearing days ahead as
-- the party's terms, against what was paid. A payment that no forecast knew counts in full, and so does one that was not made.
WITH day AS (
    SELECT d::date AS pay_on, (SELECT max(taken_on) FROM clearing.forecast_taken WHERE taken_on < d::date) AS taken_on
    FROM generate_series(:since::date, :until::date - 1, interval '1 day') AS d
), paid AS (
    SELECT d.party_id, d.currency, d.period AS pay_on, sum(d.amount_minor) AS minor
    FROM clearing.disbursement AS d
    WHERE d.state IN ('paid', 'returned') AND d.period >= :since::date AND d.period < :until::date
    GROUP BY d.party_id, d.currency, d.period
), last_said AS (
    SELECT s.party_id, s.currency, s.pay_on, s.amount_minor AS minor
    FROM day JOIN clearing.forecast_snapshot AS s ON s.taken_on = day.taken_on AND s.pay_on = day.pay_on
), told AS (
    SELECT 'day' AS ahead, coalesce(p.pay_on, s.pay_on) AS pay_on, coalesce(p.currency, s.currency) AS currency, coalesce(p.minor, 0) AS paid, coalesce(s.minor, 0) AS said
    FROM (SELECT paid.* FROM paid JOIN day USING (pay_on) WHERE day.taken_on IS NOT NULL) AS p
    FULL JOIN last_said AS s USING (party_id, currency, pay_on)
    UNION ALL
    SELECT 'terms', s.pay_on, s.currency, coalesce(p.minor, 0), s.amount_minor
    FROM clearing.forecast_snapshot AS s JOIN clearing.party AS party ON party.id = s.party_id AND s.days_ahead = party.terms_days
    LEFT JOIN paid AS p USING (party_id, currency, pay_on)
    WHERE s.pay_on >= :since::date AND s.pay_on < :until::date
)
INSERT INTO clearing.forecast_error (pay_on, ahead, currency, error_minor, paid_minor, payments)
SELECT pay_on, ahead, currency, sum(abs(paid - said)), sum(paid), count(*) FROM told GROUP BY pay_on, ahead, currency;

-- name: errors
SELECT ahead, currency, sum(error_minor)::bigint AS error_minor, sum(paid_minor)::bigint AS paid_minor,
       sum(payments)::bigint AS payments
FROM clearing.forecast_error WHERE pay_on >= :since AND pay_on < :until
GROUP BY ahead, currency ORDER BY ahead, currency;
