-- The hand-over from capture to clearing.

-- name: captured_sessions
-- Everything clearing needs of the sessions named, in one read.
SELECT s.lane, s.id, s.cpo_id, s.demand_partner_id, a.rail, a.funding, a.account_party_id, s.territory, s.time_zone,
       s.ended_at, c.captured_at, c.amount_minor, c.receivable_minor, s.price_minor, c.currency, s.tariff_sha256,
       t.canonical, t.version, s.cdr_id, s.cdr, s.cdr_version, a.psp_payment, c.psp_charge, c.fee_minor, c.fee_currency,
       h.party_id AS site_host_id, e.id AS emsp_id
FROM unnest(:lanes::smallint[], :ids::uuid[]) AS due (lane, id)
JOIN gateway.session AS s ON s.lane = due.lane AND s.id = due.id
JOIN gateway.capture AS c ON c.lane = s.lane AND c.session_id = s.id AND c.state = 'succeeded'
JOIN gateway.payment_authorization AS a ON a.lane = c.lane AND a.id = c.authorization_id
JOIN gateway.tariff_snapshot AS t ON t.sha256 = s.tariff_sha256
-- An app on top of an eMSP: the contract is the app's, the account that pays it the eMSP's.
LEFT JOIN gateway.party AS e ON e.id = a.account_party_id AND e.kind = 'emsp' AND e.id <> s.demand_partner_id
LEFT JOIN gateway.site_host AS h ON h.cpo_id = s.cpo_id AND h.location_id = s.location_id
ORDER BY s.lane, s.id;

-- name: mark_sessions!
UPDATE gateway.session AS s SET state = due.state,
    flags = CASE WHEN due.flag = '' THEN s.flags ELSE array_append(s.flags, due.flag) END, updated_at = :now::timestamptz
FROM (
    SELECT unnest(:lanes::smallint[]) AS lane, unnest(:ids::uuid[]) AS id,
           unnest(:states::text[]) AS state, unnest(:flags::text[]) AS flag
) AS due
WHERE s.lane = due.lane AND s.id = due.id AND s.state IN ('completed', 'parked');

-- name: insert_events!
INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at)
SELECT e.lane, e.id, e.party_id, e.type, e.object_id, e.data, :now::timestamptz
FROM jsonb_to_recordset(:events::jsonb)
    AS e (lane smallint, id uuid, party_id text, type text, object_id text, data jsonb);
