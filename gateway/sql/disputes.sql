-- Money that a cardholder's bank claims back.

-- name: open_dispute$
-- The cardholder's bank claims money back: once per dispute of the PSP, the whole amount, refunded before or not.
WITH opened AS (
    INSERT INTO gateway.dispute (
        shard, id, session_id, psp_dispute, state, amount_minor, fee_minor, fee_currency, currency, reason, opened_at)
    SELECT c.shard, :dispute_id::uuid, c.session_id, :psp_dispute::text, 'opened',
           :amount_minor::bigint, :fee_minor::bigint, :fee_currency::char(3), c.currency, :reason::text,
           :now::timestamptz
    FROM gateway.capture AS c
    WHERE c.shard = :shard::smallint AND c.session_id = :session_id::uuid AND c.state = 'succeeded'
    ON CONFLICT (shard, psp_dispute) DO NOTHING
    RETURNING shard, id, session_id, amount_minor
), reserved AS (
    UPDATE gateway.capture AS c
    SET disputed_minor = c.disputed_minor + opened.amount_minor
    FROM opened
    WHERE c.shard = opened.shard AND c.session_id = opened.session_id
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
    SELECT shard, :task_id::uuid, 'book_correction', session_id,
           jsonb_build_object('kind', 'dispute_opened', 'id', id::text), :wall_now::timestamptz
    FROM opened
)
SELECT true FROM opened;

-- name: record_dispute_fee$
-- The PSP names its fee when it withdraws the funds, which may be after the dispute was published and posted: clearing
-- books the difference. Only the event that ends the dispute may lower it, for events come in any order.
WITH noted AS (
    UPDATE gateway.dispute SET fee_minor = :fee_minor::bigint, fee_currency = :fee_currency::char(3)
    WHERE shard = :shard::smallint AND psp_dispute = :psp_dispute::text
      AND CASE WHEN :closed::boolean THEN fee_minor <> :fee_minor::bigint
          ELSE state = 'opened' AND fee_minor < :fee_minor::bigint END
    RETURNING shard, id, session_id
)
INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
SELECT shard, :task_id::uuid, 'book_correction', session_id, jsonb_build_object('kind', 'dispute_fee', 'id', id::text),
       :wall_now::timestamptz
FROM noted
RETURNING true;

-- name: close_dispute$
-- Won: the money stays with the platform; lost: it does not. Once.
WITH closed AS (
    UPDATE gateway.dispute
    SET state = :state::text, closed_at = :now::timestamptz
    WHERE shard = :shard::smallint AND psp_dispute = :psp_dispute::text AND state = 'opened'
    RETURNING shard, id, session_id, amount_minor, state
), freed AS (
    UPDATE gateway.capture AS c
    SET disputed_minor = c.disputed_minor - closed.amount_minor
    FROM closed
    WHERE closed.state = 'won' AND c.shard = closed.shard AND c.session_id = closed.session_id
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
    SELECT shard, :task_id::uuid, 'book_correction', session_id,
           jsonb_build_object('kind', 'dispute_' || state, 'id', id::text), :wall_now::timestamptz
    FROM closed
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
