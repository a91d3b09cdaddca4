-- Pulls: which list of which peer is read up to where.

-- name: plan_peer!
-- Every list that the peer offers; one that is planned already stays as it is.
INSERT INTO gateway.ocpi_pull (peer_id, module, due_at, updated_at)
SELECT e.peer_id, e.module, :due_at::timestamptz, :now::timestamptz
FROM gateway.ocpi_peer_endpoint AS e
WHERE e.peer_id = :peer_id AND e.role = 'SENDER' AND e.module = ANY(:modules::text[])
ON CONFLICT (peer_id, module) DO NOTHING;

-- name: plan_pull!
INSERT INTO gateway.ocpi_pull (peer_id, module, due_at, updated_at)
VALUES (:peer_id, :module, :wall_now, :now)
ON CONFLICT (peer_id, module) DO NOTHING;

-- name: run_pull_now$
UPDATE gateway.ocpi_pull
SET due_at = :wall_now, since = CASE WHEN :whole::boolean THEN NULL ELSE since END,
    next_url = CASE WHEN :whole::boolean THEN NULL ELSE next_url END,
    run_until = CASE WHEN :whole::boolean THEN NULL ELSE run_until END
WHERE peer_id = :peer_id AND module = :module
RETURNING module;

-- name: rewind_pulls
-- Every list is read again from :since on, now: what a restore lost is at its peer.
UPDATE gateway.ocpi_pull
SET since = CASE WHEN since > :since::timestamptz THEN :since::timestamptz ELSE since END, next_url = NULL, run_until = NULL,
    due_at = :wall_now::timestamptz
RETURNING peer_id, module;

-- name: claim_pull^
-- The longest due one, kept from others until :leased_until; no lock is held while the peer is called.
UPDATE gateway.ocpi_pull AS p
SET due_at = :leased_until::timestamptz
FROM (
    SELECT l.peer_id, l.module FROM gateway.ocpi_pull AS l
    JOIN gateway.ocpi_peer AS e ON e.id = l.peer_id AND e.state = 'registered'
    WHERE l.due_at <= :wall_now::timestamptz
    ORDER BY l.due_at
    LIMIT 1
    FOR UPDATE OF l SKIP LOCKED
) AS due
WHERE p.peer_id = due.peer_id AND p.module = due.module
RETURNING p.peer_id, p.module, p.since, p.run_until, p.next_url, p.seen, p.rejected, p.failures,
          p.total;

-- name: load_pull^
SELECT peer_id, module, since, run_until, next_url, seen, rejected, failures, total, due_at, last_error
FROM gateway.ocpi_pull WHERE peer_id = :peer_id AND module = :module;

-- name: list_pulls
SELECT e.party_id, p.peer_id, p.module, p.since, p.due_at, p.next_url IS NOT NULL AS running, p.seen, p.total,
       p.rejected, p.failures, p.list_short, p.last_error, e.stale_pushes
FROM gateway.ocpi_pull AS p
JOIN gateway.ocpi_peer AS e ON e.id = p.peer_id AND e.state = 'registered'
ORDER BY e.party_id, p.module;

-- name: advance_pull!
-- In the transaction that keeps the page's objects.
UPDATE gateway.ocpi_pull
SET run_until = :run_until, next_url = :next_url, seen = :seen, total = :total, rejected = :rejected, failures = 0,
    last_error = NULL, due_at = :due_at, updated_at = :now
WHERE peer_id = :peer_id AND module = :module;

-- name: finish_pull!
UPDATE gateway.ocpi_pull
SET since = :since, run_until = NULL, next_url = NULL, seen = :seen, total = :total, rejected = :rejected,
    failures = 0, last_error = NULL, list_short = false, due_at = :due_at, updated_at = :now
WHERE peer_id = :peer_id AND module = :module;

-- name: fail_pull!
UPDATE gateway.ocpi_pull
SET failures = failures + 1, last_error = :reason, list_short = :list_short, due_at = :due_at, updated_at = :now,
    next_url = CASE WHEN :from_start::boolean THEN NULL ELSE next_url END,
    run_until = CASE WHEN :from_start::boolean THEN NULL ELSE run_until END
WHERE peer_id = :peer_id AND module = :module;
