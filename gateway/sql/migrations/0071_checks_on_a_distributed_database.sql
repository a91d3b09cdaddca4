-- The checks of the audit as a distributed database takes them, too: what lies on its coordinator is read by itself.
-- unused since 0.1.0: check_account

-- Captured, and neither the price nor what is left of it after a correction.
CREATE OR REPLACE VIEW gateway.check_capture_above_price AS
SELECT c.shard, c.session_id
FROM gateway.capture AS c
JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id
WHERE c.state = 'succeeded'
  AND CASE WHEN 'corrected' = ANY (s.flags)
      THEN c.amount_minor - c.refunded_minor - c.disputed_minor > s.price_minor
      -- Captured by hand at the PSP, above the price, and what is above it was refunded before it was cleared.
      WHEN c.uncleared_minor > 0 AND (c.shard, c.session_id, c.psp_charge) IN (
          SELECT u.shard, u.session_id, u.psp_charge FROM gateway.unbooked_charge AS u WHERE u.session_id IS NOT NULL)
      THEN c.amount_minor - c.refunded_minor - c.disputed_minor > s.price_minor
      ELSE c.amount_minor + c.receivable_minor <> s.price_minor END;

-- The rule of funded accounts is a statement now, by account: gateway/sql/audit.sql, account_differences.
DROP VIEW gateway.check_account;
