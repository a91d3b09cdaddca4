-- People, their links and sessions, and the record of their acts.

-- name: insert_person!
INSERT INTO gateway.person (id, party_id, email, name, role, created_at, created_by)
VALUES (:id, :party_id, :email, :name, :role, :created_at, :created_by);

-- name: list_people
SELECT p.id, p.party_id, p.email, p.name, p.role, p.created_at, p.created_by, p.revoked_at,
       (SELECT max(s.last_seen_at) FROM gateway.person_session s WHERE s.person_id = p.id) AS last_seen_at
FROM gateway.person p
WHERE (:party_id::text IS NULL OR p.party_id = :party_id) ORDER BY p.id LIMIT :limit;

-- name: find_person^
SELECT id, party_id, email, name, role, created_at, created_by, revoked_at, NULL::timestamptz AS last_seen_at
FROM gateway.person WHERE id = :id AND (:party_id::text IS NULL OR party_id = :party_id);

-- name: names_of
SELECT id, name FROM gateway.person WHERE id = ANY(:ids::uuid[]);

-- name: revoke_person^
UPDATE gateway.person SET revoked_at = :now, revoked_by = :by
WHERE id = :id AND (:party_id::text IS NULL OR party_id = :party_id) AND revoked_at IS NULL
RETURNING id;

-- name: insert_link!
INSERT INTO gateway.person_link (token_sha256, person_id, created_at, created_by, expires_at)
VALUES (:token_sha256, :person_id, :created_at, :created_by, :expires_at);

-- A newer link, or the end of access, ends those that were not used.
-- name: end_links!
UPDATE gateway.person_link SET used_at = :now WHERE person_id = :person_id AND used_at IS NULL;

-- name: use_link^
UPDATE gateway.person_link l SET used_at = :now
FROM gateway.person p
WHERE l.token_sha256 = :token_sha256 AND l.used_at IS NULL AND l.expires_at > :now
  AND p.id = l.person_id AND p.revoked_at IS NULL
RETURNING p.id, p.party_id, p.email, p.name, p.role, p.created_at, p.created_by, p.revoked_at,
          NULL::timestamptz AS last_seen_at;

-- The person of an OpenID subject; at the first sign-in the one whom an administrator invited by this address.
-- name: bind_subject^
UPDATE gateway.person SET issuer = :issuer, subject = :subject
WHERE revoked_at IS NULL
  AND ((issuer = :issuer AND subject = :subject)
       OR (issuer IS NULL AND email = :email
           AND NOT EXISTS (SELECT 1 FROM gateway.person o
                           WHERE o.issuer = :issuer AND o.subject = :subject AND o.revoked_at IS NULL)))
RETURNING id, party_id, email, name, role, created_at, created_by, revoked_at, NULL::timestamptz AS last_seen_at;

-- name: insert_session!
INSERT INTO gateway.person_session (token_sha256, person_id, method, created_at, last_seen_at, expires_at)
VALUES (:token_sha256, :person_id, :method, :now, :now, :expires_at);

-- name: find_session^
SELECT s.created_at AS signed_in_at, s.last_seen_at AS session_seen_at, s.expires_at, s.method,
       p.id, p.party_id, p.email, p.name, p.role, p.created_at, p.created_by, p.revoked_at,
       NULL::timestamptz AS last_seen_at
FROM gateway.person_session s JOIN gateway.person p ON p.id = s.person_id
WHERE s.token_sha256 = :token_sha256 AND s.ended_at IS NULL AND p.revoked_at IS NULL
  AND s.expires_at > :now AND s.last_seen_at > :idle_since;

-- name: touch_session!
UPDATE gateway.person_session SET last_seen_at = :now WHERE token_sha256 = :token_sha256 AND last_seen_at < :now;

-- name: end_session!
UPDATE gateway.person_session SET ended_at = :now WHERE token_sha256 = :token_sha256 AND ended_at IS NULL;

-- name: end_sessions_of!
UPDATE gateway.person_session SET ended_at = :now WHERE person_id = :person_id AND ended_at IS NULL;

-- name: insert_attempt!
INSERT INTO gateway.sign_in_attempt (state_sha256, browser_sha256, nonce, code_verifier, expires_at)
VALUES (:state_sha256, :browser_sha256, :nonce, :code_verifier, :expires_at);

-- name: take_attempt^
DELETE FROM gateway.sign_in_attempt
WHERE state_sha256 = :state_sha256 AND browser_sha256 = :browser_sha256 AND expires_at > :now
RETURNING nonce, code_verifier;

-- What has ended is of no use: links and sessions after a time, attempts at once.
-- name: delete_ended_attempts!
DELETE FROM gateway.sign_in_attempt WHERE expires_at <= :now;

-- name: delete_ended_sessions!
DELETE FROM gateway.person_session WHERE expires_at < :before OR ended_at < :before;

-- name: delete_ended_links!
DELETE FROM gateway.person_link WHERE expires_at < :before;

-- name: insert_act!
INSERT INTO gateway.person_act (id, person_id, party_id, operation, subject, status, acted_at)
VALUES (:id, :person_id, :party_id, :operation, :subject, :status, :acted_at);

-- name: list_acts
SELECT a.id, a.person_id, p.name AS person, a.party_id, a.operation, a.subject, a.status, a.acted_at
FROM gateway.person_act a JOIN gateway.person p ON p.id = a.person_id
WHERE (:party_id::text IS NULL OR a.party_id = :party_id) AND (:before::uuid IS NULL OR a.id < :before)
ORDER BY a.id DESC LIMIT :limit;
