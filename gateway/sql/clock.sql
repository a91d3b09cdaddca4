-- The market's business clock: one row once a market was opened.

-- name: market_anchor^
-- What business time it was at which wall time, and how fast it has run since.
SELECT business_at, anchored_at, rate
FROM gateway.market_clock;
