-- Requests to the PSP: the intent is committed before the request is sent, the outcome with all that follows from it
-- after the PSP has answered. At most one request of an authorization is open at a time.

-- name: open_request^
-- The open request of an authorization, if there is one.
SELECT * FROM gateway.psp_request
WHERE shard = :shard AND authorization_id = :authorization_id AND state IN ('intended', 'unknown');

-- name: lease_requests
-- Requests that are due to be sent again; the lease is the time of the next attempt, moved ahead. Only who owns the shard
-- takes them; the outcome of one that is sent is recorded whoever sent it, once.
UPDATE gateway.psp_request AS c
SET next_attempt_at = :leased_until::timestamptz
FROM (
    SELECT id FROM gateway.psp_request
    WHERE shard = :shard::smallint AND state IN ('intended', 'unknown') AND next_attempt_at <= :wall_now::timestamptz
    ORDER BY next_attempt_at
    LIMIT :batch::int
    FOR UPDATE SKIP LOCKED
) AS due
WHERE c.shard = :shard::smallint AND c.id = due.id
  AND EXISTS (SELECT 1 FROM gateway.shard_lease AS l WHERE l.shard = :shard::smallint AND l.fence = :fence::bigint)
RETURNING c.*;

-- name: ask_without_features!
-- The account may not have the features of a hold: the same hold without them, under another key, is what is sent from
-- now on.
UPDATE gateway.psp_request
SET hold_features = '{}', key_number = :key_number::smallint
WHERE shard = :shard::smallint AND id = :request_id::uuid AND state IN ('intended', 'unknown')
  AND key_number = :key_number::smallint - 1;

-- name: rejected_kinds
-- Kinds of requests that the PSP has declined for an authorization: the steps that were tried.
SELECT DISTINCT kind FROM gateway.psp_request
WHERE shard = :shard AND authorization_id = :authorization_id AND state = 'declined';

-- name: was_released$
-- Whether the partner or we released the hold on purpose, as against the PSP ending it.
SELECT EXISTS (
    SELECT 1 FROM gateway.psp_request
    WHERE shard = :shard AND authorization_id = :authorization_id AND kind = 'void'
);

-- name: postpone_request!
-- The PSP gave no answer: the request stays open and is sent again later, under the same key. Where the authorization
-- itself waits for the answer, its outcome is unknown.
WITH postponed AS (
    UPDATE gateway.psp_request
    SET state = 'unknown', attempts = attempts + 1, next_attempt_at = :next_attempt_at::timestamptz,
        answer = jsonb_build_object('unknown', :reason::text)
    WHERE shard = :shard::smallint AND id = :request_id::uuid AND state IN ('intended', 'unknown')
    RETURNING shard, authorization_id, kind
)
UPDATE gateway.payment_authorization AS a
SET state = 'outcome_unknown', version = version + 1, updated_at = :now::timestamptz, next_action = NULL
FROM postponed
WHERE postponed.kind IN ('hold', 'capture', 'void')
  AND a.shard = :shard::smallint AND a.id = postponed.authorization_id
  AND a.state IN ('requires_authorization', 'capture_requested', 'outcome_unknown');

-- name: record_hold^
-- Phase 3 of authorize: the PSP's answer to a hold, whoever sent it and whenever it came. A session whose
-- hold failed is no longer active.
WITH charging AS (
    -- Locked before the authorization, in the order in which every phase locks them.
    SELECT 1 FROM gateway.session WHERE shard = :shard::smallint AND id = :session_id::uuid FOR NO KEY UPDATE
), answered AS (
    UPDATE gateway.psp_request
    SET state = :request_state::text, answer = :answer::jsonb, attempts = attempts + 1,
        next_attempt_at = NULL, finished_at = :wall_now::timestamptz
    WHERE shard = :shard::smallint AND id = :request_id::uuid AND state IN ('intended', 'unknown')
    RETURNING shard, authorization_id
), moved AS (
    UPDATE gateway.payment_authorization AS a
    SET state = :state::text, version = version + 1, psp_payment = coalesce(:psp_payment::text, psp_payment),
        capture_before = :capture_before::timestamptz, incrementable = :incrementable::boolean,
        max_capture_minor = :max_capture_minor::bigint, next_action = :next_action::jsonb,
        decline_code = :decline_code::text, updated_at = :now::timestamptz
    FROM answered
    WHERE a.shard = :shard::smallint AND a.id = answered.authorization_id
      AND a.state IN ('requires_authorization', 'requires_action', 'outcome_unknown')
      AND (:state::text NOT IN ('voided', 'failed') OR EXISTS (SELECT 1 FROM charging))
    RETURNING a.shard, a.session_id, a.state
), cancelled AS (
    UPDATE gateway.session AS s SET state = 'cancelled', updated_at = :now::timestamptz
    FROM moved
    WHERE moved.state IN ('voided', 'failed') AND s.shard = :shard::smallint AND s.id = moved.session_id AND s.state = 'active'
), lookup AS (  -- elsewhere
    INSERT INTO gateway.session_lookup (kind, foreign_id, shard, session_id)
    SELECT 'psp_payment', :psp_payment::text, shard, session_id FROM moved WHERE :psp_payment::text IS NOT NULL
    ON CONFLICT DO NOTHING
), published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT :shard::smallint, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM moved, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    RETURNING id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT :shard::smallint, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
), kept AS (
    -- The answer of the request that waited for it, with the outcome: a repeat finds both or neither.
    UPDATE gateway.idempotency_key AS k
    SET status = :key_status::smallint, headers = :key_headers::jsonb, body = :key_body::bytea, locked_until = NULL
    FROM moved
    WHERE :key::text IS NOT NULL AND k.shard = :shard::smallint AND k.party_id = :key_party_id::text
      AND k.key = :key::text AND k.status IS NULL
    RETURNING 1
)
SELECT EXISTS (SELECT 1 FROM moved) AS done, EXISTS (SELECT 1 FROM kept) AS kept;

-- name: request_end$
-- Phase 1 of capture or void: the intent. The capture row's key makes a second capture impossible. Returns the
-- capture's id, which an earlier attempt that captured nothing may have given it.
WITH priced AS (
    -- The price that the caller has read still applies, and applies until this commits: a correction waits.
    SELECT 1 FROM gateway.session
    WHERE shard = :shard::smallint AND id = :session_id::uuid AND price_minor IS NOT DISTINCT FROM :price_minor::bigint
    FOR SHARE
), moved AS (
    UPDATE gateway.payment_authorization
    SET state = 'capture_requested', version = version + 1, updated_at = :now::timestamptz, next_action = NULL
    WHERE shard = :shard::smallint AND id = :authorization_id::uuid AND state = ANY (:from_states::text[])
      AND (:expected_version::int IS NULL OR version = :expected_version::int)
      AND EXISTS (SELECT 1 FROM priced)
      AND NOT EXISTS (
          SELECT 1 FROM gateway.capture AS c
          WHERE c.shard = :shard::smallint AND c.session_id = :session_id::uuid AND c.state <> 'failed')
    RETURNING shard, id, session_id, currency
), captured AS (
    INSERT INTO gateway.capture (
        shard, session_id, id, authorization_id, state, amount_minor, receivable_minor, currency, created_at)
    SELECT shard, session_id, :capture_id::uuid, id, 'requested', :amount_minor::bigint, :receivable_minor::bigint,
           currency, :now::timestamptz
    FROM moved
    WHERE :amount_minor::bigint > 0
    -- One that captured nothing gives its place, and its id, to another attempt.
    ON CONFLICT (shard, session_id) DO UPDATE
    SET authorization_id = excluded.authorization_id, state = excluded.state, amount_minor = excluded.amount_minor,
        receivable_minor = excluded.receivable_minor, created_at = excluded.created_at
    WHERE capture.state = 'failed'
    RETURNING id
), request AS (
    INSERT INTO gateway.psp_request (
        shard, id, session_id, authorization_id, kind, state, amount_minor, next_attempt_at, created_at)
    SELECT shard, :request_id::uuid, session_id, id, CASE WHEN :amount_minor::bigint > 0 THEN 'capture' ELSE 'void' END,
           'intended', :amount_minor::bigint, :next_attempt_at::timestamptz, :wall_now::timestamptz
    FROM moved
    WHERE :amount_minor::bigint = 0 OR EXISTS (SELECT 1 FROM captured)
    RETURNING id
)
SELECT coalesce((SELECT id FROM captured), request.id) FROM request;

-- name: record_end^
-- Phase 3 of capture or void: the PSP's answer. A capture leaves the session for clearing; a rejected one may leave
-- the hold active, which the next request releases. A session whose hold was released is no longer active.
WITH charging AS (
    -- Locked before the authorization, in the order in which every phase locks them.
    SELECT state FROM gateway.session WHERE shard = :shard::smallint AND id = :session_id::uuid FOR NO KEY UPDATE
), answered AS (
    UPDATE gateway.psp_request
    SET state = :request_state::text, answer = :answer::jsonb, attempts = attempts + 1,
        next_attempt_at = NULL, finished_at = :wall_now::timestamptz
    WHERE shard = :shard::smallint AND id = :request_id::uuid AND state IN ('intended', 'unknown')
    RETURNING shard, authorization_id, kind
), moved AS (
    UPDATE gateway.payment_authorization AS a
    SET state = :state::text, version = version + 1, decline_code = :decline_code::text, updated_at = :now::timestamptz
    FROM answered
    WHERE a.shard = :shard::smallint AND a.id = answered.authorization_id
      AND a.state IN ('capture_requested', 'outcome_unknown')
      AND (:state::text NOT IN ('voided', 'failed') OR EXISTS (SELECT 1 FROM charging))
    RETURNING a.shard, a.id, a.session_id, a.state, a.psp_payment, answered.kind
), cancelled AS (
    UPDATE gateway.session AS s SET state = 'cancelled', updated_at = :now::timestamptz
    FROM moved
    WHERE moved.state IN ('voided', 'failed') AND s.shard = :shard::smallint AND s.id = moved.session_id AND s.state = 'active'
), captured AS (
    UPDATE gateway.capture AS c
    SET state = CASE WHEN :state::text = 'captured' THEN 'succeeded' ELSE 'failed' END,
        amount_minor = coalesce(:amount_minor::bigint, c.amount_minor),
        -- Somebody captured less at the PSP by hand before: the rest of the price is owed.
        receivable_minor = c.receivable_minor + greatest(c.amount_minor - coalesce(:amount_minor::bigint, c.amount_minor), 0),
        psp_charge = :psp_charge::text, fee_minor = :fee_minor::bigint, fee_currency = :fee_currency::char(3),
        captured_at = CASE WHEN :state::text = 'captured' THEN :now::timestamptz END
    FROM moved
    WHERE c.shard = :shard::smallint AND c.session_id = moved.session_id AND c.authorization_id = moved.id
      AND c.state = 'requested'
    RETURNING c.shard, c.session_id, c.state
), done AS (
    -- Only a capture ends the task: after a release or a decline it checks whether the session is paid for. A session whose
    -- end intended the request has no task until then.
    DELETE FROM gateway.task AS t USING moved
    WHERE t.shard = :shard::smallint AND t.session_id = moved.session_id AND t.kind = 'capture_session'
      AND moved.state = 'captured'
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, run_at)
    SELECT moved.shard, :task_id::uuid, CASE WHEN moved.state = 'captured' THEN :task::text ELSE 'capture_session' END,
           moved.session_id, :wall_now::timestamptz
    FROM moved
    WHERE EXISTS (SELECT 1 FROM captured WHERE captured.state = 'succeeded')
       OR (moved.state <> 'captured' AND EXISTS (SELECT 1 FROM charging WHERE charging.state = 'completed'))
    ON CONFLICT DO NOTHING
), release AS (
    INSERT INTO gateway.psp_request (
        shard, id, session_id, authorization_id, kind, psp_payment, state, amount_minor, next_attempt_at, created_at)
    SELECT shard, :release_id::uuid, session_id, id, 'hold_release', psp_payment, 'intended', 0, :wall_now::timestamptz,
           :wall_now::timestamptz
    FROM moved
    WHERE kind = 'capture' AND :state::text = 'failed'
), published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT :shard::smallint, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM moved, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    RETURNING id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT :shard::smallint, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
), kept AS (
    -- The answer of the request that waited for it, with the outcome: a repeat finds both or neither.
    UPDATE gateway.idempotency_key AS k
    SET status = :key_status::smallint, headers = :key_headers::jsonb, body = :key_body::bytea, locked_until = NULL
    FROM moved
    WHERE :key::text IS NOT NULL AND k.shard = :shard::smallint AND k.party_id = :key_party_id::text
      AND k.key = :key::text AND k.status IS NULL
    RETURNING 1
)
SELECT EXISTS (SELECT 1 FROM moved) AS done, EXISTS (SELECT 1 FROM kept) AS kept;

-- name: request_increment$
-- Phase 1 of an increment: the authorization stays as it is until the PSP has answered.
INSERT INTO gateway.psp_request (
    shard, id, session_id, authorization_id, kind, state, amount_minor, next_attempt_at, created_at)
SELECT shard, :request_id::uuid, session_id, id, 'increment', 'intended', :amount_minor::bigint,
       :next_attempt_at::timestamptz, :wall_now::timestamptz
FROM gateway.payment_authorization
WHERE shard = :shard::smallint AND id = :authorization_id::uuid AND state = 'authorized'
  AND hold_minor < :amount_minor::bigint
RETURNING true;

-- name: record_increment$
-- Phase 3 of an increment: the hold is raised, or the rejection is recorded and the next step may follow.
WITH answered AS (
    UPDATE gateway.psp_request
    SET state = :request_state::text, answer = :answer::jsonb, attempts = attempts + 1,
        next_attempt_at = NULL, finished_at = :wall_now::timestamptz
    WHERE shard = :shard::smallint AND id = :request_id::uuid AND state IN ('intended', 'unknown')
    RETURNING shard, authorization_id, state
), raised AS (
    UPDATE gateway.payment_authorization AS a
    SET hold_minor = greatest(a.hold_minor, :hold_minor::bigint), version = version + 1,
        capture_before = coalesce(:capture_before::timestamptz, capture_before),
        max_capture_minor = :max_capture_minor::bigint, updated_at = :now::timestamptz
    FROM answered
    WHERE a.shard = :shard::smallint AND a.id = answered.authorization_id AND a.state = 'authorized'
      AND answered.state = 'succeeded'
)
SELECT true FROM answered;

-- name: request_residual_charge$
-- Phase 1 of the residual charge: off-session, for what the hold did not cover, once per session for ever.
INSERT INTO gateway.psp_request (
    shard, id, session_id, authorization_id, kind, state, amount_minor, next_attempt_at, created_at)
SELECT c.shard, :request_id::uuid, c.session_id, c.authorization_id, 'residual_charge', 'intended', :amount_minor::bigint,
       :next_attempt_at::timestamptz, :wall_now::timestamptz
FROM gateway.capture AS c
WHERE c.shard = :shard::smallint AND c.session_id = :session_id::uuid AND c.state = 'succeeded'
  AND c.receivable_minor >= :amount_minor::bigint
  AND NOT EXISTS (
      SELECT 1 FROM gateway.psp_request AS k
      WHERE k.shard = c.shard AND k.authorization_id = c.authorization_id AND k.kind = 'residual_charge')
RETURNING true;

-- name: record_residual_charge$
-- Phase 3: what was charged counts to the one capture; what was declined stays receivable. Then the session is cleared.
WITH answered AS (
    UPDATE gateway.psp_request
    SET state = :request_state::text, answer = :answer::jsonb, attempts = attempts + 1,
        next_attempt_at = NULL, finished_at = :wall_now::timestamptz
    WHERE shard = :shard::smallint AND id = :request_id::uuid AND state IN ('intended', 'unknown')
    RETURNING shard, session_id
), captured AS (
    UPDATE gateway.capture AS c
    SET amount_minor = amount_minor + :residual_charge_minor::bigint,
        residual_charge_minor = residual_charge_minor + :residual_charge_minor::bigint,
        receivable_minor = receivable_minor - :residual_charge_minor::bigint,
        -- The PSP's fee on both charges; the capture's own may not be known.
        fee_minor = CASE WHEN coalesce(fee_currency, :fee_currency::char(3)) = :fee_currency::char(3)
            THEN coalesce(fee_minor, 0) + :fee_minor::bigint ELSE fee_minor END,
        fee_currency = coalesce(fee_currency, :fee_currency::char(3))
    FROM answered
    WHERE c.shard = :shard::smallint AND c.session_id = answered.session_id
), lookup AS (
    INSERT INTO gateway.session_lookup (kind, foreign_id, shard, session_id)
    SELECT 'psp_payment', :psp_payment::text, shard, session_id FROM answered WHERE :psp_payment::text IS NOT NULL
    ON CONFLICT DO NOTHING
), done AS (
    DELETE FROM gateway.task AS t USING answered
    WHERE t.shard = :shard::smallint AND t.session_id = answered.session_id AND t.kind = 'charge_residual'
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, run_at)
    SELECT shard, :task_id::uuid, 'clear_session', session_id, :wall_now::timestamptz FROM answered
    ON CONFLICT DO NOTHING
)
SELECT true FROM answered;

-- name: request_refund$
-- Phase 1 of a refund: bounded by what was captured and is not disputed, at the PSP also by the one charge it is made
-- from: `residual_charge` names the off-session one, of which `residual_refunded_minor` is refunded already. On a funded account the
-- money is back in the same statement; at the PSP a request is intended. No row: the bound does not allow it.
WITH bounded AS (
    UPDATE gateway.capture
    SET refunded_minor = refunded_minor + :amount_minor::bigint
    WHERE shard = :shard::smallint AND session_id = :session_id::uuid AND state = 'succeeded'
      AND refunded_minor + disputed_minor + :amount_minor::bigint <= amount_minor
      AND CASE WHEN :funding::text <> 'psp' THEN true
          WHEN :residual_charge::text IS NULL
              THEN refunded_minor - :residual_refunded_minor::bigint + :amount_minor::bigint <= amount_minor - residual_charge_minor
          ELSE :residual_refunded_minor::bigint + :amount_minor::bigint <= residual_charge_minor END
    RETURNING shard, session_id, authorization_id, currency
), created AS (
    INSERT INTO gateway.refund (
        shard, id, session_id, state, amount_minor, currency, reason, metadata, created_at, finished_at)
    SELECT shard, :refund_id::uuid, session_id,
           CASE WHEN :funding::text = 'psp' THEN 'requested' ELSE 'succeeded' END, :amount_minor::bigint, currency,
           :reason::text, :metadata::jsonb, :now::timestamptz,
           CASE WHEN :funding::text <> 'psp' THEN :now::timestamptz END
    FROM bounded
), request AS (
    INSERT INTO gateway.psp_request (
        shard, id, session_id, authorization_id, kind, subject_id, psp_payment, state, amount_minor, next_attempt_at,
        created_at)
    SELECT shard, :request_id::uuid, session_id, authorization_id, 'refund', :refund_id::uuid, :residual_charge::text, 'intended',
           :amount_minor::bigint, :next_attempt_at::timestamptz, :wall_now::timestamptz
    FROM bounded
    WHERE :funding::text = 'psp'
), account AS (
    UPDATE gateway.partner_account AS p
    SET balance_minor = p.balance_minor + :amount_minor::bigint
    FROM bounded
    WHERE :funding::text <> 'psp' AND p.party_id = :account_party_id::text AND p.currency = bounded.currency
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
    SELECT shard, :task_id::uuid, 'book_correction', session_id,
           jsonb_build_object('kind', 'refund', 'id', :refund_id::text), :wall_now::timestamptz
    FROM bounded
    WHERE :funding::text <> 'psp'
), published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT :shard::smallint, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM bounded, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    WHERE :funding::text <> 'psp'
    RETURNING id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT :shard::smallint, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
)
SELECT true FROM bounded;

-- name: record_refund$
-- Phase 3 of a refund: money is on its way back and clearing reverses it, or the amount may be refunded again.
WITH answered AS (
    UPDATE gateway.psp_request
    SET state = :request_state::text, answer = :answer::jsonb, attempts = attempts + 1,
        next_attempt_at = NULL, finished_at = :wall_now::timestamptz
    WHERE shard = :shard::smallint AND id = :request_id::uuid AND state IN ('intended', 'unknown')
    RETURNING shard, session_id, subject_id, amount_minor
), ended AS (
    UPDATE gateway.refund AS r
    SET state = CASE WHEN :request_state::text = 'succeeded' THEN 'succeeded' ELSE 'failed' END,
        psp_refund = :psp_refund::text, failure_code = :failure_code::text, finished_at = :now::timestamptz
    FROM answered
    WHERE r.shard = :shard::smallint AND r.id = answered.subject_id AND r.state = 'requested'
    RETURNING r.shard, r.id, r.session_id, r.amount_minor, r.state
), freed AS (
    UPDATE gateway.capture AS c
    SET refunded_minor = c.refunded_minor - ended.amount_minor
    FROM ended
    WHERE ended.state = 'failed' AND c.shard = :shard::smallint AND c.session_id = ended.session_id
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
    SELECT shard, :task_id::uuid, 'book_correction', session_id, jsonb_build_object('kind', 'refund', 'id', id::text),
           :wall_now::timestamptz
    FROM ended
    WHERE state = 'succeeded'
), published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT :shard::smallint, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM ended, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    RETURNING id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT :shard::smallint, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
)
SELECT true FROM ended;

-- name: request_hold_renewal$
-- Phase 1 of renewing a hold: a second hold is intended; the first stays until the second is active. A hold that was
-- raised since it was read is not renewed at its old amount: the next check renews it.
INSERT INTO gateway.psp_request (
    shard, id, session_id, authorization_id, kind, state, amount_minor, hold_features, next_attempt_at, created_at)
SELECT shard, :request_id::uuid, session_id, id, 'hold_renewal', 'intended', :amount_minor::bigint, :hold_features::text[],
       :next_attempt_at::timestamptz, :wall_now::timestamptz
FROM gateway.payment_authorization
WHERE shard = :shard::smallint AND id = :authorization_id::uuid AND state = 'authorized'
  AND psp_payment = :psp_payment::text AND hold_minor = :amount_minor::bigint
RETURNING true;

-- name: record_hold_renewal$
-- Phase 3: the new hold replaces the old one, and releasing the old one is the next request. Where the
-- authorization has ended meanwhile, the new hold is the one that is released.
WITH answered AS (
    UPDATE gateway.psp_request
    SET state = :request_state::text, answer = :answer::jsonb, attempts = attempts + 1,
        next_attempt_at = NULL, finished_at = :wall_now::timestamptz
    WHERE shard = :shard::smallint AND id = :request_id::uuid AND state IN ('intended', 'unknown')
    RETURNING shard, authorization_id, session_id
), old AS (
    SELECT a.shard, a.id, a.session_id, a.psp_payment FROM gateway.payment_authorization AS a
    JOIN answered ON a.shard = :shard::smallint AND a.id = answered.authorization_id
    WHERE :request_state::text = 'succeeded'
), renewed AS (
    UPDATE gateway.payment_authorization AS a
    SET psp_payment = :psp_payment::text, capture_before = :capture_before::timestamptz,
        incrementable = :incrementable::boolean, max_capture_minor = :max_capture_minor::bigint,
        version = version + 1, updated_at = :now::timestamptz
    FROM old
    WHERE a.shard = :shard::smallint AND a.id = old.id AND a.state = 'authorized'
    RETURNING a.id
), lookup AS (
    INSERT INTO gateway.session_lookup (kind, foreign_id, shard, session_id)
    SELECT 'psp_payment', :psp_payment::text, shard, session_id FROM old
    ON CONFLICT DO NOTHING
), release AS (
    INSERT INTO gateway.psp_request (
        shard, id, session_id, authorization_id, kind, psp_payment, state, amount_minor, next_attempt_at, created_at)
    SELECT shard, :release_id::uuid, session_id, id, 'hold_release',
           CASE WHEN EXISTS (SELECT 1 FROM renewed) THEN psp_payment ELSE :psp_payment::text END, 'intended', 0,
           :wall_now::timestamptz, :wall_now::timestamptz
    FROM old
)
SELECT true FROM answered;

-- name: record_hold_release$
-- The replaced hold has ended.
UPDATE gateway.psp_request
SET state = 'succeeded', answer = :answer::jsonb, attempts = attempts + 1, next_attempt_at = NULL,
    finished_at = :wall_now
WHERE shard = :shard AND id = :request_id AND state IN ('intended', 'unknown')
RETURNING true;
