-- The calls of credentials handshakes, with what was answered.

-- name: add_step!
INSERT INTO gateway.ocpi_handshake_step
    (id, party_id, direction, method, url, http_status, ocpi_status, message, occurred_at)
VALUES (:id, :party_id, :direction, :method, :url, :http_status, :ocpi_status, :message, :occurred_at);

-- name: trim_steps!
-- Keeps the newest :keep of a party.
DELETE FROM gateway.ocpi_handshake_step
WHERE party_id = :party_id AND id < (
    SELECT id FROM gateway.ocpi_handshake_step WHERE party_id = :party_id ORDER BY id DESC OFFSET :keep::int LIMIT 1);

-- name: list_steps
SELECT id, party_id, direction, method, url, http_status, ocpi_status, message, occurred_at
FROM gateway.ocpi_handshake_step WHERE party_id = ANY (:parties::text[]) ORDER BY id DESC LIMIT :limit;
