-- The hand-over from capture to clearing.

-- name: lanes_due
-- Lanes in which a session waits to be cleared: a look into the index for each lane, however many wait.
SELECT lane::smallint AS lane FROM generate_series(0, 63) AS lane
WHERE EXISTS (
    SELECT FROM gateway.task AS t
    WHERE t.lane = lane::smallint AND t.kind = 'clear' AND t.parked_at IS NULL AND t.run_at <= :wall_now::timestamptz
      AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz));

-- name: plan_anew!
-- For the batch's transaction: plans for the tables' present size, by key. A plan that was kept from when they were
-- small reads all of a table for each batch.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('random_page_cost', '1.1', true);

-- name: take_due
-- The first errands of each of these lanes, an equal share of each, held until the transaction ends; what another
-- worker holds is passed over. A database that is distributed by lane is given one lane.
SELECT due.* FROM unnest(:lanes::smallint[]) AS given (lane)
CROSS JOIN LATERAL (
    SELECT t.lane, t.id, t.session_id, t.payload, t.attempts FROM gateway.task AS t
    WHERE t.lane = given.lane AND t.kind = 'clear' AND t.parked_at IS NULL AND t.run_at <= :wall_now::timestamptz
      AND (t.leased_until IS NULL OR t.leased_until <= :wall_now::timestamptz)
    ORDER BY t.run_at
    LIMIT :share::integer
    FOR UPDATE SKIP LOCKED
) AS due;

-- name: captured_sessions
-- Everything clearing needs of the sessions named but their tariffs, which many share.
SELECT s.lane, s.id, s.cpo_id, s.demand_partner_id, a.rail, a.funding, a.account_party_id, s.territory, s.time_zone,
       s.ended_at, c.captured_at, c.amount_minor - c.uncleared_minor AS amount_minor, c.uncleared_minor,
       c.receivable_minor, s.price_minor, c.currency, s.tariff_sha256, s.cdr_id, s.cdr, s.cdr_version, a.psp_payment, c.psp_charge, c.fee_minor, c.fee_currency,
       h.party_id AS site_host_id, e.id AS emsp_id
FROM unnest(:lanes::smallint[], :ids::uuid[]) AS due (lane, id)
JOIN gateway.session AS s ON s.lane = due.lane AND s.id = due.id
JOIN gateway.capture AS c ON c.lane = s.lane AND c.session_id = s.id AND c.state = 'succeeded'
JOIN gateway.payment_authorization AS a ON a.lane = c.lane AND a.id = c.authorization_id
-- An app on top of an eMSP: the contract is the app's, the account that pays it the eMSP's.
LEFT JOIN gateway.party AS e ON e.id = a.account_party_id AND e.kind = 'emsp' AND e.id <> s.demand_partner_id
LEFT JOIN gateway.site_host AS h ON h.cpo_id = s.cpo_id AND h.location_id = s.location_id
ORDER BY s.lane, s.id;

-- name: tariffs
-- Each tariff once, however many sessions it priced.
SELECT sha256, canonical, version FROM gateway.tariff_snapshot WHERE sha256 = ANY(:hashes::text[]);

-- name: told_sessions
SELECT s.* FROM unnest(:lanes::smallint[], :ids::uuid[]) AS told (lane, id)
JOIN gateway.session AS s ON s.lane = told.lane AND s.id = told.id;

-- name: told_authorizations
-- Of each session the authorization that counts: the active one, else the latest.
SELECT DISTINCT ON (a.lane, a.session_id) a.* FROM unnest(:lanes::smallint[], :ids::uuid[]) AS told (lane, id)
JOIN gateway.payment_authorization AS a ON a.lane = told.lane AND a.session_id = told.id
ORDER BY a.lane, a.session_id, (a.state NOT IN ('voided', 'failed')) DESC, a.id DESC;

-- name: told_captures
SELECT c.* FROM unnest(:lanes::smallint[], :ids::uuid[]) AS told (lane, id)
JOIN gateway.capture AS c ON c.lane = told.lane AND c.session_id = told.id;

-- name: mark_sessions!
UPDATE gateway.session AS s SET state = due.state,
    flags = CASE WHEN due.flag = '' THEN s.flags ELSE array_append(s.flags, due.flag) END, updated_at = :now::timestamptz
FROM (
    SELECT unnest(:lanes::smallint[]) AS lane, unnest(:ids::uuid[]) AS id,
           unnest(:states::text[]) AS state, unnest(:flags::text[]) AS flag
) AS due
WHERE s.lane = due.lane AND s.id = due.id AND s.state IN ('completed', 'parked');
