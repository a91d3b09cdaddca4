-- Commands sent to CPOs.

-- name: add_command!
INSERT INTO gateway.ocpi_command (id, cpo_id, command, state, authorization_reference, created_at, deadline)
VALUES (:id, :cpo_id, :command, 'requested', :authorization_reference, :wall_now, :deadline);

-- name: move_command$
UPDATE gateway.ocpi_command
SET state = :state, response = coalesce(:response::text, response), result = coalesce(:result::text, result),
    reason = coalesce(:reason::text, reason), deadline = coalesce(:deadline::timestamptz, deadline),
    finished_at = CASE WHEN :final::boolean THEN :wall_now::timestamptz END
WHERE id = :id AND state = ANY(:expected::text[])
RETURNING state;

-- name: load_command^
SELECT id, cpo_id, command, state, authorization_reference, response, result, reason, created_at, deadline, finished_at
FROM gateway.ocpi_command WHERE id = :id;

-- name: expire_commands$
WITH passed AS (
    UPDATE gateway.ocpi_command
    SET state = 'timed_out', finished_at = :wall_now::timestamptz
    WHERE finished_at IS NULL AND deadline <= :wall_now::timestamptz
    RETURNING id
)
SELECT count(*) FROM passed;

-- name: session_of_reference$
-- The CPO's id of the session that carries one of our references.
SELECT session_ref FROM gateway.ocpi_session
WHERE party_id = :party_id AND authorization_reference = ANY (:references::text[])
ORDER BY received_at DESC
LIMIT 1;
