-- Checks of a CDR: what they compare with, the limits of a CPO, and what waits for a person.

-- name: check_facts^
-- One read for all: the limits, the usage stated under the same CDR's id, another CDR that waits for the session, its
-- authorizations, what the payer stated, and sessions with a CDR at the same EVSE at the same time.
SELECT
    (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'party_id', l.party_id, 'name', l.name, 'value', l.value::text, 'valid_from', l.valid_from)), '[]'::jsonb)
     FROM gateway.cdr_limit AS l WHERE l.party_id IN (:cpo_id::text, 'platform')) AS limits,
    (SELECT to_jsonb(u) - 'cdr' FROM gateway.stated_usage AS u
     WHERE u.shard = :shard::smallint AND u.session_id = :session_id::uuid AND u.cdr_key = :cdr_key::text) AS known,
    (SELECT u.cdr_id FROM gateway.stated_usage AS u
     WHERE u.shard = :shard::smallint AND u.session_id = :session_id::uuid AND u.cdr_key <> :cdr_key::text
       AND u.state = 'exception' AND u.source = 'operator_cdr'
     ORDER BY u.id LIMIT 1) AS other_cdr_id,
    array(SELECT a.id FROM gateway.payment_authorization AS a
          WHERE a.shard = :shard::smallint AND a.session_id = :session_id::uuid ORDER BY a.id DESC) AS authorizations,
    (SELECT to_jsonb(u) - 'cdr' || jsonb_build_object('cdr', encode(u.cdr, 'base64'))
     FROM gateway.provisional_usage AS u
     WHERE u.shard = :shard::smallint AND u.session_id = :session_id::uuid) AS provisional,
    array(SELECT jsonb_build_object('id', o.id, 'cdr', encode(o.cdr, 'base64'), 'version', o.cdr_version)
          FROM gateway.session AS o
          WHERE o.cpo_id = :cpo_id::text AND o.evse_id = :evse_id::text AND o.cdr IS NOT NULL AND o.id <> :session_id::uuid
            AND o.ended_at > :started_at::timestamptz AND o.started_at < :ended_at::timestamptz
          ORDER BY o.ended_at LIMIT 8) AS overlapping;

-- name: add_usage$
-- Keep usage that waits, once.
INSERT INTO gateway.stated_usage
    (shard, id, session_id, cpo_id, source, cdr_id, cdr_key, cdr_version, cdr, state, reasons, detail, currency, price_minor,
     lower_minor, in_time_minor, received_at, updated_at)
VALUES (:shard, :id, :session_id, :cpo_id, :source, :cdr_id, :cdr_key, :cdr_version, :cdr, 'exception', :reasons, :detail,
        :currency, :price_minor, :lower_minor, :in_time_minor, :now::timestamptz, :now::timestamptz)
ON CONFLICT (shard, session_id, cdr_key) DO NOTHING
RETURNING id;

-- name: load_usage^
SELECT * FROM gateway.stated_usage WHERE shard = :shard AND id = :id;

-- name: usage_of_cdr^
SELECT * FROM gateway.stated_usage WHERE shard = :shard AND session_id = :session_id AND cdr_key = :cdr_key;

-- name: waiting_usage^
-- The usage that waits for a session, the latest.
SELECT * FROM gateway.stated_usage
WHERE shard = :shard AND session_id = :session_id AND state = 'exception'
ORDER BY id DESC LIMIT 1;

-- name: decide$
-- A person's decision, with the task that carries it out.
WITH decided AS (
    UPDATE gateway.stated_usage
    SET state = :state::text, amount_minor = :amount_minor::bigint, decided_by = :by::text, updated_at = :now::timestamptz
    WHERE shard = :shard::smallint AND id = :id::uuid AND state = 'exception'
    RETURNING shard, id, session_id
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at)
    SELECT shard, :task_id::uuid, 'complete_session', NULL,
           jsonb_build_object('stated_usage', id, 'release', :release::boolean), :wall_now::timestamptz
    FROM decided
)
SELECT id FROM decided;

-- name: replace_usage$
-- Its CDR was credited: another CDR takes its place.
UPDATE gateway.stated_usage SET state = 'replaced', updated_at = :now::timestamptz
WHERE shard = :shard::smallint AND session_id = :session_id::uuid AND cdr_key = :cdr_key::text AND state = 'exception'
RETURNING id;

-- name: record_settled!
UPDATE gateway.stated_usage SET settled_minor = :settled_minor, updated_at = :now
WHERE shard = :shard AND id = :id;

-- name: usage_to_settle
-- Usage that nobody has decided and whose hold ends soon and can't be renewed, where an amount can be defended.
SELECT u.shard, u.id FROM gateway.stated_usage AS u
JOIN gateway.payment_authorization AS a ON a.shard = u.shard AND a.session_id = u.session_id
WHERE u.shard = ANY (:shards::smallint[]) AND u.state = 'exception' AND u.in_time_minor IS NOT NULL AND u.settled_minor IS NULL
  AND a.state = 'authorized' AND a.customer IS NULL AND a.capture_before <= :before::timestamptz
ORDER BY a.capture_before
LIMIT :batch::int;

-- name: provisional_usage^
SELECT * FROM gateway.provisional_usage WHERE shard = :shard AND session_id = :session_id;

-- name: keep_provisional_usage$
-- What the payer states of a running session, with its events. The same again changes nothing.
WITH kept AS (
    INSERT INTO gateway.provisional_usage AS known
        (shard, session_id, party_id, cdr_version, cdr, price_minor, energy_wh, started_at, ended_at, stated_at)
    SELECT shard, id, :party_id::text, :cdr_version::text, :cdr::bytea, :price_minor::bigint, :energy_wh::bigint,
           :started_at::timestamptz, :ended_at::timestamptz, :now::timestamptz
    FROM gateway.session
    WHERE shard = :shard::smallint AND id = :session_id::uuid AND state = 'active'
    ON CONFLICT (shard, session_id) DO UPDATE
    SET party_id = excluded.party_id, cdr_version = excluded.cdr_version, cdr = excluded.cdr,
        price_minor = excluded.price_minor, energy_wh = excluded.energy_wh, started_at = excluded.started_at,
        ended_at = excluded.ended_at, stated_at = excluded.stated_at
    WHERE known.cdr <> excluded.cdr
    RETURNING shard
), published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT :shard::smallint, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM kept, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    RETURNING id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT :shard::smallint, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
)
SELECT true FROM kept;

-- name: limit_rows
SELECT party_id, name, valid_from, value, set_by, created_at FROM gateway.cdr_limit
WHERE party_id = ANY(:party_ids::text[])
ORDER BY name, valid_from, party_id;

-- name: set_limit$
-- A value that is in force already is never changed; the same value for the same time again changes nothing.
INSERT INTO gateway.cdr_limit (party_id, name, valid_from, value, set_by, created_at)
VALUES (:party_id, :name, :valid_from, :value, :set_by, :now)
ON CONFLICT (party_id, name, valid_from) DO UPDATE SET value = excluded.value
WHERE gateway.cdr_limit.value = excluded.value
RETURNING name;
