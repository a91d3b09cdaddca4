-- What people see of Plug & Charge beside contracts and roots: decisions, and how fresh revocation status is.

-- name: list_decisions
-- Newest first, the newest of each shard by its key. `operator_id` null: of every operator.
SELECT d.* FROM generate_series(0, 63) AS s (shard)
CROSS JOIN LATERAL (
    SELECT * FROM pnc.decision AS c
    WHERE c.shard = s.shard AND c.environment = :environment
      AND (:operator_id::text IS NULL OR c.operator_id = :operator_id)
      AND (:state::text IS NULL OR c.state = :state)
      AND (:before::uuid IS NULL OR c.id < :before)
    ORDER BY c.id DESC LIMIT :limit) AS d
ORDER BY d.id DESC LIMIT :limit;

-- name: list_decisions_by_node
-- The same of a distributed database, whose nodes each read their shards to find their newest.
SELECT * FROM pnc.decision AS c
WHERE c.environment = :environment
  AND (:operator_id::text IS NULL OR c.operator_id = :operator_id)
  AND (:state::text IS NULL OR c.state = :state)
  AND (:before::uuid IS NULL OR c.id < :before)
ORDER BY c.id DESC LIMIT :limit;

-- name: list_revocation_lists
SELECT authority_sha256, this_update, usable_until, fetched_at, octet_length(der) AS size_bytes
FROM pnc.revocation_list ORDER BY usable_until LIMIT :limit;

-- name: revocation_statuses
-- By source and status: how many, how many are over, the oldest statement and the last check.
SELECT s.source, s.status, count(*) AS certificates, count(*) FILTER (WHERE s.usable_until <= :now) AS expired,
       min(s.this_update) AS oldest_at, max(s.checked_at) AS last_checked_at
FROM pnc.revocation_status AS s GROUP BY s.source, s.status ORDER BY s.source, s.status;

-- name: unproved_certificates$
-- Registered certificates of an environment that are valid and have no status that counts now.
SELECT count(*) FROM pnc.contract_certificate AS r
LEFT JOIN pnc.revocation_status AS s USING (authority_sha256, serial)
WHERE r.environment = :environment AND r.blocked_at IS NULL AND r.not_after > :now
  AND coalesce(s.usable_until, '-infinity'::timestamptz) <= :now;
