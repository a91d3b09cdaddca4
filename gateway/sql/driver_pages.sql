-- Driver pages: whose they are, and drivers' payments by their token.

-- name: set_page!
INSERT INTO gateway.driver_page (party_id, demand_partner_id, brand, support, updated_at)
VALUES (:party_id, :demand_partner_id, :brand, :support, :now)
ON CONFLICT (party_id) DO UPDATE
SET demand_partner_id = excluded.demand_partner_id, brand = excluded.brand, support = excluded.support,
    updated_at = excluded.updated_at;

-- name: remove_page$
DELETE FROM gateway.driver_page WHERE party_id = :party_id RETURNING party_id;

-- name: load_page^
SELECT party_id, demand_partner_id, brand, support FROM gateway.driver_page WHERE party_id = :party_id;

-- name: page_of_cpo^
-- The CPO's own before the platform's.
SELECT party_id, demand_partner_id, brand, support FROM gateway.driver_page
WHERE party_id IN (:cpo_id, :platform_id)
ORDER BY (party_id = :cpo_id) DESC
LIMIT 1;

-- name: add_payment!
INSERT INTO gateway.driver_payment
    (token, authorization_id, party_id, page_id, cpo_id, evse_id, tariff_sha256, language, start, created_at)
VALUES (:token, :authorization_id, :party_id, :page_id, :cpo_id, :evse_id, :tariff_sha256, :language, 'none', :wall_now)
ON CONFLICT (token) DO NOTHING;

-- name: find_payment^
SELECT p.token, p.authorization_id, p.party_id, p.page_id, p.cpo_id, p.evse_id, p.tariff_sha256, p.language, p.start,
       p.start_asked_at, p.stop_asked_at, p.released_because, p.closed_at, p.created_at, c.state AS command_state
FROM gateway.driver_payment AS p LEFT JOIN gateway.ocpi_command AS c ON c.id = p.start_command_id
WHERE p.token = :token AND p.created_at > :oldest::timestamptz;

-- name: count_recent$
SELECT count(*) FROM gateway.driver_payment WHERE evse_id = :evse_id AND created_at > :since::timestamptz;

-- name: claim_start$
-- One caller sends the command. One that was claimed and never sent may be sent after a while; so may one that failed.
UPDATE gateway.driver_payment AS p
SET start = 'asked', start_asked_at = :wall_now::timestamptz, start_command_id = NULL
WHERE p.token = :token
  AND (p.start = 'none'
       OR (p.start = 'asked' AND p.start_asked_at < :lost_before::timestamptz)
       OR (p.start = 'sent' AND :again::boolean AND EXISTS (
           SELECT 1 FROM gateway.ocpi_command AS c
           WHERE c.id = p.start_command_id AND c.state IN ('rejected', 'failed', 'timed_out'))))
RETURNING p.token;

-- name: record_start!
UPDATE gateway.driver_payment
SET start = CASE WHEN :command_id::uuid IS NULL THEN 'not_offered' ELSE 'sent' END, start_command_id = :command_id::uuid
WHERE token = :token AND start = 'asked' AND start_asked_at = :asked_at::timestamptz;

-- name: ask_stop$
-- A second tap within the pause sends no second command.
UPDATE gateway.driver_payment
SET stop_asked_at = :wall_now::timestamptz
WHERE token = :token AND (stop_asked_at IS NULL OR stop_asked_at < :again_before::timestamptz)
RETURNING token;

-- name: forget_stop!
UPDATE gateway.driver_payment SET stop_asked_at = NULL WHERE token = :token;

-- name: record_release!
UPDATE gateway.driver_payment
SET released_because = coalesce(released_because, :because), closed_at = coalesce(closed_at, :wall_now::timestamptz)
WHERE token = :token;

-- name: close_payment!
UPDATE gateway.driver_payment SET closed_at = coalesce(closed_at, :wall_now::timestamptz) WHERE token = :token;

-- name: open_payments
-- Those that a driver may have left, the oldest first.
SELECT token, created_at FROM gateway.driver_payment
WHERE closed_at IS NULL AND created_at < :before::timestamptz AND created_at > :after::timestamptz
ORDER BY created_at
LIMIT :batch::integer;

-- name: delete_old!
DELETE FROM gateway.driver_payment
WHERE token IN (SELECT token FROM gateway.driver_payment WHERE created_at < :before::timestamptz LIMIT :batch::integer);

-- name: running_session^
-- What the operator reports of the session that carries one of our references.
SELECT status, energy_wh, last_updated FROM gateway.ocpi_session
WHERE party_id = :cpo_id AND authorization_reference = ANY (:references::text[])
ORDER BY last_updated DESC
LIMIT 1;

-- name: buyer_of_session$
SELECT buyer_id FROM gateway.session_buyer WHERE shard = :shard AND session_id = :session_id;
