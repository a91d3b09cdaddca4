-- Money that a cardholder's bank claims back.

-- name: open_dispute$
-- The cardholder's bank asks or claims: once per dispute of the PSP. No money has moved yet.
INSERT INTO gateway.dispute (
    shard, id, session_id, psp_dispute, state, amount_minor, fee_currency, currency, reason, response, respond_by,
    submissions, is_refundable, opened_at)
SELECT c.shard, :dispute_id::uuid, c.session_id, :psp_dispute::text, :state::text, :amount_minor::bigint,
       :fee_currency::char(3), c.currency, :reason::text, :response::text, :respond_by::timestamptz,
       :submissions::integer, :is_refundable::boolean, :now::timestamptz
FROM gateway.capture AS c
WHERE c.shard = :shard::smallint AND c.session_id = :session_id::uuid AND c.state = 'succeeded'
ON CONFLICT (shard, psp_dispute) DO NOTHING
RETURNING true;

-- name: withdraw_dispute$
-- The PSP took the money, refunded before or not, and its fee: once. An inquiry becomes a dispute by it.
WITH withdrawn AS (
    UPDATE gateway.dispute
    SET withdrawn_minor = :withdrawn_minor::bigint, withdrawn_at = :now::timestamptz, fee_minor = :fee_minor::bigint,
        fee_currency = :fee_currency::char(3), state = CASE state WHEN 'inquiry' THEN 'opened' ELSE state END
    WHERE shard = :shard::smallint AND psp_dispute = :psp_dispute::text AND withdrawn_at IS NULL
      AND state IN ('inquiry', 'opened')
    RETURNING shard, id, session_id, withdrawn_minor
), reserved AS (
    UPDATE gateway.capture AS c
    SET disputed_minor = c.disputed_minor + withdrawn.withdrawn_minor
    FROM withdrawn
    WHERE c.shard = :shard::smallint AND c.session_id = withdrawn.session_id
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
    SELECT shard, :task_id::uuid, 'book_correction', session_id,
           jsonb_build_object('kind', 'dispute_opened', 'id', id::text), :wall_now::timestamptz
    FROM withdrawn
)
SELECT true FROM withdrawn;

-- name: record_dispute_fee$
-- The PSP names its fee when it withdraws the funds, which may be after the dispute was published and posted: clearing
-- books the difference. Only the event that ends the dispute may lower it, for events come in any order.
WITH noted AS (
    UPDATE gateway.dispute SET fee_minor = :fee_minor::bigint, fee_currency = :fee_currency::char(3)
    WHERE shard = :shard::smallint AND psp_dispute = :psp_dispute::text AND withdrawn_at IS NOT NULL
      AND CASE WHEN :closed::boolean THEN fee_minor <> :fee_minor::bigint
          ELSE state = 'opened' AND fee_minor < :fee_minor::bigint END
    RETURNING shard, id, session_id
)
INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
SELECT shard, :task_id::uuid, 'book_correction', session_id, jsonb_build_object('kind', 'dispute_fee', 'id', id::text),
       :wall_now::timestamptz
FROM noted
RETURNING true;

-- name: update_dispute$
-- What the card's bank waits for, while the dispute can still change: a lost one can be appealed.
UPDATE gateway.dispute
SET state = CASE WHEN state = 'inquiry' AND :state::text = 'opened' THEN 'opened' ELSE state END,
    amount_minor = :amount_minor::bigint, response = :response::text, respond_by = :respond_by::timestamptz,
    submissions = greatest(submissions, :submissions::integer), is_refundable = :is_refundable::boolean,
    -- An appeal has a deadline and evidence of its own.
    announced_at = CASE WHEN respond_by IS DISTINCT FROM :respond_by::timestamptz THEN NULL ELSE announced_at END
WHERE shard = :shard::smallint AND psp_dispute = :psp_dispute::text AND state NOT IN ('won', 'closed')
  AND (state <> 'lost' OR :state::text IN ('lost', 'won'))
  AND ((amount_minor, response, respond_by, is_refundable)
       IS DISTINCT FROM (:amount_minor::bigint, :response::text, :respond_by::timestamptz, :is_refundable::boolean)
       OR submissions < :submissions::integer OR (state = 'inquiry' AND :state::text = 'opened'))
RETURNING true;

-- name: close_dispute$
-- Won: the money comes back to the platform; lost: it does not, unless an appeal is won; closed: none had moved.
WITH closed AS (
    UPDATE gateway.dispute
    SET state = :state::text, closed_at = :now::timestamptz
    WHERE shard = :shard::smallint AND psp_dispute = :psp_dispute::text
      AND (state IN ('inquiry', 'opened') OR (state = 'lost' AND :state::text = 'won'))
    RETURNING shard, id, session_id, withdrawn_minor, withdrawn_at, state
), freed AS (
    UPDATE gateway.capture AS c
    SET disputed_minor = c.disputed_minor - closed.withdrawn_minor
    FROM closed
    WHERE closed.state = 'won' AND c.shard = :shard::smallint AND c.session_id = closed.session_id
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
    SELECT shard, :task_id::uuid, 'book_correction', session_id,
           jsonb_build_object('kind', 'dispute_won', 'id', id::text), :wall_now::timestamptz
    FROM closed WHERE state = 'won' AND withdrawn_at IS NOT NULL
)
SELECT true FROM closed;

-- name: load_dispute^
SELECT * FROM gateway.dispute WHERE shard = :shard AND id = :id;

-- name: dispute_by_psp_id^
SELECT * FROM gateway.dispute WHERE shard = :shard AND psp_dispute = :psp_dispute;

-- name: list_disputes
SELECT d.* FROM gateway.dispute AS d
JOIN gateway.session AS s ON s.shard = d.shard AND s.id = d.session_id
WHERE (:party_id::text IS NULL OR s.demand_partner_id = :party_id::text OR s.cpo_id = :party_id::text)
  AND (:before::uuid IS NULL OR d.id < :before::uuid)
ORDER BY d.id DESC
LIMIT :row_limit::int;

-- name: stage_evidence!
UPDATE gateway.dispute SET evidence = :evidence::jsonb WHERE shard = :shard AND id = :id AND response = 'needed';

-- name: announce_deadlines
-- Disputes whose evidence is due by an instant: each once, whichever worker comes first.
WITH due AS MATERIALIZED (
    SELECT shard, id FROM gateway.dispute
    WHERE response = 'needed' AND respond_by > :now::timestamptz AND respond_by <= :before::timestamptz
      AND announced_at IS NULL
    ORDER BY respond_by, shard, id LIMIT :batch::int)
UPDATE gateway.dispute SET announced_at = :now::timestamptz
WHERE (shard, id) IN (SELECT shard, id FROM due) AND announced_at IS NULL
RETURNING *;
