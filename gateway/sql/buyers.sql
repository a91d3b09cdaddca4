-- Buyers of a party, and the buyer of a session.

-- name: insert_buyer!
INSERT INTO gateway.buyer (id, party_id, created_at) VALUES (:id, :party_id, :now) ON CONFLICT DO NOTHING;

-- name: find_buyer^
SELECT id, created_at FROM gateway.buyer WHERE id = :id AND party_id = :party_id;

-- name: list_buyers
SELECT id, created_at FROM gateway.buyer
WHERE party_id = :party_id AND (:before::text IS NULL OR id < :before) ORDER BY id DESC LIMIT :row_limit::integer;

-- name: set_buyer$
-- Only a buyer of the party; only while the session is not cleared.
INSERT INTO gateway.session_buyer AS known (shard, session_id, buyer_id, set_at)
SELECT :shard, :session_id, b.id, :now::timestamptz FROM gateway.buyer AS b
WHERE b.id = :buyer_id AND b.party_id = :party_id
  AND NOT EXISTS (SELECT FROM gateway.session AS s
                  WHERE s.shard = :shard AND s.id = :session_id AND s.state IN ('cleared', 'cancelled'))
ON CONFLICT (shard, session_id) DO UPDATE SET buyer_id = excluded.buyer_id, set_at = excluded.set_at
RETURNING known.buyer_id;

-- name: lock_session$
-- Locked until the transaction ends, so that it is not cleared meanwhile.
SELECT state FROM gateway.session WHERE shard = :shard AND id = :session_id AND demand_partner_id = :party_id FOR UPDATE;
