-- The hand-over from capture to clearing.

-- name: shards_due
-- Shards in which a session is due to be cleared.
SELECT DISTINCT t.shard FROM gateway.task AS t
WHERE t.kind = 'clear_session' AND t.exception_at IS NULL AND t.run_at <= :wall_now::timestamptz
  AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz);

-- name: plan_by_index!
-- For the batch's transaction: plans for the tables' present size, by key. A plan that was kept from when they were
-- small reads all of a table for each batch.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('random_page_cost', '1.1', true);

-- name: is_distributed$
SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL;

-- name: lock_due
-- The first tasks of each of these shards, an equal share of each, locked until the transaction ends; what another
-- worker has locked is skipped. On one PostgreSQL.
SELECT due.* FROM unnest(:shards::smallint[]) AS given (shard)
CROSS JOIN LATERAL (
    SELECT t.shard, t.id, t.session_id, t.payload, t.attempts FROM gateway.task AS t
    WHERE t.shard = given.shard AND t.kind = 'clear_session' AND t.exception_at IS NULL AND t.run_at <= :wall_now::timestamptz
      AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz)
    ORDER BY t.run_at
    LIMIT :share::integer
    FOR UPDATE SKIP LOCKED
) AS due;

-- name: lock_due_of_shard
-- Likewise of one shard: a distributed database locks rows of no others in the same statement.
SELECT t.shard, t.id, t.session_id, t.payload, t.attempts FROM gateway.task AS t
WHERE t.shard = :shard AND t.kind = 'clear_session' AND t.exception_at IS NULL AND t.run_at <= :wall_now::timestamptz
  AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz)
ORDER BY t.run_at
LIMIT :limit::integer
FOR UPDATE SKIP LOCKED;

-- name: lock_sessions!
-- Locked before they are read, until the transaction ends: who names a buyer meanwhile waits, or is waited for.
-- On one PostgreSQL.
SELECT 1 FROM unnest(:shards::smallint[], :ids::uuid[]) AS due (shard, id)
JOIN gateway.session AS s ON s.shard = due.shard AND s.id = due.id
ORDER BY s.shard, s.id FOR NO KEY UPDATE OF s;

-- name: lock_sessions_of_shard!
SELECT 1 FROM gateway.session AS s WHERE s.shard = :shard AND s.id = ANY(:ids::uuid[])
ORDER BY s.id FOR NO KEY UPDATE;

-- name: captured_sessions
-- Everything clearing needs of the sessions named but their tariffs, which many share.
SELECT s.shard, s.id, s.cpo_id, s.demand_partner_id, a.authorization_method, a.funding, a.account_party_id, s.tax_jurisdiction, s.time_zone,
       s.ended_at, c.captured_at, c.amount_minor - c.uncleared_minor AS amount_minor,
       c.receivable_minor, s.price_minor, s.flags, c.currency, s.tariff_sha256, s.cdr_id, s.cdr, s.cdr_version, a.psp_payment, c.psp_charge, c.fee_minor, c.fee_currency,
       h.party_id AS site_host_id, e.id AS emsp_id, y.buyer_id
FROM unnest(:shards::smallint[], :ids::uuid[]) AS due (shard, id)
JOIN gateway.session AS s ON s.shard = due.shard AND s.id = due.id
JOIN gateway.capture AS c ON c.shard = s.shard AND c.session_id = s.id AND c.state = 'succeeded'
JOIN gateway.payment_authorization AS a ON a.shard = c.shard AND a.id = c.authorization_id
-- An app on top of an eMSP: the contract is the app's, the account that pays it the eMSP's.
LEFT JOIN gateway.party AS e ON e.id = a.account_party_id AND e.kind = 'emsp' AND e.id <> s.demand_partner_id
LEFT JOIN gateway.site_host AS h ON h.cpo_id = s.cpo_id AND h.location_id = s.location_id
LEFT JOIN gateway.session_buyer AS y ON y.shard = s.shard AND y.session_id = s.id
ORDER BY s.shard, s.id;

-- name: tariffs
-- Each tariff once, however many sessions it priced.
SELECT sha256, canonical, version FROM gateway.tariff_snapshot WHERE sha256 = ANY(:hashes::text[]);

-- name: published_sessions
SELECT s.* FROM unnest(:shards::smallint[], :ids::uuid[]) AS given (shard, id)
JOIN gateway.session AS s ON s.shard = given.shard AND s.id = given.id;

-- name: published_authorizations
-- Of each session the authorization that counts: the active one, else the latest.
SELECT DISTINCT ON (a.shard, a.session_id) a.* FROM unnest(:shards::smallint[], :ids::uuid[]) AS given (shard, id)
JOIN gateway.payment_authorization AS a ON a.shard = given.shard AND a.session_id = given.id
ORDER BY a.shard, a.session_id, (a.state NOT IN ('voided', 'failed')) DESC, a.id DESC;

-- name: published_captures
SELECT c.* FROM unnest(:shards::smallint[], :ids::uuid[]) AS given (shard, id)
JOIN gateway.capture AS c ON c.shard = given.shard AND c.session_id = given.id;

-- name: mark_sessions!
UPDATE gateway.session AS s SET state = due.state,
    flags = CASE WHEN due.flag = '' THEN s.flags ELSE array_append(s.flags, due.flag) END, updated_at = :now::timestamptz
FROM (
    SELECT unnest(:shards::smallint[]) AS shard, unnest(:ids::uuid[]) AS id,
           unnest(:states::text[]) AS state, unnest(:flags::text[]) AS flag
) AS due
WHERE s.shard = due.shard AND s.id = due.id AND s.state IN ('completed', 'exception');
