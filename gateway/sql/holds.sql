-- Holds that need attention: about to end, waiting for the cardholder, or never completed.
-- Each list leaves out what was checked a while ago: what can't be helped never keeps the others waiting.

-- name: holds_ending
-- Card holds of running sessions that end soon.
SELECT shard, id FROM gateway.payment_authorization
WHERE shard = ANY (:shards::smallint[]) AND state = 'authorized' AND capture_before IS NOT NULL AND capture_before <= :before
  AND (next_check_at IS NULL OR next_check_at <= :now)
ORDER BY next_check_at NULLS FIRST, capture_before
LIMIT :batch;

-- name: actions_waiting
-- Authorizations that wait for the cardholder since before `since`.
SELECT shard, id FROM gateway.payment_authorization
WHERE shard = ANY (:shards::smallint[]) AND state = 'requires_action' AND updated_at <= :since AND (next_check_at IS NULL OR next_check_at <= :now)
ORDER BY next_check_at NULLS FIRST, updated_at
LIMIT :batch;

-- name: stale_sessions
-- Holds of sessions for which no CDR came by the deadline of the CPO's policy, else the platform's, else `patience`,
-- with the policy's action. What is to be captured is due before a hold ends that can't be renewed.
SELECT a.shard, a.id, coalesce(p.action, h.action, 'release') AS action
FROM gateway.payment_authorization AS a
JOIN gateway.session AS s ON s.shard = a.shard AND s.id = a.session_id
LEFT JOIN gateway.missing_cdr_policy AS p ON p.party_id = s.cpo_id
LEFT JOIN gateway.missing_cdr_policy AS h ON p.party_id IS NULL AND h.party_id = 'platform'
WHERE a.shard = ANY (:shards::smallint[]) AND a.state = 'authorized' AND s.state = 'active'
  AND (s.created_at <= :now::timestamptz
           - coalesce(make_interval(days => coalesce(p.after_days, h.after_days)), :patience::interval)
       OR (a.customer IS NULL AND a.capture_before <= :lost_by::timestamptz
           AND (coalesce(p.action, h.action) = 'last_known_cost' OR EXISTS (  -- the payer stated what is to be paid
               SELECT 1 FROM gateway.provisional_usage AS v WHERE v.shard = s.shard AND v.session_id = s.id))))
  AND NOT EXISTS (  -- a CDR came, and waits for a person
      SELECT 1 FROM gateway.stated_usage AS u
      WHERE u.shard = s.shard AND u.session_id = s.id AND u.state = 'exception')
  AND NOT EXISTS (  -- so does one whose signed meter data fail, or that can't be priced
      SELECT 1 FROM gateway.ocpi_cdr AS c
      WHERE c.session_id = s.id AND c.status = 'unpriceable')
  AND (a.next_check_at IS NULL OR a.next_check_at <= :now::timestamptz)
ORDER BY a.next_check_at NULLS FIRST, s.created_at
LIMIT :batch::int;

-- name: claim_check$
-- Claim the check of one authorization; the next one is due at `again_at`, or when its hold ends. No row: another worker
-- has claimed it.
UPDATE gateway.payment_authorization
SET next_check_at = CASE WHEN capture_before > :now::timestamptz
    THEN least(:again_at::timestamptz, capture_before) ELSE :again_at::timestamptz END
WHERE shard = :shard::smallint AND id = :id::uuid AND (next_check_at IS NULL OR next_check_at <= :now::timestamptz)
RETURNING true;

-- name: missing_cdr_policy^
-- A party's own row.
SELECT action, after_days FROM gateway.missing_cdr_policy WHERE party_id = :party_id;

-- name: set_missing_cdr_policy!
INSERT INTO gateway.missing_cdr_policy (party_id, action, after_days) VALUES (:party_id, :action, :after_days)
ON CONFLICT (party_id) DO UPDATE SET action = excluded.action, after_days = excluded.after_days;
