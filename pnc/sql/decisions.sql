-- Decisions: one read before, one write after.

-- name: load_context^
-- All that a decision starts from: the version of trust, the session's decision that counts (an open one before the
-- newest), the contract, and the certificates registered for it.
SELECT
    coalesce((SELECT version FROM pnc.environment WHERE environment = :environment), 0) AS trust_version,
    (SELECT d FROM pnc.decision AS d
      WHERE d.lane = :lane AND d.environment = :environment AND d.operator_id = :operator_id
        AND d.session_ref = :session_ref
      ORDER BY (d.state IN ('awaiting_payment', 'accepted')) DESC, (d.state = 'closed') DESC, d.decided_at DESC,
               d.id DESC
      LIMIT 1) AS decision,
    (SELECT c FROM pnc.contract AS c WHERE c.environment = :environment AND c.emaid = :emaid) AS contract,
    (SELECT array_agg(encode(r.leaf_sha256, 'hex')) FROM pnc.contract_certificate AS r
      WHERE r.environment = :environment AND r.emaid = :emaid) AS registered,
    (SELECT array_agg(encode(r.leaf_sha256, 'hex')) FROM pnc.contract_certificate AS r
      WHERE r.environment = :environment AND r.emaid = :emaid AND r.withdrawn_at IS NOT NULL) AS withdrawn;

-- name: insert_decision^
-- Nothing comes back when the session has an open decision already.
INSERT INTO pnc.decision
    (lane, id, environment, operator_id, session_ref, evse_id, ocpp_version, emaid, digest, leaf_sha256, contract_id,
     state, finding, detail, notes, trust_version, decided_at)
VALUES (:lane, :id, :environment, :operator_id, :session_ref, :evse_id, :ocpp_version, :emaid, :digest, :leaf_sha256,
        :contract_id, :state, :finding, :detail, :notes, :trust_version, :decided_at)
ON CONFLICT (lane, environment, operator_id, session_ref) WHERE state IN ('awaiting_payment', 'accepted') DO NOTHING
RETURNING *;

-- name: open_decision^
SELECT * FROM pnc.decision
WHERE lane = :lane AND environment = :environment AND operator_id = :operator_id AND session_ref = :session_ref
  AND state IN ('awaiting_payment', 'accepted');

-- name: load_decision^
SELECT * FROM pnc.decision WHERE lane = :lane AND id = :id;

-- name: conclude_decision^
UPDATE pnc.decision
SET state = :state, finding = :finding, detail = :detail, authorization_id = :authorization_id, concluded_at = :now
WHERE lane = :lane AND id = :id AND state = 'awaiting_payment'
RETURNING *;

-- name: close_session^
UPDATE pnc.decision SET state = 'closed', closed_at = :now
WHERE lane = :lane AND environment = :environment AND operator_id = :operator_id AND session_ref = :session_ref
  AND state IN ('awaiting_payment', 'accepted')
RETURNING *;

-- name: decisions_of_session
SELECT * FROM pnc.decision
WHERE lane = :lane AND environment = :environment AND operator_id = :operator_id AND session_ref = :session_ref
ORDER BY decided_at, id;

-- name: unsettled_decisions
-- Decisions whose payment was secured and whose settlement nobody was told yet, in the order of their keys.
SELECT * FROM pnc.decision
WHERE environment = :environment AND authorization_id IS NOT NULL AND (settlement IS NULL OR settlement = 'Failed')
  AND (lane, id) > (:after_lane::smallint, :after_id::uuid)
ORDER BY lane, id
LIMIT :limit;

-- name: close_decision^
UPDATE pnc.decision SET state = 'closed', closed_at = :now
WHERE lane = :lane AND id = :id AND state IN ('awaiting_payment', 'accepted')
RETURNING *;

-- name: settle_decision^
-- Nothing comes back when the same was told already, or when money was told of: that is the end.
UPDATE pnc.decision
SET state = 'closed', closed_at = coalesce(closed_at, :now), settlement = :settlement, settled_at = :now
WHERE lane = :lane AND id = :id AND state IN ('accepted', 'closed') AND authorization_id IS NOT NULL
  AND (settlement IS NULL OR (settlement = 'Failed' AND :settlement::text = 'Settled'))
RETURNING *;

-- name: close_forgotten!
-- A payment that nobody concluded: no station was told that it may charge.
UPDATE pnc.decision SET state = 'closed', closed_at = :now
WHERE lane = :lane AND environment = :environment AND state = 'awaiting_payment' AND decided_at < :before;

-- name: sweep_decisions$
-- A running session's decision is never old; a settlement that failed is kept as long as one that did not.
WITH old AS (
    SELECT id FROM pnc.decision
    WHERE lane = :lane AND environment = :environment
      AND ((state IN ('refused', 'payment_refused') AND decided_at < :refused_before)
        OR (state = 'closed' AND (authorization_id IS NULL OR settlement IS NOT NULL)
            AND decided_at < :closed_before AND closed_at < :closed_before))
    ORDER BY decided_at
    LIMIT :limit
), gone AS (
    DELETE FROM pnc.decision WHERE lane = :lane AND id IN (SELECT id FROM old) RETURNING 1
)
SELECT count(*) FROM gone;
