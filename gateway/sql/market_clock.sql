-- The market's business clock: one row once a market was opened.

-- name: market_anchor^
-- What business time it was at which wall time, and how fast it has run since.
SELECT business_at, anchored_at, rate
FROM gateway.market_clock;

-- Business time is set, never turned back: a row that would be earlier than the running clock is not written.
-- name: set_market_clock^
INSERT INTO gateway.market_clock AS clock (singleton, business_at, anchored_at, rate)
VALUES (true, :business_at, :anchored_at, :rate)
ON CONFLICT (singleton) DO UPDATE
SET business_at = excluded.business_at, anchored_at = excluded.anchored_at, rate = excluded.rate
WHERE excluded.business_at >= clock.business_at
    + greatest(excluded.anchored_at - clock.anchored_at, interval '0') * clock.rate
RETURNING business_at, anchored_at, rate;
