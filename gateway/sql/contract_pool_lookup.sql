-- Contract pools that are asked: whom, and how far the present round has come.

-- name: put_lookup!
INSERT INTO gateway.contract_pool_lookup
    (feed_id, url, token_url, audience, client_id, client_secret, encryption_key, next_at)
VALUES (:feed_id, :url, :token_url, :audience, :client_id, :client_secret, :encryption_key, :next_at)
ON CONFLICT (feed_id) DO UPDATE
SET url = excluded.url, token_url = excluded.token_url, audience = excluded.audience, client_id = excluded.client_id,
    client_secret = excluded.client_secret, encryption_key = excluded.encryption_key, next_at = excluded.next_at,
    failures = 0, problem = '';

-- name: delete_lookup!
DELETE FROM gateway.contract_pool_lookup WHERE feed_id = :feed_id;

-- name: find_lookup^
SELECT l.*, f.party_id, f.protocol FROM gateway.contract_pool_lookup AS l
JOIN gateway.contract_pool_feed AS f ON f.id = l.feed_id
WHERE l.feed_id = :feed_id;

-- name: lease_lookup^
-- The lookup that has been due the longest, of a feed that is on; nobody else takes it until the lease ends.
UPDATE gateway.contract_pool_lookup AS l SET next_at = :leased_until
FROM gateway.contract_pool_feed AS f
WHERE f.id = l.feed_id AND l.feed_id = (
    SELECT d.feed_id FROM gateway.contract_pool_lookup AS d
    JOIN gateway.contract_pool_feed AS e ON e.id = d.feed_id
    WHERE d.next_at <= :wall_now AND e.enabled
    ORDER BY d.next_at LIMIT 1
    FOR NO KEY UPDATE OF d SKIP LOCKED)
RETURNING l.*, f.party_id, f.protocol;

-- name: move_lookup$
-- No row when another process, or a change of the feed, has moved it.
UPDATE gateway.contract_pool_lookup
SET after_emaid = :after_emaid, next_at = :next_at, failures = 0, problem = '',
    finished_at = coalesce(:finished_at, finished_at)
WHERE feed_id = :feed_id AND after_emaid = :before_emaid AND url = :url
RETURNING feed_id;

-- name: postpone_lookup!
UPDATE gateway.contract_pool_lookup
SET next_at = :next_at, failures = failures + 1, problem = :problem
WHERE feed_id = :feed_id AND after_emaid = :before_emaid AND url = :url;

-- name: lookups_encrypted_with_other_key
SELECT feed_id, client_secret, encryption_key FROM gateway.contract_pool_lookup
WHERE encryption_key IS DISTINCT FROM :key
ORDER BY feed_id FOR NO KEY UPDATE;

-- name: put_lookup_secret!
UPDATE gateway.contract_pool_lookup SET client_secret = :client_secret, encryption_key = :encryption_key
WHERE feed_id = :feed_id;
