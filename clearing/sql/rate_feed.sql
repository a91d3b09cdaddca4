-- Asking for published rates, and what waits for them.

-- name: lease$
-- The right to ask now, until :until; failures in a row so far. No row: it is not time, or another worker asks.
INSERT INTO clearing.rate_feed AS known (source, next_at) VALUES (:source, :until::timestamptz)
ON CONFLICT (source) DO UPDATE SET next_at = excluded.next_at WHERE known.next_at <= :wall_now::timestamptz
RETURNING failures;

-- name: conclude!
UPDATE clearing.rate_feed SET next_at = :next_at::timestamptz, failures = :failures::smallint, problem = :problem,
    answered_at = CASE WHEN :answered::boolean THEN :wall_now::timestamptz ELSE answered_at END
WHERE source = :source;

-- name: last_answer^
-- A problem without a failure: a file that was read, with rates that await a person's word.
SELECT problem, failures FROM clearing.rate_feed WHERE source = :source;

-- name: newest_rate$
SELECT max(rate_date) FROM clearing.fx_rate;

-- name: is_exchanging$
SELECT EXISTS (SELECT FROM clearing.fx_lock)
    OR EXISTS (SELECT FROM clearing.parked WHERE resolved_at IS NULL AND reason = 'rate_unavailable'
               AND detail LIKE '%reference rate%');

-- name: hold_rates!
-- One import at a time, until the transaction ends: each is judged against all before it.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.fx_rate', 0));

-- name: waiting_for_rates
-- Sessions set aside for want of a rate, before the last one came in; :margin covers a batch that was under way then.
SELECT lane, session_id FROM clearing.parked
WHERE resolved_at IS NULL AND reason = 'rate_unavailable' AND detail LIKE '%reference rate%'
  AND last_at <= (SELECT max(imported_at) FROM clearing.fx_rate) + :margin::interval
  AND (lane, session_id) > (:after_lane::smallint, :after_id::uuid)
ORDER BY lane, session_id
LIMIT :limit;
