-- The payment's phases. Each statement is one atomic phase: what a phase changes, the work it leaves and the
-- events it tells stand or fall together. `UPDATE ... WHERE state = ...` guards every step: no row, no effect.

-- name: find_session_by_name^
-- The session that a foreign name stands for.
SELECT lane, session_id FROM gateway.session_lookup WHERE kind = :kind AND foreign_id = :foreign_id;

-- name: load_session^
SELECT * FROM gateway.session WHERE lane = :lane AND id = :id;

-- name: load_authorization^
SELECT * FROM gateway.payment_authorization WHERE lane = :lane AND id = :id;

-- name: load_capture^
SELECT * FROM gateway.capture WHERE lane = :lane AND session_id = :session_id;

-- name: load_capture_by_id^
SELECT * FROM gateway.capture WHERE lane = :lane AND id = :id;

-- name: load_snapshot^
SELECT sha256, version, canonical, currency FROM gateway.tariff_snapshot WHERE sha256 = :sha256;

-- name: current_authorization^
-- The authorization that counts for a session: the active one, else the latest.
SELECT * FROM gateway.payment_authorization
WHERE lane = :lane AND session_id = :session_id
ORDER BY (state NOT IN ('voided', 'failed')) DESC, id DESC
LIMIT 1;

-- name: load_standing^
-- A session, the authorization that counts for it and its capture, in one row: the columns of each, one after another.
SELECT s.*, a.*, c.* FROM gateway.session AS s
LEFT JOIN LATERAL (
    SELECT * FROM gateway.payment_authorization AS x
    WHERE x.lane = s.lane AND x.session_id = s.id
    ORDER BY (x.state NOT IN ('voided', 'failed')) DESC, x.id DESC
    LIMIT 1
) AS a ON true
LEFT JOIN gateway.capture AS c ON c.lane = s.lane AND c.session_id = s.id
WHERE s.lane = :lane::smallint AND s.id = :id::uuid;

-- name: load_authorized^
-- An authorization and its session, in one row: the columns of each, one after another.
SELECT a.*, s.* FROM gateway.payment_authorization AS a
JOIN gateway.session AS s ON s.lane = a.lane AND s.id = a.session_id
WHERE a.lane = :lane::smallint AND a.id = :id::uuid;

-- name: list_sessions
SELECT s.* FROM gateway.session AS s
WHERE (:party_id::text IS NULL OR s.demand_partner_id = :party_id::text OR s.cpo_id = :party_id::text)
  AND (:state::text IS NULL OR s.state = :state::text)
  AND (:session_ref::text IS NULL OR s.session_ref = :session_ref::text)
  AND (:evse_id::text IS NULL OR upper(s.evse_id) = upper(:evse_id::text))
  AND (:created_from::timestamptz IS NULL OR s.created_at >= :created_from::timestamptz)
  AND (:created_before::timestamptz IS NULL OR s.created_at < :created_before::timestamptz)
  AND s.metadata @> :metadata::jsonb
  AND (:before::uuid IS NULL OR s.id < :before::uuid)
ORDER BY s.id DESC
LIMIT :row_limit::int;

-- name: list_authorizations
SELECT a.* FROM gateway.payment_authorization AS a
WHERE (:party_id::text IS NULL OR a.party_id = :party_id::text)
  AND (:state::text IS NULL OR a.state = :state::text)
  AND (:before::uuid IS NULL OR a.id < :before::uuid)
ORDER BY a.id DESC
LIMIT :row_limit::int;

-- name: list_captures
SELECT c.* FROM gateway.capture AS c
JOIN gateway.session AS s ON s.lane = c.lane AND s.id = c.session_id
WHERE (:party_id::text IS NULL OR s.demand_partner_id = :party_id::text OR s.cpo_id = :party_id::text)
  AND (:before::uuid IS NULL OR c.id < :before::uuid)
ORDER BY c.id DESC
LIMIT :row_limit::int;

-- name: open_authorization$
-- Phase 1 of authorize. A new session (unless one of that name exists already), the authorization and, on the
-- PSP's rails, the call that is about to be made. On a partner's account the hold is part of the same
-- statement and there is no call; no row comes back when the account can't bear it, and nothing is written.
WITH funds AS (
    UPDATE gateway.partner_account
    SET held_minor = held_minor + :hold_minor::bigint
    WHERE :funding::text = 'partner_account'
      AND party_id = :account_party_id::text AND currency = :currency::char(3)
      AND balance_minor - held_minor + credit_limit_minor >= :hold_minor::bigint
    RETURNING 1
), allowed AS (
    SELECT 1 FROM funds
    UNION ALL
    SELECT 1 WHERE :funding::text = 'psp'
), snapshot AS (
    INSERT INTO gateway.tariff_snapshot (sha256, version, canonical, currency, created_at)
    SELECT :tariff_sha256::text, :tariff_version::text, :tariff_canonical::bytea, :currency::char(3), :now::timestamptz
    FROM allowed
    ON CONFLICT (sha256) DO NOTHING
), charging AS (
    INSERT INTO gateway.session (
        lane, id, demand_partner_id, cpo_id, evse_id, location_id, session_ref, territory, time_zone, currency,
        tariff_sha256, state, metadata, created_at, updated_at)
    SELECT :lane::smallint, :session_id::uuid, :party_id::text, :cpo_id::text, :evse_id::text, :location_id::text,
           :session_ref::text, :territory::text, :time_zone::text, :currency::char(3), :tariff_sha256::text,
           'active', :metadata::jsonb, :now::timestamptz, :now::timestamptz
    FROM allowed
    WHERE :new_session::boolean
), lookup AS (
    INSERT INTO gateway.session_lookup (kind, foreign_id, lane, session_id)
    SELECT 'session_ref', :session_name::text, :lane::smallint, :session_id::uuid
    FROM allowed
    WHERE :new_session::boolean AND :session_name::text IS NOT NULL
), opened AS (
    INSERT INTO gateway.payment_authorization (
        lane, id, session_id, party_id, rail, funding, account_party_id, state, hold_minor, currency,
        payment_method, customer, off_session, incrementable, metadata, created_at, updated_at)
    SELECT :lane::smallint, :authorization_id::uuid, :session_id::uuid, :party_id::text, :rail::text,
           :funding::text, :account_party_id::text, :state::text, :hold_minor::bigint, :currency::char(3),
           :payment_method::text, :customer::text, :off_session::boolean,
           :funding::text = 'partner_account', :metadata::jsonb, :now::timestamptz, :now::timestamptz
    FROM allowed
    RETURNING 1 AS done
), call AS (
    INSERT INTO gateway.psp_call (
        lane, id, session_id, authorization_id, kind, state, amount_minor, next_ask_at, created_at)
    SELECT :lane::smallint, :call_id::uuid, :session_id::uuid, :authorization_id::uuid, 'hold', 'intended',
           :hold_minor::bigint, :next_ask_at::timestamptz, :wall_now::timestamptz
    FROM allowed
    WHERE :call_id::uuid IS NOT NULL
), told AS (
    INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at)
    SELECT :lane::smallint, e.id, e.party_id, e.type, e.object_id, e.data, :now::timestamptz
    FROM allowed, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb)
)
SELECT done FROM opened;

-- name: conclude_hold$
-- Phase 3 of authorize: the PSP's answer to a hold, whoever asked and whenever it came.
WITH answered AS (
    UPDATE gateway.psp_call
    SET state = :call_state::text, answer = :answer::jsonb, attempts = attempts + 1,
        next_ask_at = NULL, finished_at = :wall_now::timestamptz
    WHERE lane = :lane::smallint AND id = :call_id::uuid AND state IN ('intended', 'unknown')
    RETURNING lane, authorization_id
), moved AS (
    UPDATE gateway.payment_authorization AS a
    SET state = :state::text, version = version + 1, psp_payment = coalesce(:psp_payment::text, psp_payment),
        capture_before = :capture_before::timestamptz, incrementable = :incrementable::boolean,
        max_capture_minor = :max_capture_minor::bigint, next_action = :next_action::jsonb,
        decline_code = :decline_code::text, updated_at = :now::timestamptz
    FROM answered
    WHERE a.lane = answered.lane AND a.id = answered.authorization_id
      AND a.state IN ('requires_authorization', 'requires_action', 'outcome_unknown')
    RETURNING a.lane, a.session_id
), lookup AS (
    INSERT INTO gateway.session_lookup (kind, foreign_id, lane, session_id)
    SELECT 'psp_payment', :psp_payment::text, lane, session_id FROM moved WHERE :psp_payment::text IS NOT NULL
    ON CONFLICT DO NOTHING
), told AS (
    INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at)
    SELECT moved.lane, e.id, e.party_id, e.type, e.object_id, e.data, :now::timestamptz
    FROM moved, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb)
)
SELECT true FROM moved;

-- name: postpone_call$
-- The PSP gave no answer: the call stays open and is asked again later, under the same key.
WITH asked AS (
    UPDATE gateway.psp_call
    SET state = 'unknown', attempts = attempts + 1, next_ask_at = :next_ask_at::timestamptz,
        answer = jsonb_build_object('unknown', :reason::text)
    WHERE lane = :lane::smallint AND id = :call_id::uuid AND state IN ('intended', 'unknown')
    RETURNING lane, authorization_id
)
UPDATE gateway.payment_authorization AS a
SET state = 'outcome_unknown', version = version + 1, updated_at = :now::timestamptz, next_action = NULL
FROM asked
WHERE a.lane = asked.lane AND a.id = asked.authorization_id
  AND a.state IN ('requires_authorization', 'capture_requested', 'outcome_unknown')
RETURNING true;

-- name: postpone_plain_call!
-- A call other than hold, capture and void that was not answered leaves the authorization as it is; the call is asked again.
UPDATE gateway.psp_call
SET state = 'unknown', attempts = attempts + 1, next_ask_at = :next_ask_at::timestamptz,
    answer = jsonb_build_object('unknown', :reason::text)
WHERE lane = :lane AND id = :call_id AND state IN ('intended', 'unknown');

-- name: complete_session$
-- The CDR ends the session: its bytes and its price are fixed, and the capture is now due. A CDR that ended another
-- session is a unique violation: one delivery is never paid for twice.
WITH ended AS (
    UPDATE gateway.session
    SET state = 'completed', cdr_id = :cdr_id::text, cdr_version = :cdr_version::text, cdr = :cdr::bytea,
        price_minor = :price_minor::bigint, price_net_minor = :price_net_minor::bigint,
        energy_wh = :energy_wh::bigint, ended_at = :ended_at::timestamptz, flags = flags || :flags::text[],
        updated_at = :now::timestamptz
    WHERE lane = :lane::smallint AND id = :session_id::uuid AND state = 'active'
    RETURNING lane, id, cpo_id
), lookup AS (
    INSERT INTO gateway.session_lookup (kind, foreign_id, lane, session_id)
    SELECT 'cdr', cpo_id || ':' || :cdr_id::text, lane, id FROM ended
), errand AS (
    INSERT INTO gateway.task (lane, id, kind, session_id, run_at)
    SELECT lane, :task_id::uuid, 'capture', id, :run_at::timestamptz FROM ended
    ON CONFLICT DO NOTHING
), told AS (
    INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at)
    SELECT ended.lane, e.id, e.party_id, e.type, e.object_id, e.data, :now::timestamptz
    FROM ended, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb)
)
SELECT true FROM ended;

-- name: request_end$
-- Phase 1 of capture or void: the intent. The capture row's key makes a second capture impossible. Returns the
-- capture's id, which an earlier try that took nothing may have given it.
WITH priced AS (
    -- The price that the caller has read still stands, and stands until this commits: a correction waits.
    SELECT 1 FROM gateway.session
    WHERE lane = :lane::smallint AND id = :session_id::uuid AND price_minor IS NOT DISTINCT FROM :price_minor::bigint
    FOR SHARE
), moved AS (
    UPDATE gateway.payment_authorization
    SET state = 'capture_requested', version = version + 1, updated_at = :now::timestamptz, next_action = NULL
    WHERE lane = :lane::smallint AND id = :authorization_id::uuid AND state = ANY (:from_states::text[])
      AND (:expected_version::int IS NULL OR version = :expected_version::int)
      AND EXISTS (SELECT 1 FROM priced)
      AND NOT EXISTS (
          SELECT 1 FROM gateway.capture AS c
          WHERE c.lane = :lane::smallint AND c.session_id = :session_id::uuid AND c.state <> 'failed')
    RETURNING lane, id, session_id, currency
), taken AS (
    INSERT INTO gateway.capture (
        lane, session_id, id, authorization_id, state, amount_minor, receivable_minor, currency, created_at)
    SELECT lane, session_id, :capture_id::uuid, id, 'requested', :amount_minor::bigint, :receivable_minor::bigint,
           currency, :now::timestamptz
    FROM moved
    WHERE :amount_minor::bigint > 0
    -- One that took nothing gives its place, and its id, to another try.
    ON CONFLICT (lane, session_id) DO UPDATE
    SET authorization_id = excluded.authorization_id, state = excluded.state, amount_minor = excluded.amount_minor,
        receivable_minor = excluded.receivable_minor, created_at = excluded.created_at
    WHERE capture.state = 'failed'
    RETURNING id
), call AS (
    INSERT INTO gateway.psp_call (
        lane, id, session_id, authorization_id, kind, state, amount_minor, next_ask_at, created_at)
    SELECT lane, :call_id::uuid, session_id, id, CASE WHEN :amount_minor::bigint > 0 THEN 'capture' ELSE 'void' END,
           'intended', :amount_minor::bigint, :next_ask_at::timestamptz, :wall_now::timestamptz
    FROM moved
    WHERE :amount_minor::bigint = 0 OR EXISTS (SELECT 1 FROM taken)
    RETURNING id
)
SELECT coalesce((SELECT id FROM taken), call.id) FROM call;

-- name: conclude_end$
-- Phase 3 of capture or void: the PSP's answer. A capture leaves the session for clearing; a refused one may leave
-- the hold standing, which is given back by the next call.
WITH answered AS (
    UPDATE gateway.psp_call
    SET state = :call_state::text, answer = :answer::jsonb, attempts = attempts + 1,
        next_ask_at = NULL, finished_at = :wall_now::timestamptz
    WHERE lane = :lane::smallint AND id = :call_id::uuid AND state IN ('intended', 'unknown')
    RETURNING lane, authorization_id, kind
), moved AS (
    UPDATE gateway.payment_authorization AS a
    SET state = :state::text, version = version + 1, decline_code = :decline_code::text, updated_at = :now::timestamptz
    FROM answered
    WHERE a.lane = answered.lane AND a.id = answered.authorization_id
      AND a.state IN ('capture_requested', 'outcome_unknown')
    RETURNING a.lane, a.id, a.session_id, a.psp_payment, answered.kind
), taken AS (
    UPDATE gateway.capture AS c
    SET state = CASE WHEN :state::text = 'captured' THEN 'succeeded' ELSE 'failed' END,
        amount_minor = coalesce(:amount_minor::bigint, c.amount_minor),
        psp_charge = :psp_charge::text, fee_minor = :fee_minor::bigint, fee_currency = :fee_currency::char(3),
        captured_at = CASE WHEN :state::text = 'captured' THEN :now::timestamptz END
    FROM moved
    WHERE c.lane = moved.lane AND c.session_id = moved.session_id AND c.authorization_id = moved.id
      AND c.state = 'requested'
    RETURNING c.lane, c.session_id, c.state
), done AS (
    -- Only a capture ends the errand: after a release or a decline it looks whether the session is paid for.
    DELETE FROM gateway.task AS t USING moved
    WHERE t.lane = moved.lane AND t.session_id = moved.session_id AND t.kind = 'capture'
      AND :state::text = 'captured'
), errand AS (
    INSERT INTO gateway.task (lane, id, kind, session_id, run_at)
    SELECT lane, :task_id::uuid, :errand::text, session_id, :wall_now::timestamptz FROM taken
    WHERE state = 'succeeded'
    ON CONFLICT DO NOTHING
), drop AS (
    INSERT INTO gateway.psp_call (
        lane, id, session_id, authorization_id, kind, psp_payment, state, amount_minor, next_ask_at, created_at)
    SELECT lane, :drop_id::uuid, session_id, id, 'drop', psp_payment, 'intended', 0, :wall_now::timestamptz,
           :wall_now::timestamptz
    FROM moved
    WHERE kind = 'capture' AND :state::text = 'failed'
), told AS (
    INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at)
    SELECT moved.lane, e.id, e.party_id, e.type, e.object_id, e.data, :now::timestamptz
    FROM moved, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb)
)
SELECT true FROM moved;

-- name: end_on_account$
-- Capture or release on a partner's funded account: no call outside, so intent and result are one statement.
WITH priced AS (
    -- The price that the caller has read still stands, and stands until this commits: a correction waits.
    SELECT 1 FROM gateway.session
    WHERE lane = :lane::smallint AND id = :session_id::uuid AND price_minor IS NOT DISTINCT FROM :price_minor::bigint
    FOR SHARE
), moved AS (
    UPDATE gateway.payment_authorization
    SET state = CASE WHEN :amount_minor::bigint > 0 THEN 'captured' ELSE 'voided' END,
        version = version + 1, updated_at = :now::timestamptz
    WHERE lane = :lane::smallint AND id = :authorization_id::uuid AND state = 'authorized'
      AND (:expected_version::int IS NULL OR version = :expected_version::int)
      AND EXISTS (SELECT 1 FROM priced)
      AND NOT EXISTS (
          SELECT 1 FROM gateway.capture AS c
          WHERE c.lane = :lane::smallint AND c.session_id = :session_id::uuid AND c.state <> 'failed')
    RETURNING lane, id, session_id, currency, hold_minor, account_party_id
), account AS (
    UPDATE gateway.partner_account AS p
    SET held_minor = p.held_minor - moved.hold_minor, balance_minor = p.balance_minor - :amount_minor::bigint
    FROM moved
    WHERE p.party_id = moved.account_party_id AND p.currency = moved.currency
), taken AS (
    INSERT INTO gateway.capture (
        lane, session_id, id, authorization_id, state, amount_minor, receivable_minor, currency, captured_at, created_at)
    SELECT lane, session_id, :capture_id::uuid, id, 'succeeded', :amount_minor::bigint, :receivable_minor::bigint,
           currency, :now::timestamptz, :now::timestamptz
    FROM moved
    WHERE :amount_minor::bigint > 0
    ON CONFLICT (lane, session_id) DO UPDATE
    SET id = excluded.id, authorization_id = excluded.authorization_id, state = excluded.state,
        amount_minor = excluded.amount_minor, receivable_minor = excluded.receivable_minor,
        captured_at = excluded.captured_at, created_at = excluded.created_at
    WHERE capture.state = 'failed'
), done AS (
    DELETE FROM gateway.task AS t USING moved
    WHERE t.lane = moved.lane AND t.session_id = moved.session_id AND t.kind = 'capture'
      AND :amount_minor::bigint > 0
), errand AS (
    INSERT INTO gateway.task (lane, id, kind, session_id, run_at)
    SELECT lane, :task_id::uuid, 'clear', session_id, :wall_now::timestamptz FROM moved WHERE :amount_minor::bigint > 0
    ON CONFLICT DO NOTHING
), told AS (
    INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at)
    SELECT moved.lane, e.id, e.party_id, e.type, e.object_id, e.data, :now::timestamptz
    FROM moved, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb)
)
SELECT true FROM moved;

-- name: refused_kinds
-- Kinds of calls that the PSP has declined for an authorization: the steps that were tried.
SELECT DISTINCT kind FROM gateway.psp_call
WHERE lane = :lane AND authorization_id = :authorization_id AND state = 'declined';

-- name: request_increment$
-- Phase 1 of an increment: the authorization stays as it is until the PSP has answered.
INSERT INTO gateway.psp_call (
    lane, id, session_id, authorization_id, kind, state, amount_minor, next_ask_at, created_at)
SELECT lane, :call_id::uuid, session_id, id, 'increment', 'intended', :amount_minor::bigint,
       :next_ask_at::timestamptz, :wall_now::timestamptz
FROM gateway.payment_authorization
WHERE lane = :lane::smallint AND id = :authorization_id::uuid AND state = 'authorized'
  AND hold_minor < :amount_minor::bigint
RETURNING true;

-- name: conclude_increment$
-- Phase 3 of an increment: the hold is raised, or the no is recorded and the next step may follow.
WITH answered AS (
    UPDATE gateway.psp_call
    SET state = :call_state::text, answer = :answer::jsonb, attempts = attempts + 1,
        next_ask_at = NULL, finished_at = :wall_now::timestamptz
    WHERE lane = :lane::smallint AND id = :call_id::uuid AND state IN ('intended', 'unknown')
    RETURNING lane, authorization_id
), raised AS (
    UPDATE gateway.payment_authorization AS a
    SET hold_minor = greatest(a.hold_minor, :hold_minor::bigint), version = version + 1,
        capture_before = coalesce(:capture_before::timestamptz, capture_before),
        max_capture_minor = :max_capture_minor::bigint, updated_at = :now::timestamptz
    FROM answered
    WHERE a.lane = answered.lane AND a.id = answered.authorization_id AND a.state = 'authorized'
      AND :call_state::text = 'succeeded'
)
SELECT true FROM answered;

-- name: raise_on_account$
-- A hold on a funded account, raised in our own books where the account can bear it.
WITH raised AS (
    UPDATE gateway.payment_authorization
    SET hold_minor = :amount_minor::bigint, version = version + 1, updated_at = :now::timestamptz
    WHERE lane = :lane::smallint AND id = :authorization_id::uuid AND state = 'authorized'
      AND hold_minor = :hold_minor::bigint AND hold_minor < :amount_minor::bigint
    RETURNING account_party_id, currency
)
UPDATE gateway.partner_account AS p
SET held_minor = p.held_minor + :amount_minor::bigint - :hold_minor::bigint
FROM raised
WHERE p.party_id = raised.account_party_id AND p.currency = raised.currency
RETURNING true;

-- name: request_collect$
-- Phase 1 of charging off-session what the hold did not cover: once per session, for ever.
INSERT INTO gateway.psp_call (
    lane, id, session_id, authorization_id, kind, state, amount_minor, next_ask_at, created_at)
SELECT c.lane, :call_id::uuid, c.session_id, c.authorization_id, 'collect', 'intended', :amount_minor::bigint,
       :next_ask_at::timestamptz, :wall_now::timestamptz
FROM gateway.capture AS c
WHERE c.lane = :lane::smallint AND c.session_id = :session_id::uuid AND c.state = 'succeeded'
  AND c.receivable_minor >= :amount_minor::bigint
  AND NOT EXISTS (
      SELECT 1 FROM gateway.psp_call AS k
      WHERE k.lane = c.lane AND k.authorization_id = c.authorization_id AND k.kind = 'collect')
RETURNING true;

-- name: conclude_collect$
-- Phase 3: what was charged counts to the one capture; what was declined stays owed. Then clearing may have it.
WITH answered AS (
    UPDATE gateway.psp_call
    SET state = :call_state::text, answer = :answer::jsonb, attempts = attempts + 1,
        next_ask_at = NULL, finished_at = :wall_now::timestamptz
    WHERE lane = :lane::smallint AND id = :call_id::uuid AND state IN ('intended', 'unknown')
    RETURNING lane, session_id
), taken AS (
    UPDATE gateway.capture AS c
    SET amount_minor = amount_minor + :collected_minor::bigint,
        collected_minor = collected_minor + :collected_minor::bigint,
        receivable_minor = receivable_minor - :collected_minor::bigint,
        -- The PSP's fee on both charges; the capture's own may not have been told.
        fee_minor = CASE WHEN coalesce(fee_currency, :fee_currency::char(3)) = :fee_currency::char(3)
            THEN coalesce(fee_minor, 0) + :fee_minor::bigint ELSE fee_minor END,
        fee_currency = coalesce(fee_currency, :fee_currency::char(3))
    FROM answered
    WHERE c.lane = answered.lane AND c.session_id = answered.session_id
), lookup AS (
    INSERT INTO gateway.session_lookup (kind, foreign_id, lane, session_id)
    SELECT 'psp_payment', :psp_payment::text, lane, session_id FROM answered WHERE :psp_payment::text IS NOT NULL
    ON CONFLICT DO NOTHING
), done AS (
    DELETE FROM gateway.task AS t USING answered
    WHERE t.lane = answered.lane AND t.session_id = answered.session_id AND t.kind = 'collect'
), errand AS (
    INSERT INTO gateway.task (lane, id, kind, session_id, run_at)
    SELECT lane, :task_id::uuid, 'clear', session_id, :wall_now::timestamptz FROM answered
    ON CONFLICT DO NOTHING
)
SELECT true FROM answered;

-- name: expire_authorization$
-- The PSP says that a hold is gone (expired or canceled there).
UPDATE gateway.payment_authorization
SET state = 'voided', version = version + 1, next_action = NULL, updated_at = :now
WHERE lane = :lane AND id = :id AND state IN ('authorized', 'requires_action')
RETURNING true;

-- name: hold_after_action$
-- The cardholder has authenticated (or failed to): what the PSP says of the payment now counts. After a no the
-- payment is given up at the PSP too: the app could try it once more, and hold money for nobody.
WITH moved AS (
    UPDATE gateway.payment_authorization
    SET state = :state::text, version = version + 1, capture_before = :capture_before::timestamptz,
        next_action = NULL, decline_code = :decline_code::text, updated_at = :now::timestamptz
    WHERE lane = :lane::smallint AND id = :id::uuid AND state = 'requires_action'
    RETURNING lane, id, session_id, psp_payment
), drop AS (
    INSERT INTO gateway.psp_call (
        lane, id, session_id, authorization_id, kind, psp_payment, state, amount_minor, next_ask_at, created_at)
    SELECT lane, :drop_id::uuid, session_id, id, 'drop', psp_payment, 'intended', 0, :wall_now::timestamptz,
           :wall_now::timestamptz
    FROM moved
    WHERE :state::text = 'failed'
), told AS (
    INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at)
    SELECT moved.lane, e.id, e.party_id, e.type, e.object_id, e.data, :now::timestamptz
    FROM moved, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb)
)
SELECT true FROM moved;

-- name: open_call^
-- The call in the air for an authorization, if there is one.
SELECT * FROM gateway.psp_call
WHERE lane = :lane AND authorization_id = :authorization_id AND state IN ('intended', 'unknown');

-- name: lanes_with_open_calls
SELECT DISTINCT lane FROM gateway.psp_call
WHERE state IN ('intended', 'unknown') AND next_ask_at <= :wall_now
ORDER BY lane;

-- name: lease_calls
-- Calls that are due to be asked again; the lease is the next question's time, moved ahead.
UPDATE gateway.psp_call AS c
SET next_ask_at = :leased_until::timestamptz
FROM (
    SELECT id FROM gateway.psp_call
    WHERE lane = :lane::smallint AND state IN ('intended', 'unknown') AND next_ask_at <= :wall_now::timestamptz
    ORDER BY next_ask_at
    LIMIT :batch::int
    FOR UPDATE SKIP LOCKED
) AS due
WHERE c.lane = :lane::smallint AND c.id = due.id
RETURNING c.*;

-- name: keep_psp_event$
-- An event of the PSP, once. It leaves an errand where it may change something: money taken back (`always`), a call
-- that was not answered, a challenge under way, a hold that ended. What we know already leaves none: a call that was made
-- a moment ago has a caller who is about to hear, and one that was not answered is asked about on its own schedule.
-- The flush waits only for money taken back: what a crash takes away of the rest, the sweep of the PSP's list finds.
WITH relaxed AS MATERIALIZED (
    SELECT set_config('synchronous_commit', CASE WHEN :always::boolean THEN 'on' ELSE 'off' END, true) AS value
), kept AS (
    INSERT INTO gateway.psp_event (id, type, body, received_at)
    SELECT :id::text, :type::text, :body::bytea, :received_at::timestamptz FROM relaxed WHERE relaxed.value <> ''
    ON CONFLICT DO NOTHING
    RETURNING id
), errand AS (
    INSERT INTO gateway.task (lane, id, kind, payload, run_at)
    SELECT :task_lane::smallint, :task_id::uuid, 'psp_event',
           jsonb_build_object('event', id, 'psp_payment', :psp_payment::text), :received_at::timestamptz
    FROM kept
    WHERE :psp_payment::text IS NOT NULL AND (:always::boolean OR EXISTS (
        SELECT 1 FROM gateway.session_lookup AS k
        JOIN gateway.payment_authorization AS a ON a.lane = k.lane AND a.session_id = k.session_id
        WHERE k.kind = 'psp_payment' AND k.foreign_id = :psp_payment::text AND a.psp_payment = :psp_payment::text
          AND (a.state IN ('requires_action', 'outcome_unknown') OR (a.state = 'authorized' AND :ended::boolean)
               OR EXISTS (
                   SELECT 1 FROM gateway.psp_call AS c
                   WHERE c.lane = a.lane AND c.authorization_id = a.id AND c.state = 'unknown'))))
)
SELECT true FROM kept;

-- name: fund_account$
-- Money arrived for a partner's account: once per reference.
WITH recorded AS (
    INSERT INTO gateway.partner_funding (id, party_id, currency, amount_minor, reference, psp_object, created_at)
    VALUES (:id::uuid, :party_id::text, :currency::char(3), :amount_minor::bigint, :reference::text,
            :psp_object::text, :now::timestamptz)
    ON CONFLICT (party_id, reference) DO NOTHING
    RETURNING party_id, currency, amount_minor
)
INSERT INTO gateway.partner_account (party_id, currency, balance_minor)
SELECT party_id, currency, amount_minor FROM recorded
ON CONFLICT (party_id, currency) DO UPDATE
SET balance_minor = partner_account.balance_minor + excluded.balance_minor
RETURNING true;

-- name: intend_top_up^
-- What a reference stands for, committed before the PSP is asked: the first request's figures, whoever comes later.
WITH first AS (
    INSERT INTO gateway.top_up (subject, id, currency, amount_minor, asked_at)
    VALUES (:subject::text, :id::uuid, :currency::char(3), :amount_minor::bigint, :wall_now::timestamptz)
    ON CONFLICT DO NOTHING  -- of the subject or of the id that follows from it, whichever another request has first
    RETURNING id, currency, amount_minor, asked_at, psp_object
)
SELECT * FROM first
UNION ALL
SELECT id, currency, amount_minor, asked_at, psp_object FROM gateway.top_up
WHERE subject = :subject::text AND NOT EXISTS (SELECT 1 FROM first);

-- name: ask_top_up_again!
-- The PSP has no such top-up: it is asked for anew, and its key counts from now.
UPDATE gateway.top_up SET asked_at = :wall_now WHERE subject = :subject AND psp_object IS NULL AND asked_at = :asked_at;

-- name: conclude_top_up!
UPDATE gateway.top_up SET psp_object = :psp_object WHERE subject = :subject AND psp_object IS NULL;

-- name: load_funding^
-- What a reference of a party's funding stands for.
SELECT currency, amount_minor FROM gateway.partner_funding WHERE party_id = :party_id AND reference = :reference;

-- name: set_credit_limit!
INSERT INTO gateway.partner_account (party_id, currency, credit_limit_minor)
VALUES (:party_id, :currency, :credit_limit_minor)
ON CONFLICT (party_id, currency) DO UPDATE SET credit_limit_minor = excluded.credit_limit_minor;

-- name: load_account^
SELECT * FROM gateway.partner_account WHERE party_id = :party_id AND currency = :currency;

-- name: load_psp_event^
SELECT id, type, body, received_at FROM gateway.psp_event WHERE id = :id;

-- name: latest_psp_event$
SELECT max(received_at) FROM gateway.psp_event;
