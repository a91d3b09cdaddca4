-- A driver's contract as personal data: found, deleted after its cancellation, exported.

-- name: due_contracts$
WITH decided AS MATERIALIZED (SELECT DISTINCT d.contract_id FROM pnc.decision AS d WHERE d.contract_id IS NOT NULL)
SELECT count(*) FROM pnc.contract AS c
WHERE c.environment = :environment AND c.state = 'cancelled' AND c.updated_at < :before
  AND NOT EXISTS (SELECT 1 FROM decided AS d WHERE d.contract_id = c.contract_id);

-- name: expired_contracts
-- Decisions are deleted first, by their own period: while one is left, somebody may still complain.
WITH decided AS MATERIALIZED (SELECT DISTINCT d.contract_id FROM pnc.decision AS d WHERE d.contract_id IS NOT NULL)
SELECT c.emaid, c.contract_id FROM pnc.contract AS c
WHERE c.environment = :environment AND c.state = 'cancelled' AND c.updated_at < :before
  AND NOT EXISTS (SELECT 1 FROM decided AS d WHERE d.contract_id = c.contract_id)
LIMIT :limit FOR UPDATE OF c SKIP LOCKED;

-- name: contracts_of
SELECT emaid, contract_id, party, payment_kind, payment_reference, state, updated_at FROM pnc.contract
WHERE environment = :environment
  AND (emaid = ANY (:emaids::text[])
       OR (payment_kind = 'psp_mandate' AND payment_reference = ANY (:payment_references::text[])))
ORDER BY emaid;

-- name: decisions_of
SELECT id, shard, state, authorization_id, settlement, decided_at FROM pnc.decision
WHERE environment = :environment AND (emaid = ANY (:emaids::text[]) OR contract_id = ANY (:contracts::uuid[]))
ORDER BY decided_at, id;

-- name: export_contracts
SELECT to_jsonb(c) AS data FROM pnc.contract AS c
WHERE environment = :environment AND emaid = ANY (:emaids::text[]) ORDER BY emaid;

-- name: export_changes
SELECT to_jsonb(c) - 'written_by' AS data FROM pnc.contract_change AS c
WHERE environment = :environment AND emaid = ANY (:emaids::text[]) ORDER BY written_by, sequence;

-- name: export_certificates
SELECT jsonb_build_object('emaid', emaid, 'certificate', bundle, 'registered_at', registered_at,
                          'blocked_at', blocked_at) AS data
FROM pnc.contract_certificate WHERE environment = :environment AND emaid = ANY (:emaids::text[])
ORDER BY registered_at;

-- name: export_decisions
SELECT to_jsonb(d) - 'digest' - 'shard' AS data FROM pnc.decision AS d
WHERE environment = :environment AND (emaid = ANY (:emaids::text[]) OR contract_id = ANY (:contracts::uuid[]))
ORDER BY decided_at, id;

-- name: delete_contracts^
WITH certificate AS (
    DELETE FROM pnc.contract_certificate
    WHERE environment = :environment AND emaid = ANY (:emaids::text[])
    RETURNING authority_sha256, serial
), revocation AS (
    DELETE FROM pnc.revocation_status AS r USING certificate AS c
    WHERE r.authority_sha256 = c.authority_sha256 AND r.serial = c.serial
), change AS (
    DELETE FROM pnc.contract_change WHERE environment = :environment AND emaid = ANY (:emaids::text[]) RETURNING 1
), contract AS (
    DELETE FROM pnc.contract WHERE environment = :environment AND emaid = ANY (:emaids::text[])
    RETURNING payment_kind, payment_reference
), payment AS (
    DELETE FROM pnc.disabled_payment AS p USING contract AS c
    WHERE p.environment = :environment AND p.payment_kind = 'psp_mandate' AND c.payment_kind = 'psp_mandate'
      AND p.payment_reference = c.payment_reference
)
SELECT (SELECT count(*) FROM contract) AS contracts, (SELECT count(*) FROM certificate) AS certificates,
       (SELECT count(*) FROM change) AS changes;

-- name: delete_decisions$
WITH gone AS (
    DELETE FROM pnc.decision
    WHERE environment = :environment AND (emaid = ANY (:emaids::text[]) OR contract_id = ANY (:contracts::uuid[]))
    RETURNING 1
)
SELECT count(*) FROM gone;
