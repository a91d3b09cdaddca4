-- A session that a worker of the release before marks as an exception while both run has no time of it, and the queue
-- finds by that time: both audits name it.

-- Captured, not cleared, and neither an exception of the queue nor with a task left to clear it.
CREATE OR REPLACE VIEW gateway.check_uncleared_capture AS
SELECT c.shard, c.session_id
FROM gateway.capture AS c
JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id
LEFT JOIN gateway.task AS t ON t.shard = c.shard AND t.session_id = c.session_id AND t.kind = 'clear_session'
WHERE c.state = 'succeeded' AND t.id IS NULL
  AND (s.state = 'completed' OR (s.state = 'exception' AND s.exception_at IS NULL));

-- Completed at a price, nothing captured, no exception of the queue, and neither a task nor an open request left.
CREATE OR REPLACE VIEW gateway.check_uncaptured_price AS
SELECT s.shard, s.id AS session_id
FROM gateway.session AS s
WHERE (s.state = 'completed' OR (s.state = 'exception' AND s.exception_at IS NULL)) AND s.price_minor > 0
  AND NOT EXISTS (
      SELECT 1 FROM gateway.capture AS c WHERE c.shard = s.shard AND c.session_id = s.id AND c.state = 'succeeded')
  AND NOT EXISTS (
      SELECT 1 FROM gateway.task AS t WHERE t.shard = s.shard AND t.session_id = s.id AND t.kind = 'capture_session')
  AND NOT EXISTS (
      SELECT 1 FROM gateway.psp_request AS k
      WHERE k.shard = s.shard AND k.session_id = s.id AND k.state IN ('intended', 'unknown'));
