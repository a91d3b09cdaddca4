-- Money refunded to the driver, beside the requests to the PSP (psp_requests.sql).

-- name: load_refund^
SELECT * FROM gateway.refund WHERE shard = :shard AND id = :id;

-- name: list_refunds
SELECT r.* FROM gateway.refund AS r
JOIN gateway.session AS s ON s.shard = r.shard AND s.id = r.session_id
WHERE (:party_id::text IS NULL OR s.demand_partner_id = :party_id::text OR s.cpo_id = :party_id::text)
  AND (:session_id::uuid IS NULL OR r.session_id = :session_id::uuid)
  AND (:before::uuid IS NULL OR r.id < :before::uuid)
ORDER BY r.id DESC
LIMIT :row_limit::int;

-- name: refund_by_psp_id^
SELECT * FROM gateway.refund
WHERE shard = :shard AND session_id = :session_id AND psp_refund = :psp_refund;

-- name: is_residual_charge_due$
-- Whether the residual charge is still to come: once this is false it stays false.
SELECT EXISTS (
    SELECT 1 FROM gateway.task
    WHERE shard = :shard AND session_id = :session_id AND kind = 'charge_residual' AND exception_at IS NULL);

-- name: residual_charge^
-- The residual charge, and how much of it was refunded.
SELECT k.answer ->> 'captured' AS psp_charge, (
    SELECT coalesce(sum(r.amount_minor), 0)::bigint
    FROM gateway.refund AS r
    JOIN gateway.psp_request AS c ON c.shard = r.shard AND c.subject_id = r.id AND c.kind = 'refund'
    WHERE r.shard = :shard AND r.session_id = k.session_id AND r.state <> 'failed'
      AND c.psp_payment = k.answer ->> 'captured') AS refunded_minor
FROM gateway.psp_request AS k
WHERE k.shard = :shard AND k.session_id = :session_id AND k.kind = 'residual_charge' AND k.state = 'succeeded';

-- name: has_unanswered_refund$
-- Whether the PSP has not answered a refund of this session yet.
SELECT EXISTS (
    SELECT 1 FROM gateway.refund WHERE shard = :shard AND session_id = :session_id AND state = 'requested');

-- name: fail_refund$
-- The card's bank returned the money: the capture may be refunded again, clearing reinstates the payables. Once.
WITH ended AS (
    UPDATE gateway.refund
    SET state = 'failed', failure_code = :failure_code::text, finished_at = :now::timestamptz
    WHERE shard = :shard::smallint AND id = :refund_id::uuid AND state = 'succeeded'
    RETURNING shard, id, session_id, amount_minor
), freed AS (
    UPDATE gateway.capture AS c
    SET refunded_minor = c.refunded_minor - ended.amount_minor
    FROM ended
    WHERE c.shard = :shard::smallint AND c.session_id = ended.session_id
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
    SELECT shard, :task_id::uuid, 'book_correction', session_id, jsonb_build_object('kind', 'refund_failed', 'id', id::text),
           :wall_now::timestamptz
    FROM ended
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

-- name: record_reversal$
-- The PSP refunded money without our request (from its dashboard, a reversed capture): once per refund. The capture is
-- locked first: a refund of ours that commits meanwhile is counted before the bound is checked.
WITH locked AS (
    SELECT shard, session_id, currency FROM gateway.capture
    WHERE shard = :shard::smallint AND session_id = :session_id::uuid AND state = 'succeeded'
      AND refunded_minor + :amount_minor::bigint <= amount_minor
    FOR NO KEY UPDATE
), created AS (
    INSERT INTO gateway.refund (
        shard, id, session_id, state, amount_minor, currency, reason, psp_refund, created_at, finished_at)
    SELECT c.shard, :refund_id::uuid, c.session_id, 'succeeded', :amount_minor::bigint, c.currency,
           'reversed_by_psp', :psp_refund::text, :now::timestamptz, :now::timestamptz
    FROM locked AS c
    ON CONFLICT (shard, psp_refund) WHERE psp_refund IS NOT NULL DO NOTHING
    RETURNING shard, id, session_id, amount_minor
), counted AS (
    UPDATE gateway.capture AS c
    SET refunded_minor = c.refunded_minor + created.amount_minor
    FROM created
    WHERE c.shard = :shard::smallint AND c.session_id = created.session_id
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
    SELECT shard, :task_id::uuid, 'book_correction', session_id, jsonb_build_object('kind', 'refund', 'id', id::text),
           :wall_now::timestamptz
    FROM created
)
SELECT true FROM created;

-- name: lock_refund^
-- Locked until the transaction ends, so that it does not fail while it is posted.
SELECT * FROM gateway.refund WHERE shard = :shard AND id = :id FOR NO KEY UPDATE;

-- name: lock_left_out$
-- What clearing left out of a capture, which two refunds of it can't share at once.
SELECT uncleared_minor FROM gateway.capture WHERE shard = :shard AND session_id = :session_id FOR NO KEY UPDATE;

-- name: assign_left_out$
-- The part of a refund that refunds what clearing left out, as far as no other refund has done so: it is not posted.
UPDATE gateway.refund AS r
SET unposted_minor = least(r.amount_minor, greatest(:left_out_minor::bigint - (
    SELECT coalesce(sum(o.unposted_minor), 0)::bigint FROM gateway.refund AS o
    WHERE o.shard = :shard::smallint AND o.session_id = r.session_id AND o.id <> r.id AND o.state <> 'failed'), 0))
WHERE r.shard = :shard::smallint AND r.id = :id::uuid
RETURNING r.unposted_minor;

-- name: delete_unposted_refund_tasks!
-- A refund that failed before it was posted is not posted at all: neither the refund nor its return.
DELETE FROM gateway.task
WHERE shard = :shard::smallint AND session_id = :session_id::uuid AND kind = 'book_correction'
  AND payload ->> 'id' = :refund_id::uuid::text AND payload ->> 'kind' IN ('refund', 'refund_failed');
