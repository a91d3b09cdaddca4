-- What can happen to money that was captured: given back, or taken back by the cardholder's bank.

-- name: request_refund$
-- Phase 1 of a refund: bounded by what was captured and is not disputed, at the PSP also by the one charge it is taken
-- from: `rest_charge` names the off-session one, of which `rest_refunded_minor` is back already. On a funded account the
-- money is back in the same statement; at the PSP a call is intended. No row: the bound does not allow it.
WITH bounded AS (
    UPDATE gateway.capture
    SET refunded_minor = refunded_minor + :amount_minor::bigint
    WHERE lane = :lane::smallint AND session_id = :session_id::uuid AND state = 'succeeded'
      AND refunded_minor + disputed_minor + :amount_minor::bigint <= amount_minor
      AND CASE WHEN :funding::text <> 'psp' THEN true
          WHEN :rest_charge::text IS NULL
              THEN refunded_minor - :rest_refunded_minor::bigint + :amount_minor::bigint <= amount_minor - collected_minor
          ELSE :rest_refunded_minor::bigint + :amount_minor::bigint <= collected_minor END
    RETURNING lane, session_id, authorization_id, currency
), made AS (
    INSERT INTO gateway.refund (
        lane, id, session_id, state, amount_minor, currency, reason, metadata, created_at, finished_at)
    SELECT lane, :refund_id::uuid, session_id,
           CASE WHEN :funding::text = 'psp' THEN 'requested' ELSE 'succeeded' END, :amount_minor::bigint, currency,
           :reason::text, :metadata::jsonb, :now::timestamptz,
           CASE WHEN :funding::text <> 'psp' THEN :now::timestamptz END
    FROM bounded
), call AS (
    INSERT INTO gateway.psp_call (
        lane, id, session_id, authorization_id, kind, subject_id, psp_payment, state, amount_minor, next_ask_at,
        created_at)
    SELECT lane, :call_id::uuid, session_id, authorization_id, 'refund', :refund_id::uuid, :rest_charge::text, 'intended',
           :amount_minor::bigint, :next_ask_at::timestamptz, :wall_now::timestamptz
    FROM bounded
    WHERE :funding::text = 'psp'
), account AS (
    UPDATE gateway.partner_account AS p
    SET balance_minor = p.balance_minor + :amount_minor::bigint
    FROM bounded
    WHERE :funding::text <> 'psp' AND p.party_id = :account_party_id::text AND p.currency = bounded.currency
), errand AS (
    INSERT INTO gateway.task (lane, id, kind, session_id, payload, run_at)
    SELECT lane, :task_id::uuid, 'correct', session_id,
           jsonb_build_object('kind', 'refund', 'id', :refund_id::text), :wall_now::timestamptz
    FROM bounded
    WHERE :funding::text <> 'psp'
), told AS (
    INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at)
    SELECT bounded.lane, e.id, e.party_id, e.type, e.object_id, e.data, :now::timestamptz
    FROM bounded, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb)
    WHERE :funding::text <> 'psp'
)
SELECT true FROM bounded;

-- name: conclude_refund$
-- Phase 3 of a refund: money is on its way back and clearing unwinds it, or the bound is given free again.
WITH answered AS (
    UPDATE gateway.psp_call
    SET state = :call_state::text, answer = :answer::jsonb, attempts = attempts + 1,
        next_ask_at = NULL, finished_at = :wall_now::timestamptz
    WHERE lane = :lane::smallint AND id = :call_id::uuid AND state IN ('intended', 'unknown')
    RETURNING lane, session_id, subject_id, amount_minor
), ended AS (
    UPDATE gateway.refund AS r
    SET state = CASE WHEN :call_state::text = 'succeeded' THEN 'succeeded' ELSE 'failed' END,
        psp_refund = :psp_refund::text, failure_code = :failure_code::text, finished_at = :now::timestamptz
    FROM answered
    WHERE r.lane = answered.lane AND r.id = answered.subject_id AND r.state = 'requested'
    RETURNING r.lane, r.id, r.session_id, r.amount_minor, r.state
), freed AS (
    UPDATE gateway.capture AS c
    SET refunded_minor = c.refunded_minor - ended.amount_minor
    FROM ended
    WHERE ended.state = 'failed' AND c.lane = ended.lane AND c.session_id = ended.session_id
), errand AS (
    INSERT INTO gateway.task (lane, id, kind, session_id, payload, run_at)
    SELECT lane, :task_id::uuid, 'correct', session_id, jsonb_build_object('kind', 'refund', 'id', id::text),
           :wall_now::timestamptz
    FROM ended
    WHERE state = 'succeeded'
), told AS (
    INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at)
    SELECT ended.lane, e.id, e.party_id, e.type, e.object_id, e.data, :now::timestamptz
    FROM ended, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb)
)
SELECT true FROM ended;

-- name: refund_by_psp_id^
SELECT * FROM gateway.refund
WHERE lane = :lane AND session_id = :session_id AND psp_refund = :psp_refund;

-- name: rest_is_due$
-- Whether a part of the price is still to be charged off-session: once this is false it stays so.
SELECT EXISTS (
    SELECT 1 FROM gateway.task
    WHERE lane = :lane AND session_id = :session_id AND kind = 'collect' AND parked_at IS NULL);

-- name: charged_off_session^
-- The charge under the mandate, and how much of it was given back.
SELECT k.answer ->> 'captured' AS psp_charge, (
    SELECT coalesce(sum(r.amount_minor), 0)::bigint
    FROM gateway.refund AS r
    JOIN gateway.psp_call AS c ON c.lane = r.lane AND c.subject_id = r.id AND c.kind = 'refund'
    WHERE r.lane = k.lane AND r.session_id = k.session_id AND r.state <> 'failed'
      AND c.psp_payment = k.answer ->> 'captured') AS refunded_minor
FROM gateway.psp_call AS k
WHERE k.lane = :lane AND k.session_id = :session_id AND k.kind = 'collect' AND k.state = 'succeeded';

-- name: refund_waits$
-- A refund of this session that was asked for and not answered.
SELECT EXISTS (
    SELECT 1 FROM gateway.refund WHERE lane = :lane AND session_id = :session_id AND state = 'requested');

-- name: fail_refund$
-- The money came back from the card's bank: the capture may be refunded again, clearing undoes the refund. Once.
WITH ended AS (
    UPDATE gateway.refund
    SET state = 'failed', failure_code = :failure_code::text, finished_at = :now::timestamptz
    WHERE lane = :lane::smallint AND id = :refund_id::uuid AND state = 'succeeded'
    RETURNING lane, id, session_id, amount_minor
), freed AS (
    UPDATE gateway.capture AS c
    SET refunded_minor = c.refunded_minor - ended.amount_minor
    FROM ended
    WHERE c.lane = ended.lane AND c.session_id = ended.session_id
), errand AS (
    INSERT INTO gateway.task (lane, id, kind, session_id, payload, run_at)
    SELECT lane, :task_id::uuid, 'correct', session_id, jsonb_build_object('kind', 'refund_failed', 'id', id::text),
           :wall_now::timestamptz
    FROM ended
), told AS (
    INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at)
    SELECT ended.lane, e.id, e.party_id, e.type, e.object_id, e.data, :now::timestamptz
    FROM ended, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb)
)
SELECT true FROM ended;

-- name: record_reversal$
-- The PSP gave money back without our asking (a refund from its dashboard, a reversed capture): once per refund.
WITH made AS (
    INSERT INTO gateway.refund (
        lane, id, session_id, state, amount_minor, currency, reason, psp_refund, created_at, finished_at)
    SELECT c.lane, :refund_id::uuid, c.session_id, 'succeeded', :amount_minor::bigint, c.currency,
           'reversed_by_psp', :psp_refund::text, :now::timestamptz, :now::timestamptz
    FROM gateway.capture AS c
    WHERE c.lane = :lane::smallint AND c.session_id = :session_id::uuid AND c.state = 'succeeded'
      AND c.refunded_minor + :amount_minor::bigint <= c.amount_minor
    ON CONFLICT (lane, psp_refund) WHERE psp_refund IS NOT NULL DO NOTHING
    RETURNING lane, id, session_id, amount_minor
), counted AS (
    UPDATE gateway.capture AS c
    SET refunded_minor = c.refunded_minor + made.amount_minor
    FROM made
    WHERE c.lane = made.lane AND c.session_id = made.session_id
), errand AS (
    INSERT INTO gateway.task (lane, id, kind, session_id, payload, run_at)
    SELECT lane, :task_id::uuid, 'correct', session_id, jsonb_build_object('kind', 'refund', 'id', id::text),
           :wall_now::timestamptz
    FROM made
)
SELECT true FROM made;

-- name: open_dispute$
-- The cardholder's bank takes money back: once per dispute of the PSP, all that it takes, refunded before or not.
WITH opened AS (
    INSERT INTO gateway.dispute (
        lane, id, session_id, psp_dispute, state, amount_minor, fee_minor, currency, reason, opened_at)
    SELECT c.lane, :dispute_id::uuid, c.session_id, :psp_dispute::text, 'opened',
           :amount_minor::bigint, :fee_minor::bigint, c.currency, :reason::text,
           :now::timestamptz
    FROM gateway.capture AS c
    WHERE c.lane = :lane::smallint AND c.session_id = :session_id::uuid AND c.state = 'succeeded'
    ON CONFLICT (lane, psp_dispute) DO NOTHING
    RETURNING lane, id, session_id, amount_minor
), reserved AS (
    UPDATE gateway.capture AS c
    SET disputed_minor = c.disputed_minor + opened.amount_minor
    FROM opened
    WHERE c.lane = opened.lane AND c.session_id = opened.session_id
), errand AS (
    INSERT INTO gateway.task (lane, id, kind, session_id, payload, run_at)
    SELECT lane, :task_id::uuid, 'correct', session_id,
           jsonb_build_object('kind', 'dispute_opened', 'id', id::text), :wall_now::timestamptz
    FROM opened
)
SELECT true FROM opened;

-- name: note_dispute_fee$
-- The PSP names its fee when funds are withdrawn, which may be after the dispute was told and posted: clearing books
-- the difference. Only what ended the dispute may lower it, for events come in any order.
WITH noted AS (
    UPDATE gateway.dispute SET fee_minor = :fee_minor::bigint
    WHERE lane = :lane::smallint AND psp_dispute = :psp_dispute::text
      AND CASE WHEN :closed::boolean THEN fee_minor <> :fee_minor::bigint
          ELSE state = 'opened' AND fee_minor < :fee_minor::bigint END
    RETURNING lane, id, session_id
)
INSERT INTO gateway.task (lane, id, kind, session_id, payload, run_at)
SELECT lane, :task_id::uuid, 'correct', session_id, jsonb_build_object('kind', 'dispute_fee', 'id', id::text),
       :wall_now::timestamptz
FROM noted
RETURNING true;

-- name: close_dispute$
-- Won: the money stays ours; lost: it is gone. Once.
WITH closed AS (
    UPDATE gateway.dispute
    SET state = :state::text, closed_at = :now::timestamptz
    WHERE lane = :lane::smallint AND psp_dispute = :psp_dispute::text AND state = 'opened'
    RETURNING lane, id, session_id, amount_minor, state
), freed AS (
    UPDATE gateway.capture AS c
    SET disputed_minor = c.disputed_minor - closed.amount_minor
    FROM closed
    WHERE closed.state = 'won' AND c.lane = closed.lane AND c.session_id = closed.session_id
), errand AS (
    INSERT INTO gateway.task (lane, id, kind, session_id, payload, run_at)
    SELECT lane, :task_id::uuid, 'correct', session_id,
           jsonb_build_object('kind', 'dispute_' || state, 'id', id::text), :wall_now::timestamptz
    FROM closed
)
SELECT true FROM closed;

-- name: load_refund^
SELECT * FROM gateway.refund WHERE lane = :lane AND id = :id;

-- name: refund_to_post^
-- Held until the transaction ends, so that it does not fail while it is posted.
SELECT * FROM gateway.refund WHERE lane = :lane AND id = :id FOR SHARE;

-- name: drop_unposted_refund!
-- Of a refund that failed before it was posted nothing is posted: neither that it left nor that it came back.
DELETE FROM gateway.task
WHERE lane = :lane::smallint AND session_id = :session_id::uuid AND kind = 'correct'
  AND payload ->> 'id' = :refund_id::uuid::text AND payload ->> 'kind' IN ('refund', 'refund_failed');

-- name: load_dispute^
SELECT * FROM gateway.dispute WHERE lane = :lane AND id = :id;

-- name: dispute_by_psp_id^
SELECT * FROM gateway.dispute WHERE lane = :lane AND psp_dispute = :psp_dispute;

-- name: list_refunds
SELECT r.* FROM gateway.refund AS r
JOIN gateway.session AS s ON s.lane = r.lane AND s.id = r.session_id
WHERE (:party_id::text IS NULL OR s.demand_partner_id = :party_id::text OR s.cpo_id = :party_id::text)
  AND (:session_id::uuid IS NULL OR r.session_id = :session_id::uuid)
  AND (:before::uuid IS NULL OR r.id < :before::uuid)
ORDER BY r.id DESC
LIMIT :row_limit::int;

-- name: list_disputes
SELECT d.* FROM gateway.dispute AS d
JOIN gateway.session AS s ON s.lane = d.lane AND s.id = d.session_id
WHERE (:party_id::text IS NULL OR s.demand_partner_id = :party_id::text OR s.cpo_id = :party_id::text)
  AND (:before::uuid IS NULL OR d.id < :before::uuid)
ORDER BY d.id DESC
LIMIT :row_limit::int;

-- name: clear_again$
-- A session that clearing set aside is handed to it once more. What was given back of a capture above the price is left
-- out of what is handed over, with its errands: it was never the price of anything. Of any other capture the refunds
-- are posted after it. No row: it is not set aside, a refund is not answered yet, or nothing is left to hand over.
WITH again AS (
    UPDATE gateway.session AS s
    SET state = 'completed', updated_at = :now::timestamptz
    FROM gateway.capture AS c
    WHERE s.lane = :lane::smallint AND s.id = :session_id::uuid
      AND c.lane = s.lane AND c.session_id = s.id AND c.state = 'succeeded'
      AND (c.amount_minor <= s.price_minor OR c.refunded_minor < c.amount_minor)
      AND (s.state = 'parked' OR (s.state = 'completed' AND EXISTS (
          SELECT 1 FROM gateway.task AS t
          WHERE t.lane = s.lane AND t.session_id = s.id AND t.kind = 'clear' AND t.parked_at IS NOT NULL)))
      AND NOT EXISTS (
          SELECT 1 FROM gateway.refund AS r
          WHERE r.lane = s.lane AND r.session_id = s.id AND r.state = 'requested')
    RETURNING s.lane, s.id, c.amount_minor > s.price_minor AS above_price
), left_out AS (
    UPDATE gateway.capture AS c
    SET uncleared_minor = CASE WHEN again.above_price THEN c.refunded_minor ELSE 0 END
    FROM again
    WHERE c.lane = again.lane AND c.session_id = again.id
), unneeded AS (
    DELETE FROM gateway.task AS t USING again
    WHERE again.above_price AND t.lane = again.lane AND t.session_id = again.id AND t.kind = 'correct'
      AND t.payload ->> 'kind' IN ('refund', 'refund_failed')
), errand AS (
    INSERT INTO gateway.task (lane, id, kind, session_id, run_at)
    SELECT lane, :task_id::uuid, 'clear', id, :wall_now::timestamptz FROM again
    ON CONFLICT (lane, kind, session_id) WHERE kind IN ('capture', 'collect', 'clear') DO UPDATE
    SET run_at = excluded.run_at, leased_until = NULL, parked_at = NULL, attempts = 0, last_error = NULL
)
SELECT true FROM again;
