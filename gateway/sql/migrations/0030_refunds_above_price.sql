-- What was captured above the price and refunded was never in the ledger: clearing leaves it out
-- (capture.uncleared_minor). A refund may be of that part, of the price, or of both: what it refunds of that part
-- stands with it.
ALTER TABLE gateway.refund
    ADD COLUMN unposted_minor bigint NOT NULL DEFAULT 0 CHECK (unposted_minor BETWEEN 0 AND amount_minor);

-- Of sessions that were cleared before: the earliest refunds are of what was left out.
WITH refunded AS (
    SELECT r.shard, r.id, r.amount_minor, c.uncleared_minor,
           coalesce(sum(r.amount_minor) OVER (
               PARTITION BY r.shard, r.session_id ORDER BY r.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
           ), 0) AS before_minor
    FROM gateway.refund AS r
    JOIN gateway.capture AS c ON c.shard = r.shard AND c.session_id = r.session_id AND c.uncleared_minor > 0
    JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id AND s.state = 'cleared'
    WHERE r.state = 'succeeded'
)
UPDATE gateway.refund AS r
SET unposted_minor = least(refunded.amount_minor, refunded.uncleared_minor - refunded.before_minor)
FROM refunded
WHERE r.shard = refunded.shard AND r.id = refunded.id AND refunded.before_minor < refunded.uncleared_minor;
