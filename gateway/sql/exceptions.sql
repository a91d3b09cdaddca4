-- The exceptions queue: what the gateway's own tables hold open, the queue itself, and a retry of one cause.

-- name: found
-- Every open cause in the gateway's tables. `session_id`: the session that another subject is about.
-- `on_wall_clock`: `since` is wall time, else business time.
WITH charge AS MATERIALIZED (
    SELECT u.* FROM gateway.unbooked_charge AS u WHERE u.state IN ('open', 'adopting', 'refunding')
), charged_session AS MATERIALIZED (
    SELECT s.id, s.demand_partner_id, s.price_minor FROM gateway.session AS s
    WHERE (s.shard, s.id) IN (SELECT u.shard, u.session_id FROM charge AS u)
), booked_charge AS MATERIALIZED (
    SELECT c.session_id, c.psp_charge FROM gateway.capture AS c
    WHERE (c.shard, c.session_id) IN (SELECT u.shard, u.session_id FROM charge AS u) AND c.state = 'succeeded'
)
SELECT CASE WHEN c.id IS NULL THEN 'unpaid_session' ELSE 'uncleared_session' END AS kind, s.id AS subject_uuid,
       NULL AS subject_name, NULL::uuid AS session_id, s.demand_partner_id AS party_id,
       coalesce(c.amount_minor, s.price_minor) AS amount_minor, s.currency, coalesce(s.flags[cardinality(s.flags)], 'exception') AS reason, '' AS detail, s.updated_at AS since,
       false AS on_wall_clock
FROM gateway.session AS s
LEFT JOIN gateway.capture AS c ON c.shard = s.shard AND c.session_id = s.id AND c.state = 'succeeded'
WHERE s.exception_at IS NOT NULL AND s.state = 'exception'
UNION ALL
SELECT 'failed_task', t.id, NULL, t.session_id, s.demand_partner_id, s.price_minor,
       CASE WHEN s.price_minor IS NOT NULL THEN s.currency END, t.kind, coalesce(t.last_error, ''), t.exception_at, true
FROM gateway.task AS t
LEFT JOIN gateway.session AS s ON s.shard = t.shard AND s.id = t.session_id
WHERE t.exception_at IS NOT NULL
UNION ALL
SELECT 'unknown_psp_outcome', r.id, NULL, r.session_id, a.party_id, r.amount_minor, a.currency, r.kind,
       format('no answer after %s attempts', r.attempts), r.created_at, true
FROM gateway.psp_request AS r
JOIN gateway.payment_authorization AS a ON a.shard = r.shard AND a.id = r.authorization_id
WHERE r.state IN ('intended', 'unknown') AND r.created_at < :unknown_before::timestamptz
UNION ALL
-- Until the money is a capture or refunded, and never while a capture has it.
SELECT 'unbooked_charge', NULL, u.psp_payment, u.session_id, s.demand_partner_id, u.amount_minor - u.refunded_minor, u.currency,
       CASE WHEN u.state = 'open' THEN u.reason WHEN u.state = 'adopting' AND s.price_minor IS NULL THEN 'awaits_cdr'
            ELSE u.state END,
       concat_ws('; ', 'charge ' || u.psp_charge, nullif(u.detail, '')), u.found_at, false
FROM charge AS u
LEFT JOIN charged_session AS s ON s.id = u.session_id
WHERE NOT EXISTS (
    SELECT 1 FROM booked_charge AS c WHERE c.session_id = u.session_id AND c.psp_charge = u.psp_charge)
UNION ALL
-- One on its way arrives within days; after ten it is asked for.
SELECT 'topup_not_arrived', t.id, NULL, NULL, t.party_id, t.amount_minor, t.currency,
       CASE WHEN t.state IN ('requested', 'pending') THEN 'late' ELSE t.state END,
       concat_ws('; ', 'reference ' || t.reference, t.failure_code,
                 CASE WHEN t.overdrawn_minor > 0 THEN format('%s minor units were spent', t.overdrawn_minor) END),
       t.updated_at, false
FROM gateway.top_up AS t
WHERE t.state IN ('failed', 'cancelled', 'reversed')
   OR (t.state IN ('requested', 'pending') AND t.requested_at < :unknown_before::timestamptz - interval '9 days')
UNION ALL
SELECT 'psp_configuration', NULL, i.account || '/' || i.code, NULL, NULL, NULL, NULL, i.code, i.detail, i.first_at, true
FROM gateway.psp_incident AS i
UNION ALL
SELECT 'dispute_response', d.id, NULL, d.session_id, s.demand_partner_id, d.amount_minor, d.currency, d.state,
       format('%s; evidence is due by %s', d.reason,
              coalesce(to_char(d.respond_by AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), 'no time: none is accepted')),
       d.opened_at, false
FROM gateway.dispute AS d
JOIN gateway.session AS s ON s.shard = d.shard AND s.id = d.session_id
WHERE d.response = 'needed'
UNION ALL
SELECT 'unmatched_cdr', NULL, c.party_id || '/' || c.cdr_id, c.session_id, c.party_id, NULL, NULL, c.status, c.reason,
       c.received_at, false
FROM gateway.ocpi_cdr AS c
WHERE c.status IN ('unmatched', 'unpriceable')
UNION ALL
SELECT 'unapplied_credit', NULL, c.party_id || '/' || c.cdr_id, c.session_id, c.party_id, NULL, NULL, c.credit_state,
       c.reason, c.received_at, false
FROM gateway.ocpi_cdr AS c
WHERE c.credit_state = 'exception'
UNION ALL
SELECT 'failed_cdr_check', u.id, NULL, u.session_id, u.cpo_id, u.price_minor,
       CASE WHEN u.price_minor IS NOT NULL THEN u.currency END, u.reasons[1],
       format('CDR %s: %s', u.cdr_id, u.detail) ||
           CASE WHEN u.settled_minor IS NULL THEN '' ELSE format('; captured meanwhile: %s', u.settled_minor) END,
       u.received_at, false
FROM gateway.stated_usage AS u
WHERE u.state = 'exception'
UNION ALL
SELECT 'undelivered_ocpi_message', m.id, NULL, NULL, m.party_id, NULL, NULL, m.module, coalesce(m.last_error, ''),
       m.exception_at, true
FROM gateway.ocpi_outbox AS m
WHERE m.exception_at IS NOT NULL
UNION ALL
SELECT 'failing_ocpi_pull', NULL, e.party_id || '/' || p.module, NULL, e.party_id, NULL, NULL, p.module,
       coalesce(p.last_error, ''), p.updated_at, false
FROM gateway.ocpi_pull AS p
JOIN gateway.ocpi_peer AS e ON e.id = p.peer_id AND e.state = 'registered'
WHERE p.failures >= :failing_pulls::integer OR p.list_short
UNION ALL
-- The CPO has had no answer: we read the CDR, it did not send it. One that was taken since is none any more.
SELECT 'rejected_cdr', NULL, j.party_id || '/' || coalesce(j.object_id, j.id::text), NULL, j.party_id, NULL, NULL,
       'rejected', min(j.reason), min(j.received_at), false
FROM gateway.ocpi_rejected_push AS j
WHERE j.pulled AND j.module = 'cdrs'
  AND NOT EXISTS (SELECT 1 FROM gateway.ocpi_cdr AS k
                  WHERE k.party_id = j.party_id AND lower(k.cdr_id) = lower(j.object_id))
GROUP BY j.party_id, coalesce(j.object_id, j.id::text)
UNION ALL
SELECT 'failing_webhook_endpoint', w.id, NULL, NULL, w.party_id, NULL, NULL, w.state,
       coalesce(w.disabled_reason, format('%s failures in a row', w.failures_in_a_row) ||
           CASE WHEN w.warnings > 0 THEN format('; its party was warned %s times', w.warnings) ELSE '' END),
       coalesce(w.failing_since, w.created_at), true
FROM gateway.webhook_endpoint AS w
WHERE (w.state = 'enabled' AND w.failures_in_a_row >= :failing_deliveries::integer)
   OR (w.state = 'disabled' AND w.disabled_reason <> 'disabled by its owner')
UNION ALL
SELECT 'unapplied_pool_event', v.id, NULL, NULL, d.party_id, NULL, NULL, v.reason, format('%s: %s', v.name, v.detail),
       v.received_at, false
FROM gateway.contract_pool_event AS v
JOIN gateway.contract_pool_feed AS d ON d.id = v.feed_id
WHERE v.state = 'waiting'
UNION ALL
-- The last audit, since the first one that did not agree after one that did.
SELECT 'audit_difference', NULL, 'audit', NULL, NULL, NULL, NULL, r.result, array_to_string(r.checks, ', '),
       (SELECT min(b.finished_at) FROM gateway.audit_run AS b
        WHERE b.id > coalesce((SELECT max(g.id) FROM gateway.audit_run AS g WHERE g.result = 'agrees'), 0)), true
FROM gateway.audit_run AS r
WHERE r.id = (SELECT max(id) FROM gateway.audit_run) AND r.result <> 'agrees';

-- name: lock_queue!
-- One at a time compares the queue with its causes, until the caller's transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('gateway.exception', 0));

-- name: open_exceptions
SELECT id, kind, subject_id, state, owner, assignee, party_id, amount_minor, currency, reason, detail, since, opened_at,
       resolved_at, (SELECT a.hours FROM gateway.exception_age_limit AS a WHERE a.kind = exception.kind) AS limit_hours
FROM gateway.exception
WHERE state = 'open';

-- name: acknowledged
-- Causes that a person has ended although they are still there.
SELECT kind, subject_id FROM gateway.exception WHERE acknowledged;

-- name: forget_acknowledged!
-- What a person accepted is gone: if it comes again, it opens a new exception.
UPDATE gateway.exception AS e SET acknowledged = false
FROM unnest(:kinds::text[], :subjects::text[]) AS gone (kind, subject_id)
WHERE e.kind = gone.kind AND e.subject_id = gone.subject_id AND e.acknowledged;

-- name: add_exceptions!
WITH fresh AS (
    INSERT INTO gateway.exception (id, kind, subject_id, state, owner, party_id, amount_minor, currency, reason, detail,
                                   since, opened_at)
    SELECT f.id, f.kind, f.subject_id, 'open', f.owner, f.party_id, f.amount_minor, f.currency, f.reason, f.detail,
           f.since, :now::timestamptz
    FROM unnest(:ids::uuid[], :kinds::text[], :subjects::text[], :owners::text[], :parties::text[], :amounts::bigint[],
                :currencies::text[], :reasons::text[], :details::text[], :sinces::timestamptz[])
        AS f (id, kind, subject_id, owner, party_id, amount_minor, currency, reason, detail, since)
    ON CONFLICT (kind, subject_id) WHERE state = 'open' DO NOTHING
    RETURNING id, reason, detail
)
INSERT INTO gateway.exception_event (exception_id, position, at, kind, actor, note)
SELECT id, 1, :now::timestamptz, 'opened', 'system', concat_ws(': ', reason, nullif(detail, '')) FROM fresh;

-- name: change_exceptions!
-- The cause is the same and its figures or reason are others; only another reason is worth a line of history.
WITH changed AS (
    UPDATE gateway.exception AS e
    SET owner = f.owner, amount_minor = f.amount_minor, currency = f.currency, reason = f.reason, detail = f.detail
    FROM unnest(:ids::uuid[], :owners::text[], :amounts::bigint[], :currencies::text[], :reasons::text[],
                :details::text[], :old_reasons::text[]) AS f (id, owner, amount_minor, currency, reason, detail, old_reason)
    WHERE e.id = f.id AND e.state = 'open'
    RETURNING e.id, e.reason, e.detail, f.old_reason
)
INSERT INTO gateway.exception_event (exception_id, position, at, kind, actor, note)
SELECT c.id, 1 + (SELECT max(h.position) FROM gateway.exception_event AS h WHERE h.exception_id = c.id),
       :now::timestamptz, 'changed', 'system', concat_ws(': ', c.reason, nullif(c.detail, ''))
FROM changed AS c WHERE c.reason <> c.old_reason;

-- name: resolve_exceptions!
WITH resolved AS (
    UPDATE gateway.exception
    SET state = 'resolved', resolved_at = :now::timestamptz, acknowledged = :acknowledged::boolean
    WHERE id = ANY(:ids::uuid[]) AND state = 'open'
    RETURNING id
)
INSERT INTO gateway.exception_event (exception_id, position, at, kind, actor, note)
SELECT r.id, 1 + (SELECT max(h.position) FROM gateway.exception_event AS h WHERE h.exception_id = r.id),
       :now::timestamptz, 'resolved', :actor::text, :note::text
FROM resolved AS r;

-- name: add_event!
INSERT INTO gateway.exception_event (exception_id, position, at, kind, actor, note)
SELECT :id::uuid, 1 + max(h.position), :now::timestamptz, :kind::text, :actor::text, :note::text
FROM gateway.exception_event AS h WHERE h.exception_id = :id::uuid;

-- name: assign!
UPDATE gateway.exception SET assignee = :assignee::text WHERE id = :id;

-- name: exceptions
-- Newest id first. `since_before`: only those that old; `overdue_at`: only those past the age limit of their kind.
SELECT id, kind, subject_id, state, owner, assignee, party_id, amount_minor, currency, reason, detail, since, opened_at,
       resolved_at, (SELECT a.hours FROM gateway.exception_age_limit AS a WHERE a.kind = exception.kind) AS limit_hours
FROM gateway.exception
WHERE (:state::text IS NULL OR state = :state::text)
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:owner::text IS NULL OR owner = :owner::text)
  AND (:assignee::text IS NULL OR assignee = :assignee::text)
  AND (:party_id::text IS NULL OR party_id = :party_id::text)
  AND (:since_before::timestamptz IS NULL OR since <= :since_before::timestamptz)
  AND (:overdue_at::timestamptz IS NULL OR since <= :overdue_at::timestamptz - make_interval(secs => (
      SELECT l.seconds FROM unnest(:kinds::text[], :seconds::double precision[]) AS l (kind, seconds)
      WHERE l.kind = exception.kind)))
  AND (:before::uuid IS NULL OR id < :before::uuid)
ORDER BY id DESC
LIMIT :row_limit::integer;

-- name: load_exception^
SELECT id, kind, subject_id, state, owner, assignee, party_id, amount_minor, currency, reason, detail, since, opened_at,
       resolved_at, (SELECT a.hours FROM gateway.exception_age_limit AS a WHERE a.kind = exception.kind) AS limit_hours
FROM gateway.exception WHERE id = :id;

-- name: load_exceptions
SELECT id, kind, subject_id, state, owner, assignee, party_id, amount_minor, currency, reason, detail, since, opened_at,
       resolved_at, (SELECT a.hours FROM gateway.exception_age_limit AS a WHERE a.kind = exception.kind) AS limit_hours
FROM gateway.exception WHERE id = ANY(:ids::uuid[]) ORDER BY id;

-- name: history
SELECT position, at, kind, actor, note FROM gateway.exception_event WHERE exception_id = :id ORDER BY position;

-- name: open_counts
-- With the age limit of each kind, in seconds.
SELECT e.kind, count(*) AS open, min(e.since) AS oldest_since,
       count(*) FILTER (WHERE e.since + make_interval(secs => l.seconds) <= :now::timestamptz) AS overdue
FROM gateway.exception AS e
LEFT JOIN unnest(:kinds::text[], :seconds::double precision[]) AS l (kind, seconds) ON l.kind = e.kind
WHERE e.state = 'open'
GROUP BY e.kind ORDER BY e.kind;

-- name: age_limits
-- Those that were set; every other kind has its default.
SELECT kind, hours, set_by, set_at FROM gateway.exception_age_limit ORDER BY kind;

-- name: put_age_limits!
INSERT INTO gateway.exception_age_limit AS a (kind, hours, set_by, set_at)
SELECT l.kind, l.hours, :by::text, :now::timestamptz FROM unnest(:kinds::text[], :hours::integer[]) AS l (kind, hours)
ON CONFLICT (kind) DO UPDATE SET hours = excluded.hours, set_by = excluded.set_by, set_at = excluded.set_at
WHERE a.hours <> excluded.hours;

-- name: delete_age_limits!
DELETE FROM gateway.exception_age_limit WHERE kind = ANY (:kinds::text[]);

-- name: load_proposal^
SELECT action, amount_minor, note, proposed_by, proposed_at FROM gateway.exception_proposal WHERE exception_id = :id;

-- name: put_proposal!
INSERT INTO gateway.exception_proposal (exception_id, action, amount_minor, note, proposed_by, proposed_at)
VALUES (:id, :action, :amount_minor, :note, :by, :now)
ON CONFLICT (exception_id) DO UPDATE
SET action = excluded.action, amount_minor = excluded.amount_minor, note = excluded.note,
    proposed_by = excluded.proposed_by, proposed_at = excluded.proposed_at;

-- name: delete_proposal!
DELETE FROM gateway.exception_proposal WHERE exception_id = :id;

-- name: stopped_task_shard$
-- Of the few tasks that wait for a person, by the index over those alone.
SELECT shard FROM gateway.task WHERE id = :id AND exception_at IS NOT NULL;

-- name: retry_task$
-- As if it had never been tried.
UPDATE gateway.task SET exception_at = NULL, leased_until = NULL, attempts = 0, run_at = :wall_now
WHERE shard = :shard AND id = :id AND exception_at IS NOT NULL
RETURNING id;

-- name: retry_message$
UPDATE gateway.ocpi_outbox SET exception_at = NULL, leased_until = NULL, attempts = 0, run_at = :wall_now
WHERE id = :id AND exception_at IS NOT NULL
RETURNING id;

-- name: retry_psp_request$
UPDATE gateway.psp_request SET next_attempt_at = :wall_now
WHERE shard = :shard AND id = :id AND state IN ('intended', 'unknown')
RETURNING id;

-- name: retry_pull$
UPDATE gateway.ocpi_pull AS p SET due_at = :wall_now::timestamptz
FROM gateway.ocpi_peer AS e
WHERE e.id = p.peer_id AND e.state = 'registered' AND e.party_id = :party_id AND p.module = :module
RETURNING p.module;
