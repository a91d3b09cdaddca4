-- Decisions: one read before, one write after.

-- name: load_context^
-- What a decision starts from: the version of trust, the session's earlier decision (an open one before the newest),
-- the contract, and the certificates registered for it.
SELECT
    coalesce((SELECT version FROM pnc.environment WHERE environment = :environment), 0) AS trust_version,
    (SELECT d FROM pnc.decision AS d
      WHERE d.shard = :shard AND d.environment = :environment AND d.operator_id = :operator_id
        AND d.session_ref = :session_ref
      ORDER BY (d.state IN ('awaiting_payment', 'accepted')) DESC, (d.state = 'closed') DESC, d.decided_at DESC,
               d.id DESC
      LIMIT 1) AS decision,
    (SELECT c FROM pnc.contract AS c WHERE c.environment = :environment AND c.emaid = :emaid) AS contract,
    (SELECT array_agg(encode(r.leaf_sha256, 'hex')) FROM pnc.contract_certificate AS r
      WHERE r.environment = :environment AND r.emaid = :emaid) AS registered,
    (SELECT array_agg(encode(r.leaf_sha256, 'hex')) FROM pnc.contract_certificate AS r
      WHERE r.environment = :environment AND r.emaid = :emaid AND r.blocked_at IS NOT NULL) AS blocked;

-- name: insert_decision^
-- No row when the session has an open decision already.
INSERT INTO pnc.decision
    (shard, id, environment, operator_id, session_ref, evse_id, ocpp_version, emaid, digest, leaf_sha256, contract_id,
     state, rejection_reason, detail, notes, trust_version, decided_at, evse_ids, offline_since, offline_reason)
VALUES (:shard, :id, :environment, :operator_id, :session_ref, :evse_id, :ocpp_version, :emaid, :digest, :leaf_sha256,
        :contract_id, :state, :rejection_reason, :detail, :notes, :trust_version, :decided_at, :evse_ids,
        :offline_since, :offline_reason)
ON CONFLICT (shard, environment, operator_id, session_ref) WHERE state IN ('awaiting_payment', 'accepted') DO NOTHING
RETURNING *;

-- name: count_sessions^
-- The sessions of a contract but one; several decisions of one session are one.
SELECT count(DISTINCT (operator_id, session_ref)) FILTER (WHERE state IN ('awaiting_payment', 'accepted')) AS at_once,
       count(DISTINCT (operator_id, session_ref)) FILTER (WHERE decided_at > :begun_after) AS within_a_day
FROM pnc.decision
WHERE contract_id = :contract_id AND environment = :environment
  AND state IN ('awaiting_payment', 'accepted', 'closed')
  AND (state <> 'closed' OR decided_at > :begun_after)
  AND (operator_id, session_ref) <> (:operator_id, :session_ref);

-- name: open_decision^
SELECT * FROM pnc.decision
WHERE shard = :shard AND environment = :environment AND operator_id = :operator_id AND session_ref = :session_ref
  AND state IN ('awaiting_payment', 'accepted');

-- name: load_decision^
SELECT * FROM pnc.decision WHERE shard = :shard AND id = :id;

-- name: conclude_decision^
UPDATE pnc.decision
SET state = :state, rejection_reason = :rejection_reason, detail = :detail, authorization_id = :authorization_id,
    concluded_at = :now
WHERE shard = :shard AND id = :id AND state = 'awaiting_payment'
RETURNING *;

-- name: name_transaction^
-- No row when another transaction is named already, or the decision was never accepted.
UPDATE pnc.decision SET transaction_id = :transaction_id
WHERE shard = :shard AND id = :id AND authorization_id IS NOT NULL
  AND (transaction_id IS NULL OR transaction_id = :transaction_id)
RETURNING *;

-- name: name_place^
-- No row when another station or connector is named already, or the decision was never accepted.
UPDATE pnc.decision
SET station_id = coalesce(:station_id, station_id), connector_id = coalesce(:connector_id, connector_id)
WHERE shard = :shard AND id = :id AND authorization_id IS NOT NULL
  AND coalesce(station_id, :station_id, '') = coalesce(:station_id, station_id, '')
  AND coalesce(connector_id, :connector_id, '') = coalesce(:connector_id, connector_id, '')
RETURNING *;

-- name: name_evse^
-- No row when the EVSE is none of the station's, another one is named already, or the decision was never accepted.
UPDATE pnc.decision SET evse_id = :evse_id, evse_ids = '{}'
WHERE shard = :shard AND id = :id AND authorization_id IS NOT NULL
  AND (:evse_id::text = ANY(evse_ids) OR (evse_ids = '{}' AND evse_id = :evse_id::text))
RETURNING *;

-- name: paid_decisions_of_session
SELECT * FROM pnc.decision
WHERE shard = :shard AND environment = :environment AND operator_id = :operator_id AND session_ref = :session_ref
  AND authorization_id IS NOT NULL
ORDER BY decided_at DESC, id DESC;

-- name: decisions_of_transaction
-- Ids are a station's own: two stations of one operator may use the same.
SELECT * FROM pnc.decision
WHERE environment = :environment AND operator_id = :operator_id AND transaction_id = :transaction_id
ORDER BY decided_at DESC
LIMIT 2;

-- name: decisions_without_notice
-- Decisions whose payment was secured and whose settlement is not recorded yet, in the order of their keys.
SELECT * FROM pnc.decision
WHERE environment = :environment AND authorization_id IS NOT NULL AND (settlement IS NULL OR settlement = 'Failed')
  AND (shard, id) > (:after_shard::smallint, :after_id::uuid)
ORDER BY shard, id
LIMIT :limit;

-- name: close_decision^
UPDATE pnc.decision SET state = 'closed', closed_at = :now
WHERE shard = :shard AND id = :id AND state IN ('awaiting_payment', 'accepted')
RETURNING *;

-- name: record_settlement^
-- No row when the same settlement is recorded already, or a successful one: that is final.
UPDATE pnc.decision
SET state = 'closed', closed_at = coalesce(closed_at, :now), settlement = :settlement, settled_at = :now
WHERE shard = :shard AND id = :id AND state IN ('accepted', 'closed') AND authorization_id IS NOT NULL
  AND (settlement IS NULL OR (settlement = 'Failed' AND :settlement::text = 'Settled'))
RETURNING *;

-- name: close_unconcluded!
-- A payment that was never concluded: no station was answered Accepted.
UPDATE pnc.decision SET state = 'closed', closed_at = :now
WHERE shard = :shard AND environment = :environment AND state = 'awaiting_payment' AND decided_at < :before;

-- name: delete_expired$
-- The decision of a running session never expires; a failed settlement is kept as long as a successful one.
WITH expired AS (
    SELECT id FROM pnc.decision
    WHERE shard = :shard AND environment = :environment
      AND ((state IN ('rejected', 'payment_rejected') AND decided_at < :rejected_before)
        OR (state = 'closed' AND (authorization_id IS NULL OR settlement IS NOT NULL)
            AND decided_at < :closed_before AND closed_at < :closed_before))
    ORDER BY decided_at
    LIMIT :limit
), deleted AS (
    DELETE FROM pnc.decision WHERE shard = :shard AND id IN (SELECT id FROM expired) RETURNING 1
)
SELECT count(*) FROM deleted;

-- name: list_spending
-- The decisions of a contract since a time whose session may cost something.
SELECT id, authorization_id, reserved_minor, reserved_currency FROM pnc.decision
WHERE contract_id = :contract_id AND environment = :environment AND decided_at >= :since
  AND state IN ('awaiting_payment', 'accepted', 'closed');

-- name: reserve_amount^
UPDATE pnc.decision SET reserved_minor = :amount_minor, reserved_currency = :currency
WHERE shard = :shard AND id = :id AND state = 'awaiting_payment'
RETURNING id;

-- name: count_stations^
SELECT count(DISTINCT (operator_id, evse_id)) AS stations FROM pnc.decision
WHERE contract_id = :contract_id AND environment = :environment
  AND (state IN ('awaiting_payment', 'accepted')
    OR (state IN ('rejected', 'payment_rejected') AND decided_at > :rejected_after
        AND rejection_reason = ANY(:reasons::text[])));
