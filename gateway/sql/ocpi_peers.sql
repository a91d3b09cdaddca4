-- Peers: who may call us over OCPI, as whom, and how we call them.

-- name: invite_peer!
INSERT INTO gateway.ocpi_peer (id, party_id, state, token_hash, created_at)
VALUES (:id, :party_id, 'invited', :token_hash, :now);

-- name: allow_party!
INSERT INTO gateway.ocpi_peer_party (peer_id, party_id) VALUES (:peer_id, :party_id) ON CONFLICT DO NOTHING;

-- name: find_peer^
-- One of the hashes is that of the token as sent, the other that of its Base64 decoding.
SELECT p.id, p.party_id, p.state, p.version, p.versions_url, p.outbound_token, p.encryption_key, p.outbound_raw, p.token_hash,
       p.hub_party_id,
       ARRAY(SELECT party_id FROM gateway.ocpi_peer_party AS a WHERE a.peer_id = p.id ORDER BY party_id) AS parties
FROM gateway.ocpi_peer AS p
WHERE p.token_hash = ANY(:token_hashes::bytea[]) AND p.state <> 'ended'
LIMIT 1;

-- name: load_peer^
SELECT p.id, p.party_id, p.state, p.version, p.versions_url, p.outbound_token, p.encryption_key, p.outbound_raw, p.token_hash,
       p.hub_party_id,
       ARRAY(SELECT party_id FROM gateway.ocpi_peer_party AS a WHERE a.peer_id = p.id ORDER BY party_id) AS parties
FROM gateway.ocpi_peer AS p
WHERE p.id = :id;

-- name: peer_of_party^
-- The platform that speaks for a party now.
SELECT p.id, p.party_id, p.state, p.version, p.versions_url, p.outbound_token, p.encryption_key, p.outbound_raw, p.token_hash,
       p.hub_party_id,
       ARRAY(SELECT party_id FROM gateway.ocpi_peer_party AS a WHERE a.peer_id = p.id ORDER BY party_id) AS parties
FROM gateway.ocpi_peer AS p
JOIN gateway.ocpi_peer_party AS m ON m.peer_id = p.id
WHERE m.party_id = :party_id AND p.state = 'registered'
ORDER BY p.registered_at DESC
LIMIT 1;

-- name: registered_peers
SELECT p.id, p.party_id, p.state, p.version, p.versions_url, p.outbound_token, p.encryption_key, p.outbound_raw, p.token_hash,
       p.hub_party_id,
       ARRAY(SELECT party_id FROM gateway.ocpi_peer_party AS a WHERE a.peer_id = p.id ORDER BY party_id) AS parties
FROM gateway.ocpi_peer AS p
WHERE p.state = 'registered'
ORDER BY p.registered_at, p.id;

-- name: receiving_peers
SELECT p.id, p.party_id, p.state, p.version, p.versions_url, p.outbound_token, p.encryption_key, p.outbound_raw, p.token_hash,
       p.hub_party_id,
       ARRAY(SELECT party_id FROM gateway.ocpi_peer_party AS a WHERE a.peer_id = p.id ORDER BY party_id) AS parties
FROM gateway.ocpi_peer AS p
JOIN gateway.ocpi_peer_endpoint AS e ON e.peer_id = p.id AND e.module = :module AND e.role = 'RECEIVER'
WHERE p.state = 'registered'
ORDER BY p.registered_at, p.id;

-- name: register_peer$
-- From the state the caller saw, so that two handshakes at once can't both succeed.
UPDATE gateway.ocpi_peer
SET state = 'registered', token_hash = :token_hash, outbound_token = :outbound_token, encryption_key = :encryption_key,
    outbound_raw = :outbound_raw,
    version = :version, versions_url = :versions_url, hub_party_id = :hub_party_id, registered_at = :now
WHERE id = :id AND state = :expected_state AND token_hash = :expected_hash
RETURNING id;

-- name: expect_token$
UPDATE gateway.ocpi_peer SET token_hash = :token_hash
WHERE id = :id AND token_hash = :expected_hash AND state <> 'ended'
RETURNING id;

-- name: end_peer$
UPDATE gateway.ocpi_peer
SET state = 'ended', token_hash = NULL, outbound_token = NULL, encryption_key = NULL, ended_at = :now
WHERE id = :id AND state <> 'ended'
RETURNING id;

-- name: end_predecessors!
-- A party speaks through one platform: the newest registration ends the earlier ones of the same invited party.
UPDATE gateway.ocpi_peer
SET state = 'ended', token_hash = NULL, outbound_token = NULL, encryption_key = NULL, ended_at = :now
WHERE party_id = :party_id AND id <> :id AND state = 'registered';

-- name: forget_roles!
DELETE FROM gateway.ocpi_peer_role WHERE peer_id = :peer_id;

-- name: forget_endpoints!
DELETE FROM gateway.ocpi_peer_endpoint WHERE peer_id = :peer_id;

-- name: add_role!
INSERT INTO gateway.ocpi_peer_role (peer_id, role, country_code, party_code, name)
VALUES (:peer_id, :role, :country_code, :party_code, :name);

-- name: add_endpoint!
INSERT INTO gateway.ocpi_peer_endpoint (peer_id, module, role, url)
VALUES (:peer_id, :module, :role, :url)
ON CONFLICT (peer_id, module, role) DO UPDATE SET url = EXCLUDED.url;

-- name: peer_roles
SELECT role, country_code, party_code, name FROM gateway.ocpi_peer_role WHERE peer_id = :peer_id
ORDER BY role, country_code, party_code;

-- name: endpoint_url$
SELECT url FROM gateway.ocpi_peer_endpoint WHERE peer_id = :peer_id AND module = :module AND role = :role;

-- name: tokens_of_other_keys
SELECT id, outbound_token, encryption_key FROM gateway.ocpi_peer
WHERE outbound_token IS NOT NULL AND encryption_key IS DISTINCT FROM :key::text
ORDER BY id LIMIT 1000 FOR UPDATE;

-- name: put_outbound_token!
UPDATE gateway.ocpi_peer SET outbound_token = :outbound_token, encryption_key = :encryption_key WHERE id = :id;
