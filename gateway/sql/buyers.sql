-- Buyers of a party, and the buyer of a session.

-- name: insert_buyer!
INSERT INTO gateway.buyer (id, party_id, created_at) VALUES (:id, :party_id, :now) ON CONFLICT DO NOTHING;

-- name: find_buyer^
SELECT id, created_at FROM gateway.buyer WHERE id = :id AND party_id = :party_id;

-- name: list_buyers
SELECT id, created_at FROM gateway.buyer
WHERE party_id = :party_id AND (:before::text IS NULL OR id < :before) ORDER BY id DESC LIMIT :row_limit::integer;

-- name: set_buyer$
-- Only a buyer of the party. The caller has locked the session.
INSERT INTO gateway.session_buyer AS known (shard, session_id, buyer_id, set_at)
SELECT :shard, :session_id, b.id, :now::timestamptz FROM gateway.buyer AS b
WHERE b.id = :buyer_id AND b.party_id = :party_id
ON CONFLICT (shard, session_id) DO UPDATE SET buyer_id = excluded.buyer_id, set_at = excluded.set_at
RETURNING known.buyer_id;

-- name: lock_session$
-- Locked until the transaction ends, so that it is not cleared meanwhile.
SELECT state FROM gateway.session WHERE shard = :shard AND id = :session_id AND demand_partner_id = :party_id FOR UPDATE;

-- name: buyer_of$
SELECT buyer_id FROM gateway.session_buyer WHERE shard = :shard AND session_id = :session_id;

-- name: insert_named_buyer$
-- The buyer that was named so before, else this one.
INSERT INTO gateway.buyer AS known (id, party_id, created_at, named_sha256) VALUES (:id, :party_id, :now, :named_sha256)
ON CONFLICT (party_id, named_sha256) DO UPDATE SET named_sha256 = excluded.named_sha256
RETURNING known.id;

-- name: named_session^
-- The session behind the link of a receipt, and the token in that link.
SELECT s.demand_partner_id AS party_id, s.state, s.ended_at, r.token
FROM gateway.receipt_link AS r JOIN gateway.session AS s ON s.shard = r.shard AND s.id = r.session_id
WHERE r.shard = :shard AND r.session_id = :session_id;

-- name: insert_invoice_link!
INSERT INTO gateway.invoice_link (shard, session_id, buyer_id, token, created_at)
VALUES (:shard, :session_id, :buyer_id, :token, :now);

-- name: invoice_link^
SELECT buyer_id, token FROM gateway.invoice_link WHERE shard = :shard AND session_id = :session_id;
