-- CDRs: kept once, for ever, and followed until they are completed.

-- name: add_cdr$
-- With the task that completes its session: both or neither. Returns no row when the CDR is known already.
WITH kept AS (
    INSERT INTO gateway.ocpi_cdr
        (party_id, cdr_key, cdr_id, version, raw, fingerprint, session_ref, authorization_reference, currency,
         ended_at, credit, credit_reference_id, last_updated, received_at, status, credit_state, updated_at)
    VALUES (:party_id, :cdr_key, :cdr_id, :version, :raw, :fingerprint, :session_ref, :authorization_reference,
            :currency, :ended_at, :credit, :credit_reference_id, :last_updated, :now::timestamptz, :status,
            CASE WHEN :credit THEN 'pending' END, :now::timestamptz)
    ON CONFLICT (party_id, cdr_key) DO NOTHING
    RETURNING party_id, cdr_id, status
), task AS (
    INSERT INTO gateway.task (shard, id, kind, payload, run_at)
    SELECT :shard::smallint, :task_id::uuid, 'complete_session',
           jsonb_build_object('cpo_id', kept.party_id, 'cdr_id', kept.cdr_id), :wall_now::timestamptz
    FROM kept WHERE kept.status = 'pending'
    RETURNING id
)
SELECT cdr_id FROM kept;

-- name: load_cdr^
SELECT party_id, cdr_id, version, raw, fingerprint, session_ref, authorization_reference, currency, ended_at, credit,
       credit_reference_id, last_updated, received_at, status, reason, session_id, replays
FROM gateway.ocpi_cdr
WHERE party_id = :party_id AND cdr_key = :cdr_key;

-- name: mark_cdr$
UPDATE gateway.ocpi_cdr
SET status = :status, reason = :reason, session_id = coalesce(:session_id::uuid, session_id), updated_at = :now
WHERE party_id = :party_id AND cdr_key = :cdr_key AND NOT credit AND status <> 'completed'
RETURNING cdr_id;

-- name: queued_cdrs
SELECT party_id, cdr_id, version, raw, fingerprint, session_ref, authorization_reference, currency, ended_at, credit,
       credit_reference_id, last_updated, received_at, status, reason, session_id, replays
FROM gateway.ocpi_cdr
WHERE status = ANY(:statuses::text[])
  AND (:party_id::text IS NULL OR party_id = :party_id::text)
  AND (received_at, cdr_key) > (:after_received::timestamptz, :after_key::text)
ORDER BY received_at, cdr_key
LIMIT :row_limit::int;

-- name: replay_cdr$
-- Back to pending with a new task, only from a waiting state.
WITH replayed AS (
    UPDATE gateway.ocpi_cdr
    SET status = 'pending', reason = NULL, replays = replays + 1, updated_at = :now
    WHERE party_id = :party_id AND cdr_key = :cdr_key AND status IN ('unmatched', 'unpriceable')
    RETURNING party_id, cdr_id
), task AS (
    INSERT INTO gateway.task (shard, id, kind, payload, run_at)
    SELECT :shard::smallint, :task_id::uuid, 'complete_session',
           jsonb_build_object('cpo_id', replayed.party_id, 'cdr_id', replayed.cdr_id), :wall_now::timestamptz
    FROM replayed
    RETURNING id
)
SELECT cdr_id FROM replayed;

-- name: credits_of
SELECT cdr_id FROM gateway.ocpi_cdr
WHERE party_id = :party_id AND lower(credit_reference_id) = :cdr_key AND credit
ORDER BY received_at, cdr_key;

-- name: open_credits
-- Credit CDRs that have waited, the oldest first.
SELECT party_id, cdr_id FROM gateway.ocpi_cdr
WHERE credit_state = 'pending' AND received_at <= :received_before::timestamptz
  AND updated_at <= :updated_before::timestamptz
ORDER BY received_at, cdr_key
LIMIT :row_limit::int;

-- name: mark_credit!
UPDATE gateway.ocpi_cdr
SET credit_state = :state, reason = :reason, session_id = coalesce(:session_id::uuid, session_id), updated_at = :now
WHERE party_id = :party_id AND cdr_key = :cdr_key AND credit;

-- name: session_of_authorization^
-- Ours, and of this CPO.
SELECT s.id FROM gateway.payment_authorization AS a
JOIN gateway.session AS s ON s.shard = a.shard AND s.id = a.session_id
WHERE a.shard = :shard AND a.id = :id AND s.cpo_id = :cpo_id;

-- name: session_of_cpo^
SELECT id FROM gateway.session WHERE shard = :shard AND id = :id AND cpo_id = :cpo_id;

-- name: session_by_name^
WITH named AS MATERIALIZED (
    SELECT l.shard, l.session_id, l.foreign_id FROM gateway.session_lookup AS l
    WHERE l.kind = 'session_ref' AND lower(l.foreign_id) = lower(:foreign_id::text)
)
SELECT s.id FROM named AS l JOIN gateway.session AS s ON s.shard = l.shard AND s.id = l.session_id
WHERE s.cpo_id = :cpo_id
ORDER BY l.foreign_id <> :foreign_id::text, l.foreign_id
LIMIT 1;

-- name: session_of_token^
-- The latest authorization given for this token at this EVSE before the session's end, still to be completed; where the
-- CPO says that it asked nobody, none that is older than a request for this session can be.
SELECT s.id FROM gateway.ocpi_token_authorization AS q
JOIN gateway.ocpi_token AS t ON t.uid_key = q.uid_key AND t.type = q.type
JOIN gateway.payment_authorization AS a
  ON a.shard = get_byte(uuid_send(q.authorization_id), 15) & 63 AND a.id = q.authorization_id
JOIN gateway.session AS s ON s.shard = a.shard AND s.id = a.session_id
WHERE q.cpo_id = :cpo_id AND q.evse_uid_key = :evse_uid_key AND lower(t.contract_id) = :contract_key
  AND q.requested_at <= :ended_at AND (:since::timestamptz IS NULL OR q.requested_at >= :since::timestamptz)
  AND s.cpo_id = q.cpo_id AND s.state IN ('active', 'cancelled')
ORDER BY q.requested_at DESC
LIMIT 1;

-- name: reference_of_session$
SELECT authorization_reference FROM gateway.ocpi_session
WHERE party_id = :party_id AND session_key = :session_key;
