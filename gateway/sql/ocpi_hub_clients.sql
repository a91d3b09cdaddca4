-- What hubs say of the parties behind them.

-- name: save_client$
-- Unless what is kept is newer.
INSERT INTO gateway.ocpi_hub_client AS c (peer_id, party_id, role, status, last_updated, updated_at)
VALUES (:peer_id, :party_id, :role, :status, :last_updated, :now)
ON CONFLICT (peer_id, party_id, role) DO UPDATE
SET status = EXCLUDED.status, last_updated = EXCLUDED.last_updated, updated_at = EXCLUDED.updated_at
WHERE c.last_updated <= EXCLUDED.last_updated
RETURNING (xmax = 0) AS created;

-- name: clients_of_party
SELECT party_id, role, status, last_updated FROM gateway.ocpi_hub_client
WHERE peer_id = :peer_id AND party_id = :party_id
ORDER BY role;

-- name: list_clients
SELECT c.peer_id, c.party_id, c.role, c.status, c.last_updated FROM gateway.ocpi_hub_client AS c
JOIN gateway.ocpi_peer AS p ON p.id = c.peer_id AND p.state = 'registered'
ORDER BY c.peer_id, c.party_id, c.role;
