-- The hand-over from capture to clearing.

-- name: plan_by_index!
-- For the batch's transaction: plans for the tables' present size, by key. A plan that was kept from when they were
-- small reads all of a table for each batch.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('random_page_cost', '1.1', true);

-- name: find_due
-- Tasks that are due in these shards, as many as a batch has; nothing is locked. The index gives one shard after another.
SELECT shard, id, session_id, payload, attempts, leased_until FROM gateway.task
WHERE shard = ANY (:shards::smallint[]) AND kind = 'clear_session' AND exception_at IS NULL
  AND run_at <= :wall_now::timestamptz AND (leased_until IS NULL OR leased_until <= :wall_now::timestamptz)
LIMIT :batch::integer;

-- name: take
-- The tasks of a batch, deleted with all that the batch writes or not at all: who else wants one waits until then. Left
-- out is what is gone, leased, or in a shard that has another fencing number by now.
DELETE FROM gateway.task AS t
USING unnest(:shards::smallint[], :ids::uuid[], :fences::bigint[]) AS due (shard, id, fence)
JOIN gateway.shard_lease AS l ON l.shard = due.shard AND l.fence = due.fence  -- shards of l
WHERE t.shard = due.shard AND t.id = due.id  -- shards of t
  AND t.kind = 'clear_session' AND t.exception_at IS NULL
  AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz)
RETURNING t.id;

-- name: lock_sessions_of_shard!
-- As below: a distributed database locks rows of one shard in a statement.
SELECT 1 FROM gateway.session AS s WHERE s.shard = :shard AND s.id = ANY(:ids::uuid[])
ORDER BY s.id FOR NO KEY UPDATE;

-- name: lock_sessions!
-- Locked before they are read, until the transaction ends: who names a buyer meanwhile waits, or is waited for.
SELECT 1 FROM unnest(:shards::smallint[], :ids::uuid[]) AS due (shard, id)
JOIN gateway.session AS s ON s.shard = due.shard AND s.id = due.id
ORDER BY s.shard, s.id FOR NO KEY UPDATE OF s;

-- name: captured_sessions
-- Everything clearing needs of the sessions named but their tariffs, which many share.
SELECT s.shard, s.id, s.cpo_id, s.demand_partner_id, a.authorization_method, a.funding, a.account_party_id, s.tax_jurisdiction, s.time_zone,
       s.ended_at, c.captured_at, c.amount_minor - c.uncleared_minor AS amount_minor,
       c.receivable_minor, s.price_minor, s.flags, c.currency, s.tariff_sha256, s.cdr_id, s.cdr, s.cdr_version, a.psp_payment, c.psp_charge, c.fee_minor, c.fee_currency,
       h.party_id AS site_host_id, e.id AS emsp_id, y.buyer_id
FROM unnest(:shards::smallint[], :ids::uuid[]) AS due (shard, id)
JOIN gateway.session AS s ON s.shard = due.shard AND s.id = due.id  -- shards of s
JOIN gateway.capture AS c ON c.shard = s.shard AND c.session_id = s.id AND c.state = 'succeeded'  -- shards of c
JOIN gateway.payment_authorization AS a ON a.shard = c.shard AND a.id = c.authorization_id  -- shards of a
-- An app on top of an eMSP: the contract is the app's, the account that pays it the eMSP's.
LEFT JOIN gateway.party AS e ON e.id = a.account_party_id AND e.kind = 'emsp' AND e.id <> s.demand_partner_id
LEFT JOIN gateway.site_host AS h ON h.cpo_id = s.cpo_id AND h.location_id = s.location_id
LEFT JOIN gateway.session_buyer AS y ON y.shard = s.shard AND y.session_id = s.id  -- shards of y
ORDER BY s.shard, s.id;

-- name: published_sessions
SELECT s.* FROM unnest(:shards::smallint[], :ids::uuid[]) AS given (shard, id)
JOIN gateway.session AS s ON s.shard = given.shard AND s.id = given.id  -- shards of s
;

-- name: published_authorizations
-- Of each session the authorization that counts: the active one, else the latest.
SELECT DISTINCT ON (a.shard, a.session_id) a.* FROM unnest(:shards::smallint[], :ids::uuid[]) AS given (shard, id)
JOIN gateway.payment_authorization AS a ON a.shard = given.shard AND a.session_id = given.id  -- shards of a
ORDER BY a.shard, a.session_id, (a.state NOT IN ('voided', 'failed')) DESC, a.id DESC;

-- name: published_captures
SELECT c.* FROM unnest(:shards::smallint[], :ids::uuid[]) AS given (shard, id)
JOIN gateway.capture AS c ON c.shard = given.shard AND c.session_id = given.id  -- shards of c
;

-- name: mark_sessions
-- Of a cleared session the state changes alone, which stands in no index: the smallest of updates. Returns the
-- sessions as they are now; one that is in another state is left as it is.
UPDATE gateway.session AS s SET state = due.state,
    flags = CASE WHEN due.flag = '' THEN s.flags ELSE array_append(s.flags, due.flag) END,
    updated_at = CASE WHEN due.state = 'exception' THEN :now::timestamptz ELSE s.updated_at END,
    exception_at = CASE WHEN due.state = 'exception' THEN :now::timestamptz END
FROM (
    SELECT unnest(:shards::smallint[]) AS shard, unnest(:ids::uuid[]) AS id,
           unnest(:states::text[]) AS state, unnest(:flags::text[]) AS flag
) AS due
WHERE s.shard = due.shard AND s.id = due.id AND s.state IN ('completed', 'exception')  -- shards of s
RETURNING s.*;
