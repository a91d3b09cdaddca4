-- Personal data whose time is over: for each rule of the table how much is due, and one batch of it removed.
-- `before` is the instant before which what the rule counts from has to lie, `limit` the rows of one batch. A row that
-- somebody else holds is left for the next batch, so that nothing waits for these statements. What has the shard is
-- removed from one shard at a time: rows of several can't be locked in one statement where they are distributed.

-- name: due_idempotency_key$
SELECT count(*) FROM gateway.idempotency_key
WHERE created_at < :before AND (status IS NOT NULL OR locked_until IS NULL OR locked_until < :before);

-- name: apply_idempotency_key$
-- Not one whose request is at work: a repeat would be taken for a new one.
WITH due AS (
    SELECT party_id, key FROM gateway.idempotency_key
    WHERE shard = :shard AND created_at < :before
      AND (status IS NOT NULL OR locked_until IS NULL OR locked_until < :before)
    LIMIT :limit FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM gateway.idempotency_key AS k USING due
    WHERE k.shard = :shard AND k.party_id = due.party_id AND k.key = due.key RETURNING 1
)
SELECT count(*) FROM gone;

-- name: due_recent_authorization$
SELECT count(*) FROM gateway.recent_authorization WHERE authorized_at < :before;

-- name: apply_recent_authorization$
WITH due AS (
    SELECT ctid FROM gateway.recent_authorization WHERE authorized_at < :before LIMIT :limit FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM gateway.recent_authorization AS k USING due WHERE k.ctid = due.ctid RETURNING 1)
SELECT count(*) FROM gone;

-- name: due_event$
SELECT count(*) FROM gateway.event AS e
WHERE e.created_at < :before AND e.fanned_out
  AND NOT EXISTS (SELECT 1 FROM gateway.event AS n
                  LEFT JOIN gateway.webhook_endpoint AS w ON w.party_id = n.party_id  -- also one that was deleted
                  LEFT JOIN gateway.delivery AS d ON d.shard = n.shard AND d.endpoint_id = w.id AND d.event_id = n.id
                  WHERE n.shard = e.shard AND n.object_id = e.object_id AND (n.id = e.id OR n.data_of = e.id)
                    AND (NOT n.fanned_out OR d.state = 'pending'
                         OR coalesce(d.last_attempt_at, d.created_at) >= :wall_before));

-- name: apply_event$
-- With its deliveries: an event that an endpoint has not had yet, or has had only lately, stays, and with it the one
-- that holds its object.
WITH due AS (
    SELECT e.id, e.party_id FROM gateway.event AS e
    WHERE e.shard = :shard AND e.created_at < :before AND e.fanned_out
      AND NOT EXISTS (
          SELECT 1 FROM gateway.event AS n
          LEFT JOIN gateway.webhook_endpoint AS w ON w.party_id = n.party_id  -- also one that was deleted
          LEFT JOIN gateway.delivery AS d ON d.shard = :shard AND d.endpoint_id = w.id AND d.event_id = n.id
          WHERE n.shard = :shard AND n.object_id = e.object_id AND (n.id = e.id OR n.data_of = e.id)
            AND (NOT n.fanned_out OR d.state = 'pending'
                 OR coalesce(d.last_attempt_at, d.created_at) >= :wall_before))
    LIMIT :limit FOR UPDATE OF e SKIP LOCKED
), sent AS (
    DELETE FROM gateway.delivery AS d USING due, gateway.webhook_endpoint AS w
    WHERE w.party_id = due.party_id AND d.shard = :shard AND d.endpoint_id = w.id AND d.event_id = due.id
), gone AS (DELETE FROM gateway.event AS e USING due WHERE e.shard = :shard AND e.id = due.id RETURNING 1)
SELECT count(*) FROM gone;

-- name: due_delivery_attempt$
SELECT count(*) FROM gateway.delivery_attempt WHERE attempted_at < :before;

-- name: apply_delivery_attempt$
WITH due AS (
    SELECT id FROM gateway.delivery_attempt WHERE shard = :shard AND attempted_at < :before
    LIMIT :limit FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM gateway.delivery_attempt AS k USING due WHERE k.shard = :shard AND k.id = due.id RETURNING 1)
SELECT count(*) FROM gone;

-- name: due_psp_event$
SELECT count(*) FROM gateway.psp_event AS e
WHERE e.received_at < :before
  AND NOT EXISTS (SELECT 1 FROM gateway.task AS t
                  WHERE t.shard = e.shard AND t.kind = 'handle_psp_event' AND t.payload ->> 'event' = e.id);

-- name: apply_psp_event$
WITH due AS (
    SELECT e.id FROM gateway.psp_event AS e
    WHERE e.shard = :shard AND e.received_at < :before
      AND NOT EXISTS (SELECT 1 FROM gateway.task AS t
                      WHERE t.shard = :shard AND t.kind = 'handle_psp_event' AND t.payload ->> 'event' = e.id)
    LIMIT :limit FOR UPDATE OF e SKIP LOCKED
), gone AS (DELETE FROM gateway.psp_event AS e USING due WHERE e.shard = :shard AND e.id = due.id RETURNING 1)
SELECT count(*) FROM gone;

-- name: due_session$
SELECT count(*) FROM gateway.session
WHERE created_at < :before  -- so that an index finds them
  AND state IN ('cancelled', 'completed', 'cleared') AND coalesce(ended_at, updated_at) < :before
  AND (metadata <> '{}' OR session_ref IS NOT NULL);

-- name: apply_session$
-- With the lookup by its reference. Ids of CDRs and of the PSP stay: the books name them.
WITH due AS (
    SELECT id FROM gateway.session
    WHERE shard = :shard AND created_at < :before  -- so that an index finds them
      AND state IN ('cancelled', 'completed', 'cleared') AND coalesce(ended_at, updated_at) < :before
      AND (metadata <> '{}' OR session_ref IS NOT NULL)
    LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
), blotted AS (
    UPDATE gateway.session AS s SET metadata = '{}', session_ref = NULL FROM due
    WHERE s.shard = :shard AND s.id = due.id RETURNING s.id
), names AS (
    DELETE FROM gateway.session_lookup AS l USING due
    WHERE l.kind = 'session_ref' AND l.shard = :shard AND l.session_id = due.id
)
SELECT count(*) FROM blotted;

-- name: due_payment_authorization$
SELECT count(*) FROM gateway.payment_authorization
WHERE state IN ('captured', 'voided', 'failed') AND updated_at < :before
  AND (metadata <> '{}' OR receipt_email IS NOT NULL OR return_url IS NOT NULL OR customer IS NOT NULL
       OR payment_method IS NOT NULL OR save_consent IS NOT NULL);

-- name: apply_payment_authorization$
WITH due AS (
    SELECT id FROM gateway.payment_authorization
    WHERE shard = :shard AND state IN ('captured', 'voided', 'failed') AND updated_at < :before
      AND (metadata <> '{}' OR receipt_email IS NOT NULL OR return_url IS NOT NULL OR customer IS NOT NULL
           OR payment_method IS NOT NULL OR save_consent IS NOT NULL)
    LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
), blotted AS (
    UPDATE gateway.payment_authorization AS a
    SET metadata = '{}', receipt_email = NULL, return_url = NULL, customer = NULL, payment_method = NULL,
        save_usage = NULL, save_consent = NULL, version = a.version + 1
    FROM due WHERE a.shard = :shard AND a.id = due.id RETURNING 1
)
SELECT count(*) FROM blotted;

-- name: due_refund$
SELECT count(*) FROM gateway.refund WHERE finished_at < :before AND metadata <> '{}';

-- name: apply_refund$
WITH due AS (
    SELECT id FROM gateway.refund WHERE shard = :shard AND finished_at < :before AND metadata <> '{}'
    LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
), blotted AS (
    UPDATE gateway.refund AS r SET metadata = '{}' FROM due WHERE r.shard = :shard AND r.id = due.id RETURNING 1
)
SELECT count(*) FROM blotted;

-- name: due_dispute$
SELECT count(*) FROM gateway.dispute WHERE closed_at < :before AND evidence <> '{}';

-- name: apply_dispute$
WITH due AS (
    SELECT id FROM gateway.dispute WHERE shard = :shard AND closed_at < :before AND evidence <> '{}'
    LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
), blotted AS (
    UPDATE gateway.dispute AS d SET evidence = '{}' FROM due WHERE d.shard = :shard AND d.id = due.id RETURNING 1
)
SELECT count(*) FROM blotted;

-- name: due_payment_method$
SELECT count(*) FROM gateway.payment_method WHERE detached_at IS NOT NULL AND removed_at < :before;

-- name: apply_payment_method$
-- Only one that the PSP has confirmed as removed; with the setup that saved it.
WITH due AS (
    SELECT psp_method, setup_id FROM gateway.payment_method WHERE detached_at IS NOT NULL AND removed_at < :before
    LIMIT :limit FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM gateway.payment_method AS m USING due WHERE m.psp_method = due.psp_method RETURNING 1)
SELECT count(*) FROM gone;

-- name: due_payment_method_setup$
SELECT count(*) FROM gateway.payment_method_setup AS s
WHERE s.updated_at < :before AND NOT EXISTS (SELECT 1 FROM gateway.payment_method AS m WHERE m.setup_id = s.id);

-- name: apply_payment_method_setup$
WITH due AS (
    SELECT s.id FROM gateway.payment_method_setup AS s
    WHERE s.updated_at < :before AND NOT EXISTS (SELECT 1 FROM gateway.payment_method AS m WHERE m.setup_id = s.id)
    LIMIT :limit FOR UPDATE OF s SKIP LOCKED
), gone AS (DELETE FROM gateway.payment_method_setup AS s USING due WHERE s.id = due.id RETURNING 1)
SELECT count(*) FROM gone;

-- name: due_ocpi_session$
SELECT count(*) FROM gateway.ocpi_session
WHERE received_at < :before
  AND updated_at < :before
      - make_interval(days => coalesce((SELECT max(after_days) FROM gateway.missing_cdr_policy), 0));

-- name: apply_ocpi_session$
WITH due AS (
    SELECT party_id, session_key FROM gateway.ocpi_session
    WHERE received_at < :before
      AND updated_at < :before
          - make_interval(days => coalesce((SELECT max(after_days) FROM gateway.missing_cdr_policy), 0))
    LIMIT :limit FOR UPDATE SKIP LOCKED
), watched AS (
    DELETE FROM gateway.ocpi_session_due AS w USING due
    WHERE w.party_id = due.party_id AND w.session_key = due.session_key
), gone AS (
    DELETE FROM gateway.ocpi_session AS o USING due
    WHERE o.party_id = due.party_id AND o.session_key = due.session_key RETURNING 1
)
SELECT count(*) FROM gone;

-- name: due_ocpi_command$
SELECT count(*) FROM gateway.ocpi_command WHERE created_at < :wall_before AND finished_at < :wall_before;

-- name: apply_ocpi_command$
WITH due AS (
    SELECT id FROM gateway.ocpi_command WHERE created_at < :wall_before AND finished_at < :wall_before
    LIMIT :limit FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM gateway.ocpi_command AS c USING due WHERE c.id = due.id RETURNING 1)
SELECT count(*) FROM gone;

-- name: due_ocpi_token_authorization$
SELECT count(*) FROM gateway.ocpi_token_authorization WHERE requested_at < :before;

-- name: apply_ocpi_token_authorization$
WITH due AS (
    SELECT authorization_id FROM gateway.ocpi_token_authorization WHERE requested_at < :before
    LIMIT :limit FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM gateway.ocpi_token_authorization AS a USING due
    WHERE a.authorization_id = due.authorization_id RETURNING 1
)
SELECT count(*) FROM gone;

-- name: due_ocpi_token$
SELECT count(*) FROM gateway.ocpi_token AS t
WHERE NOT t.valid AND t.last_updated < :before
  AND NOT EXISTS (SELECT 1 FROM gateway.ocpi_token_authorization AS a WHERE a.uid_key = t.uid_key AND a.type = t.type);

-- name: apply_ocpi_token$
WITH due AS (
    SELECT t.uid_key, t.type FROM gateway.ocpi_token AS t
    WHERE NOT t.valid AND t.last_updated < :before
      AND NOT EXISTS (SELECT 1 FROM gateway.ocpi_token_authorization AS a
                      WHERE a.uid_key = t.uid_key AND a.type = t.type)
    LIMIT :limit FOR UPDATE OF t SKIP LOCKED
), gone AS (
    DELETE FROM gateway.ocpi_token AS t USING due WHERE t.uid_key = due.uid_key AND t.type = due.type RETURNING 1
)
SELECT count(*) FROM gone;

-- name: due_ocpi_rejected_push$
SELECT count(*) FROM gateway.ocpi_rejected_push AS j
WHERE j.received_at < :before
  AND NOT (j.pulled AND j.module = 'cdrs'
           AND NOT EXISTS (SELECT 1 FROM gateway.ocpi_cdr AS k
                           WHERE k.party_id = j.party_id AND lower(k.cdr_id) = lower(j.object_id))
           AND NOT EXISTS (SELECT 1 FROM gateway.exception AS x
                           WHERE x.kind = 'rejected_cdr' AND x.acknowledged
                             AND x.subject_id = j.party_id || '/' || coalesce(j.object_id, j.id::text)));

-- name: apply_ocpi_rejected_push$
-- A CDR that we read and rejected is the cause of an exception until it comes again or a person has ended it.
WITH due AS (
    SELECT j.id FROM gateway.ocpi_rejected_push AS j
    WHERE j.received_at < :before
      AND NOT (j.pulled AND j.module = 'cdrs'
               AND NOT EXISTS (SELECT 1 FROM gateway.ocpi_cdr AS k
                               WHERE k.party_id = j.party_id AND lower(k.cdr_id) = lower(j.object_id))
               AND NOT EXISTS (SELECT 1 FROM gateway.exception AS x
                               WHERE x.kind = 'rejected_cdr' AND x.acknowledged
                                 AND x.subject_id = j.party_id || '/' || coalesce(j.object_id, j.id::text)))
    LIMIT :limit FOR UPDATE OF j SKIP LOCKED
), gone AS (DELETE FROM gateway.ocpi_rejected_push AS j USING due WHERE j.id = due.id RETURNING 1)
SELECT count(*) FROM gone;

-- name: due_ocpi_booking$
SELECT count(*) FROM gateway.ocpi_booking WHERE ends_at < :before AND updated_at < :before;

-- name: apply_ocpi_booking$
WITH due AS (
    SELECT session_id FROM gateway.ocpi_booking WHERE ends_at < :before AND updated_at < :before
    LIMIT :limit FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM gateway.ocpi_booking AS b USING due WHERE b.session_id = due.session_id RETURNING 1)
SELECT count(*) FROM gone;

-- name: due_receipt_link$
SELECT count(*) FROM gateway.receipt_link WHERE created_at < :before;

-- name: apply_receipt_link$
WITH due AS (
    SELECT session_id FROM gateway.receipt_link WHERE shard = :shard AND created_at < :before
    LIMIT :limit FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM gateway.receipt_link AS l USING due
    WHERE l.shard = :shard AND l.session_id = due.session_id RETURNING 1
)
SELECT count(*) FROM gone;

-- name: due_invoice_link$
SELECT count(*) FROM gateway.invoice_link WHERE created_at < :before;

-- name: apply_invoice_link$
WITH due AS (
    SELECT session_id FROM gateway.invoice_link WHERE shard = :shard AND created_at < :before
    LIMIT :limit FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM gateway.invoice_link AS l USING due
    WHERE l.shard = :shard AND l.session_id = due.session_id RETURNING 1
)
SELECT count(*) FROM gone;

-- name: due_driver_payment$
SELECT count(*) FROM gateway.driver_payment WHERE closed_at < :before;

-- name: apply_driver_payment$
WITH due AS (
    SELECT token FROM gateway.driver_payment WHERE closed_at < :before LIMIT :limit FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM gateway.driver_payment AS p USING due WHERE p.token = due.token RETURNING 1)
SELECT count(*) FROM gone;

-- name: due_exception$
SELECT count(*) FROM gateway.exception WHERE resolved_at < :before AND detail <> '';

-- name: apply_exception$
-- With the notes of its history. Kind, reason, amounts, dates and who decided stay.
WITH due AS (
    SELECT id FROM gateway.exception WHERE resolved_at < :before AND detail <> ''
    LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
), notes AS (
    UPDATE gateway.exception_event AS n SET note = '' FROM due WHERE n.exception_id = due.id
), proposals AS (
    DELETE FROM gateway.exception_proposal AS p USING due WHERE p.exception_id = due.id
), blotted AS (UPDATE gateway.exception AS x SET detail = '' FROM due WHERE x.id = due.id RETURNING 1)
SELECT count(*) FROM blotted;

-- name: due_request_log$
SELECT count(*) FROM gateway.request_log WHERE requested_at < :before;

-- name: apply_request_log$
WITH due AS (
    SELECT ctid FROM gateway.request_log WHERE requested_at < :before LIMIT :limit FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM gateway.request_log AS r USING due WHERE r.ctid = due.ctid RETURNING 1)
SELECT count(*) FROM gone;

-- name: due_billing_record$
-- Countries and the instants before which their sales need not be proved; '*' is every other country.
WITH legal AS (SELECT * FROM unnest(:countries::text[], :befores::timestamptz[]) AS l (country, before)),
other AS (SELECT before FROM legal WHERE country = '*')
SELECT (SELECT count(*) FROM gateway.session AS s LEFT JOIN legal AS l ON l.country = left(s.tax_jurisdiction, 2)
        WHERE s.cdr IS NOT NULL AND s.cdr_blotted_at IS NULL AND s.state <> 'exception'
          AND s.ended_at < coalesce(l.before, (SELECT before FROM other))
          AND s.ended_at < (SELECT max(before) FROM legal))
     + (SELECT count(*) FROM gateway.ocpi_cdr
        WHERE blotted_at IS NULL AND status IN ('completed', 'rejected', 'credit')
          AND ended_at < (SELECT min(before) FROM legal));

-- name: sessions_to_blot
-- Of one shard.
SELECT s.id, s.cdr FROM gateway.session AS s
LEFT JOIN unnest(:countries::text[], :befores::timestamptz[]) AS l (country, before)
    ON l.country = left(s.tax_jurisdiction, 2)
WHERE s.shard = :shard AND s.cdr IS NOT NULL AND s.cdr_blotted_at IS NULL AND s.state <> 'exception'
  AND s.ended_at < coalesce(l.before, :other_before::timestamptz)
  AND s.ended_at < :latest_before::timestamptz  -- so that an index finds them
LIMIT :limit FOR NO KEY UPDATE OF s SKIP LOCKED;

-- name: statements_to_blot
-- What was stated of these sessions of a shard beside the CDR that priced them.
SELECT 'stated_usage' AS place, id, cdr FROM gateway.stated_usage
WHERE shard = :shard AND session_id = ANY(:ids::uuid[]) AND cdr_blotted_at IS NULL
UNION ALL
SELECT 'provisional_usage', session_id, cdr FROM gateway.provisional_usage
WHERE shard = :shard AND session_id = ANY(:ids::uuid[]) AND cdr_blotted_at IS NULL;

-- name: blot_session!
UPDATE gateway.session SET cdr = :cdr, cdr_blotted_at = :now WHERE shard = :shard AND id = :id;

-- name: blot_stated_usage!
UPDATE gateway.stated_usage SET cdr = :cdr, cdr_blotted_at = :now WHERE shard = :shard AND id = :id;

-- name: blot_provisional_usage!
UPDATE gateway.provisional_usage SET cdr = :cdr, cdr_blotted_at = :now WHERE shard = :shard AND session_id = :id;

-- name: cdrs_to_blot
-- By the longest law: the country of a CDR stands in its text alone.
SELECT party_id, cdr_key, raw FROM gateway.ocpi_cdr
WHERE blotted_at IS NULL AND status IN ('completed', 'rejected', 'credit') AND ended_at < :before
LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED;

-- name: blot_cdr!
-- The fingerprint stays: it is of what was received.
UPDATE gateway.ocpi_cdr
SET raw = :raw, blotted_at = :now, session_ref = NULL, authorization_reference = NULL
WHERE party_id = :party_id AND cdr_key = :cdr_key;

-- name: start_run!
INSERT INTO gateway.retention_run (id, started_at) VALUES (:id, :now);

-- name: record_removed!
UPDATE gateway.retention_run
SET removed = jsonb_set(
    removed, ARRAY[:rule::text], to_jsonb(coalesce((removed ->> :rule::text)::bigint, 0) + :count::bigint))
WHERE id = :id;

-- name: finish_run!
UPDATE gateway.retention_run SET finished_at = :now WHERE id = :id;

-- name: latest_run^
SELECT started_at, finished_at, removed FROM gateway.retention_run
WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 1;

-- name: first_data_at$
-- When this system began: while it is younger than a day, nothing can be overdue.
SELECT min(created_at) FROM gateway.party;

-- name: delete_old_runs!
DELETE FROM gateway.retention_run WHERE started_at < :before;
