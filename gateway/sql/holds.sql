-- Holds that need looking after: about to end, waiting for the cardholder, or never completed.

-- Each list leaves out what had its turn a while ago: what nothing can be done about never keeps the others waiting.

-- name: holds_ending
-- Card holds of running sessions that end soon.
SELECT lane, id FROM gateway.payment_authorization
WHERE state = 'authorized' AND capture_before IS NOT NULL AND capture_before <= :before
  AND (next_look_at IS NULL OR next_look_at <= :now)
ORDER BY next_look_at NULLS FIRST, capture_before
LIMIT :batch;

-- name: actions_waiting
-- Authorizations that wait for the cardholder since before `since`.
SELECT lane, id FROM gateway.payment_authorization
WHERE state = 'requires_action' AND updated_at <= :since AND (next_look_at IS NULL OR next_look_at <= :now)
ORDER BY next_look_at NULLS FIRST, updated_at
LIMIT :batch;

-- name: sessions_forgotten
-- Holds of sessions for which no CDR came by the deadline of the CPO's policy, else the platform's, else `patience`,
-- with what the policy says to do. What is to be captured is due before a hold is lost that can't be renewed.
SELECT a.lane, a.id, coalesce(p.action, h.action, 'release') AS action
FROM gateway.payment_authorization AS a
JOIN gateway.session AS s ON s.lane = a.lane AND s.id = a.session_id
LEFT JOIN gateway.missing_cdr_policy AS p ON p.party_id = s.cpo_id
LEFT JOIN gateway.missing_cdr_policy AS h ON p.party_id IS NULL AND h.party_id = 'platform'
WHERE a.state = 'authorized' AND s.state = 'active'
  AND (s.created_at <= :now::timestamptz
           - coalesce(make_interval(days => coalesce(p.after_days, h.after_days)), :patience::interval)
       OR (coalesce(p.action, h.action) = 'last_known_cost' AND a.customer IS NULL
           AND a.capture_before <= :lost_by::timestamptz))
  AND (a.next_look_at IS NULL OR a.next_look_at <= :now::timestamptz)
ORDER BY a.next_look_at NULLS FIRST, s.created_at
LIMIT :batch::int;

-- name: take_turn$
-- One authorization's turn; the next comes at `again_at`, for a hold not past its end. No row: somebody else has it.
UPDATE gateway.payment_authorization
SET next_look_at = CASE WHEN capture_before > :now::timestamptz
    THEN least(:again_at::timestamptz, capture_before) ELSE :again_at::timestamptz END
WHERE lane = :lane::smallint AND id = :id::uuid AND (next_look_at IS NULL OR next_look_at <= :now::timestamptz)
RETURNING true;

-- name: missing_cdr_policy^
-- A party's own row.
SELECT action, after_days FROM gateway.missing_cdr_policy WHERE party_id = :party_id;

-- name: set_missing_cdr_policy!
INSERT INTO gateway.missing_cdr_policy (party_id, action, after_days) VALUES (:party_id, :action, :after_days)
ON CONFLICT (party_id) DO UPDATE SET action = excluded.action, after_days = excluded.after_days;

-- name: last_update^
-- The last update that the CPO sent of a running session, by the name or the reference it goes by.
SELECT version, body, energy_wh, last_updated, session_ref FROM gateway.ocpi_session
WHERE party_id = :cpo_id AND (authorization_reference = ANY (:references::text[]) OR session_key = :session_key)
ORDER BY last_updated DESC
LIMIT 1;

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

-- name: owe_rest!
-- The first CDR of a session that was captured at its last known cost: what it costs above that is owed.
UPDATE gateway.capture AS c
SET receivable_minor = greatest(s.price_minor - c.amount_minor, 0)
FROM gateway.session AS s
WHERE c.lane = :lane AND c.session_id = :session_id AND c.state = 'succeeded'
  AND s.lane = c.lane AND s.id = c.session_id;
