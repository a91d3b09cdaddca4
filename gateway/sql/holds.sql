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
WITH policy AS MATERIALIZED (
    SELECT p.party_id, p.action, make_interval(days => p.after_days) AS after FROM gateway.missing_cdr_policy AS p
), waiting AS MATERIALIZED (  -- a CDR whose signed meter data fail, or that has no price
    SELECT c.session_id FROM gateway.ocpi_cdr AS c WHERE c.status = 'unpriceable' AND c.session_id IS NOT NULL
)
SELECT a.shard, a.id, coalesce(p.action, h.action, 'release') AS action
FROM gateway.payment_authorization AS a
JOIN gateway.session AS s ON s.shard = a.shard AND s.id = a.session_id
LEFT JOIN policy AS p ON p.party_id = s.cpo_id
LEFT JOIN policy AS h ON h.party_id = 'platform' AND p.party_id IS NULL
LEFT JOIN waiting AS w ON w.session_id = s.id
LEFT JOIN gateway.stated_usage AS u ON u.shard = s.shard AND u.session_id = s.id AND u.state = 'exception'
LEFT JOIN gateway.provisional_usage AS v ON v.shard = s.shard AND v.session_id = s.id
WHERE a.shard = ANY (:shards::smallint[]) AND a.state = 'authorized' AND s.state = 'active'
  AND (s.created_at <= :now::timestamptz - coalesce(p.after, h.after, :patience::interval)
       OR (a.customer IS NULL AND a.capture_before <= :lost_by::timestamptz
           AND (coalesce(p.action, h.action) = 'last_known_cost'
                OR v.session_id IS NOT NULL)))  -- the payer stated what is to be paid
  AND u.session_id IS NULL AND w.session_id IS NULL  -- a CDR came, and waits for a person
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
