-- A CDR that corrects another, and sessions that nobody can pay for.

-- name: lock_session!
-- Nothing else ends or corrects this session until the caller's transaction ends.
SELECT 1 FROM gateway.session WHERE shard = :shard AND id = :session_id FOR UPDATE;

-- name: replace_cdr$
-- A credit CDR and a new CDR correct a session: the new one's price counts from now on. Before the capture the
-- capture follows it; after clearing the difference is refunded. Both CDRs are kept by the OCPI side.
WITH replaced AS (
    UPDATE gateway.session
    SET cdr_id = :cdr_id::text, cdr_version = :cdr_version::text, cdr = :cdr::bytea,
        price_minor = :price_minor::bigint, price_net_minor = :price_net_minor::bigint,
        energy_wh = :energy_wh::bigint, started_at = :started_at::timestamptz, ended_at = :ended_at::timestamptz,
        flags = flags || :flags::text[] || ARRAY['corrected'], stated_by = :stated_by::text, updated_at = :now::timestamptz
    WHERE shard = :shard::smallint AND id = :session_id::uuid AND cdr_id = :replaces::text
    RETURNING shard, id, cpo_id
), lookup AS (
    INSERT INTO gateway.session_lookup (kind, foreign_id, shard, session_id)
    SELECT 'cdr', cpo_id || ':' || lower(:cdr_id::text), shard, id FROM replaced
    ON CONFLICT DO NOTHING
)
SELECT true FROM replaced;

-- name: renew_capture_task!
-- A new id: a worker that still runs the task for the earlier price can't finish the one for this price.
INSERT INTO gateway.task (shard, id, kind, session_id, run_at)
VALUES (:shard, :id, 'capture_session', :session_id, :run_at)
ON CONFLICT (shard, kind, session_id) WHERE kind IN ('capture_session', 'charge_residual', 'clear_session') DO UPDATE
SET id = excluded.id, run_at = excluded.run_at, leased_until = NULL, exception_at = NULL, attempts = 0;

-- name: set_receivable!
-- The first CDR of a session that was captured at its last known cost: what it costs above that is a receivable.
UPDATE gateway.capture AS c
SET receivable_minor = greatest(s.price_minor - c.amount_minor, 0)
FROM gateway.session AS s
WHERE c.shard = :shard AND c.session_id = :session_id AND c.state = 'succeeded'
  AND s.shard = c.shard AND s.id = c.session_id;

-- name: mark_unpaid_exception$
-- Nobody can pay for a completed session: it becomes an exception for a person, with the reason.
WITH exceptions AS (
    UPDATE gateway.session
    SET state = 'exception', flags = array_append(flags, :flag::text), updated_at = :now::timestamptz,
        exception_at = :now::timestamptz
    WHERE shard = :shard::smallint AND id = :session_id::uuid AND state = 'completed'
    RETURNING shard
), published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT :shard::smallint, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM exceptions, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    RETURNING id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT :shard::smallint, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
)
SELECT true FROM exceptions;

-- name: retry_clearing$
-- Clearing of a session that is an exception is retried. Of a capture above the price, what is above it and was refunded
-- is left out: it was never the price of anything. All else that was refunded is posted after it, as of any capture.
-- No row: the session is no exception, or a refund is not answered yet.
WITH retried AS (
    UPDATE gateway.session AS s
    SET state = 'completed', updated_at = :now::timestamptz, exception_at = NULL
    FROM gateway.capture AS c
    WHERE s.shard = :shard::smallint AND s.id = :session_id::uuid
      AND c.shard = :shard::smallint AND c.session_id = s.id AND c.state = 'succeeded'
      AND (s.state = 'exception' OR (s.state = 'completed' AND EXISTS (
          SELECT 1 FROM gateway.task AS t
          WHERE t.shard = :shard::smallint AND t.session_id = s.id AND t.kind = 'clear_session' AND t.exception_at IS NOT NULL)))
      AND NOT EXISTS (
          SELECT 1 FROM gateway.refund AS r
          WHERE r.shard = :shard::smallint AND r.session_id = s.id AND r.state = 'requested')
    RETURNING s.shard, s.id, s.price_minor
), left_out AS (
    UPDATE gateway.capture AS c
    SET uncleared_minor = least(c.refunded_minor, greatest(c.amount_minor - retried.price_minor, 0))
    FROM retried
    WHERE c.shard = :shard::smallint AND c.session_id = retried.id
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, run_at)
    SELECT shard, :task_id::uuid, 'clear_session', id, :wall_now::timestamptz FROM retried
    ON CONFLICT (shard, kind, session_id) WHERE kind IN ('capture_session', 'charge_residual', 'clear_session') DO UPDATE
    SET run_at = excluded.run_at, leased_until = NULL, exception_at = NULL, attempts = 0, last_error = NULL
)
SELECT true FROM retried;
