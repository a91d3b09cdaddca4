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
