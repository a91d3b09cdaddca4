-- Holds that need looking after: about to end, waiting for the cardholder, or never completed.

-- name: holds_ending
-- Card holds of running sessions that end soon.
SELECT lane, id FROM gateway.payment_authorization
WHERE state = 'authorized' AND capture_before IS NOT NULL AND capture_before <= :before
ORDER BY capture_before
LIMIT :batch;

-- name: actions_waiting
-- Authorizations that wait for the cardholder since before `since`.
SELECT lane, id FROM gateway.payment_authorization
WHERE state = 'requires_action' AND updated_at <= :since
ORDER BY updated_at
LIMIT :batch;

-- name: sessions_forgotten
-- Holds of sessions for which no CDR came by the deadline.
SELECT a.lane, a.id FROM gateway.payment_authorization AS a
JOIN gateway.session AS s ON s.lane = a.lane AND s.id = a.session_id
WHERE a.state = 'authorized' AND s.state = 'active' AND s.created_at <= :since
ORDER BY s.created_at
LIMIT :batch;

-- name: request_rehold$
-- Phase 1 of renewing a hold: a second hold is intended; the first stands until the second does.
INSERT INTO gateway.psp_call (
    lane, id, session_id, authorization_id, kind, state, amount_minor, next_ask_at, created_at)
SELECT lane, :call_id::uuid, session_id, id, 'rehold', 'intended', hold_minor, :next_ask_at::timestamptz,
       :wall_now::timestamptz
FROM gateway.payment_authorization
WHERE lane = :lane::smallint AND id = :authorization_id::uuid AND state = 'authorized'
  AND psp_payment = :psp_payment::text
RETURNING true;

-- name: conclude_rehold$
-- Phase 3: the new hold takes the old one's place, and dropping the old one is the next call. Where the
-- authorization has ended meanwhile, it is the new hold that is dropped.
WITH answered AS (
    UPDATE gateway.psp_call
    SET state = :call_state::text, answer = :answer::jsonb, attempts = attempts + 1,
        next_ask_at = NULL, finished_at = :wall_now::timestamptz
    WHERE lane = :lane::smallint AND id = :call_id::uuid AND state IN ('intended', 'unknown')
    RETURNING lane, authorization_id, session_id
), old AS (
    SELECT a.lane, a.id, a.session_id, a.psp_payment FROM gateway.payment_authorization AS a
    JOIN answered ON a.lane = answered.lane AND a.id = answered.authorization_id
    WHERE :call_state::text = 'succeeded'
), renewed AS (
    UPDATE gateway.payment_authorization AS a
    SET psp_payment = :psp_payment::text, capture_before = :capture_before::timestamptz,
        incrementable = :incrementable::boolean, max_capture_minor = :max_capture_minor::bigint,
        version = version + 1, updated_at = :now::timestamptz
    FROM old
    WHERE a.lane = old.lane AND a.id = old.id AND a.state = 'authorized'
    RETURNING a.id
), lookup AS (
    INSERT INTO gateway.session_lookup (kind, foreign_id, lane, session_id)
    SELECT 'psp_payment', :psp_payment::text, lane, session_id FROM old
    ON CONFLICT DO NOTHING
), drop AS (
    INSERT INTO gateway.psp_call (
        lane, id, session_id, authorization_id, kind, psp_payment, state, amount_minor, next_ask_at, created_at)
    SELECT lane, :drop_id::uuid, session_id, id, 'drop',
           CASE WHEN EXISTS (SELECT 1 FROM renewed) THEN psp_payment ELSE :psp_payment::text END, 'intended', 0,
           :wall_now::timestamptz, :wall_now::timestamptz
    FROM old
)
SELECT true FROM answered;

-- name: conclude_drop!
-- The old hold is gone.
UPDATE gateway.psp_call
SET state = 'succeeded', answer = :answer::jsonb, attempts = attempts + 1, next_ask_at = NULL,
    finished_at = :wall_now
WHERE lane = :lane AND id = :call_id AND state IN ('intended', 'unknown');

-- name: park_unpaid$
-- Nobody can pay for a completed session: it waits for a person, with the reason.
WITH parked AS (
    UPDATE gateway.session
    SET state = 'parked', flags = array_append(flags, :flag::text), updated_at = :now::timestamptz
    WHERE lane = :lane::smallint AND id = :session_id::uuid AND state = 'completed'
    RETURNING lane
)
INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at)
SELECT parked.lane, e.id, e.party_id, e.type, e.object_id, e.data, :now::timestamptz
FROM parked, jsonb_to_recordset(:events::jsonb)
    AS e (id uuid, party_id text, type text, object_id text, data jsonb)
RETURNING true;

-- name: hold_session!
-- Nobody ends or corrects this session until the caller's transaction does.
SELECT 1 FROM gateway.session WHERE lane = :lane AND id = :session_id FOR UPDATE;

-- name: replace_cdr$
-- A credit CDR and a new CDR correct a session: the new one's price counts from now on. Before the capture the
-- capture follows it; after clearing the difference is refunded. Both CDRs are kept by the OCPI side.
WITH replaced AS (
    UPDATE gateway.session
    SET cdr_id = :cdr_id::text, cdr_version = :cdr_version::text, cdr = :cdr::bytea,
        price_minor = :price_minor::bigint, price_net_minor = :price_net_minor::bigint,
        energy_wh = :energy_wh::bigint, ended_at = :ended_at::timestamptz,
        flags = array_append(flags, 'corrected'), updated_at = :now::timestamptz
    WHERE lane = :lane::smallint AND id = :session_id::uuid AND cdr_id = :replaces::text
    RETURNING lane, id, cpo_id
), lookup AS (
    INSERT INTO gateway.session_lookup (kind, foreign_id, lane, session_id)
    SELECT 'cdr', cpo_id || ':' || :cdr_id::text, lane, id FROM replaced
    ON CONFLICT DO NOTHING
)
SELECT true FROM replaced;

-- name: renew_capture_errand!
-- A new id: whoever runs the errand for the price before can't finish the one for the price now.
INSERT INTO gateway.task (lane, id, kind, session_id, run_at)
VALUES (:lane, :id, 'capture', :session_id, :run_at)
ON CONFLICT (lane, kind, session_id) WHERE kind IN ('capture', 'collect', 'clear') DO UPDATE
SET id = excluded.id, run_at = excluded.run_at, leased_until = NULL, parked_at = NULL, attempts = 0;

-- name: was_released$
-- Whether the partner or we gave the hold back on purpose, as against the PSP ending it.
SELECT EXISTS (
    SELECT 1 FROM gateway.psp_call
    WHERE lane = :lane AND authorization_id = :authorization_id AND kind = 'void'
);
