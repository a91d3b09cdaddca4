-- When published rates are fetched, and what waits for them.

-- name: lease_feed$
-- The right to fetch until :until; answers the failures in a row so far. No row: it is not due, or another worker fetches.
INSERT INTO clearing.rate_feed AS known (source, next_at) VALUES (:source, :until::timestamptz)
ON CONFLICT (source) DO UPDATE SET next_at = excluded.next_at WHERE known.next_at <= :wall_now::timestamptz
RETURNING failures;

-- name: record_fetch!
UPDATE clearing.rate_feed SET next_at = :next_at::timestamptz, failures = :failures::smallint, problem = :problem,
    answered_at = CASE WHEN :answered::boolean THEN :wall_now::timestamptz ELSE answered_at END
WHERE source = :source;

-- name: last_fetch^
-- A problem without a failure: a file that was read, with rates that a person has to confirm.
SELECT problem, failures FROM clearing.rate_feed WHERE source = :source;

-- name: newest_rate$
SELECT max(rate_date) FROM clearing.fx_rate;

-- name: uses_exchange$
SELECT EXISTS (SELECT 1 FROM clearing.fx_lock)
    OR EXISTS (SELECT 1 FROM clearing.session_exception WHERE resolved_at IS NULL AND reason = 'rate_unavailable'
               AND detail LIKE '%reference rate%');

-- name: lock_rates!
-- One import at a time, until the transaction ends: each is checked against all before it.
SELECT pg_advisory_xact_lock(hashtextextended('clearing.fx_rate', 0));

-- name: waiting_for_rates
-- Sessions whose clearing stopped because a rate was missing, before the last import; :margin covers a batch under way then.
SELECT shard, session_id FROM clearing.session_exception
WHERE resolved_at IS NULL AND reason = 'rate_unavailable' AND detail LIKE '%reference rate%'
  AND last_at <= (SELECT max(imported_at) FROM clearing.fx_rate) + :margin::interval
  AND (shard, session_id) > (:after_shard::smallint, :after_id::uuid)
ORDER BY shard, session_id
LIMIT :limit;

-- name: booked_conversions
-- Which of these conversions of the PSP are booked.
SELECT e.subject_id FROM clearing.entry AS e
JOIN unnest(:shards::smallint[], :subjects::uuid[]) AS asked (shard, subject_id) USING (shard, subject_id)
WHERE e.kind = 'psp_conversion';
