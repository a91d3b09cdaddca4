-- A driver, found by any of their names: customers, saved methods, tokens, authorizations, sessions. Then what prevents
-- erasure, the erasure itself, and the export. These statements read whole tables: they are rare, and run by staff.
-- `shards` and `sessions` go together, as do `uid_keys` and `types`.

-- name: customers_of
SELECT id, psp_customer FROM gateway.customer
WHERE id = ANY (:customers::uuid[]) OR psp_customer = ANY (:psp_customers::text[])
   OR (party_id = :party_id::text AND reference = :reference::text);

-- name: methods_of
SELECT m.psp_method, m.customer_id FROM gateway.payment_method AS m
WHERE m.customer_id = ANY (:customers::uuid[]) OR m.psp_method = ANY (:methods::text[])
   OR m.fingerprint = :fingerprint::text;

-- name: authorizations_of
SELECT a.shard, a.id, a.session_id, a.customer FROM gateway.payment_authorization AS a
WHERE a.id = ANY (:authorizations::uuid[]) OR a.customer = ANY (:psp_customers::text[])
   OR a.payment_method = ANY (:methods::text[]) OR lower(a.receipt_email) = :email::text
   OR (a.party_id = :party_id::text
       AND EXISTS (SELECT 1 FROM jsonb_each_text(a.metadata) AS m WHERE m.value = :reference::text))
   OR (a.shard, a.session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]));

-- name: sessions_of
-- `texts`: what a CDR may hold of the person, in quotes: a token's uid, a contract's id.
SELECT s.shard, s.id FROM gateway.session AS s
WHERE (s.shard, s.id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
   OR (s.demand_partner_id = :party_id::text
       AND (s.session_ref = :reference::text
            OR EXISTS (SELECT 1 FROM jsonb_each_text(s.metadata) AS m WHERE m.value = :reference::text)))
   OR (s.cdr IS NOT NULL AND EXISTS (
       SELECT 1 FROM unnest(:texts::text[]) AS t (part) WHERE position(convert_to(t.part, 'UTF8') IN s.cdr) > 0));

-- name: tokens_of
SELECT uid_key, type, uid, contract_id, payment ->> 'customer' AS customer FROM gateway.ocpi_token
WHERE uid_key = :uid_key::text OR payment ->> 'customer' = ANY (:psp_customers::text[])
   OR left(upper(regexp_replace(contract_id, '[^A-Za-z0-9]', '', 'g')), 14) = ANY (:emaids::text[]);

-- name: token_authorizations_of
SELECT a.authorization_id FROM gateway.ocpi_token_authorization AS a
WHERE (a.uid_key, a.type) IN (SELECT * FROM unnest(:uid_keys::text[], :types::text[]));

-- name: found_rows
-- How many rows of each rule are the person's.
SELECT 'session' AS rule, count(*) FROM gateway.session
WHERE (shard, id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
  AND (metadata <> '{}' OR (session_ref IS NOT NULL AND session_ref NOT IN (SELECT pseudonym FROM gateway.erasure)))
UNION ALL
SELECT 'payment_authorization', count(*) FROM gateway.payment_authorization
WHERE id = ANY (:authorizations::uuid[])
  AND (metadata <> '{}' OR receipt_email IS NOT NULL OR return_url IS NOT NULL OR customer IS NOT NULL
       OR payment_method IS NOT NULL OR save_consent IS NOT NULL)
UNION ALL
SELECT 'refund', count(*) FROM gateway.refund
WHERE metadata <> '{}' AND (shard, session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
UNION ALL
SELECT 'dispute', count(*) FROM gateway.dispute
WHERE evidence <> '{}' AND (shard, session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
UNION ALL
SELECT 'customer', count(*) FROM gateway.customer WHERE id = ANY (:customers::uuid[])
UNION ALL
SELECT 'payment_method', count(*) FROM gateway.payment_method WHERE psp_method = ANY (:methods::text[])
UNION ALL
SELECT 'payment_method_setup', count(*) FROM gateway.payment_method_setup WHERE customer_id = ANY (:customers::uuid[])
UNION ALL
SELECT 'ocpi_token', count(*) FROM gateway.ocpi_token
WHERE (uid_key, type) IN (SELECT * FROM unnest(:uid_keys::text[], :types::text[]))
UNION ALL
SELECT 'ocpi_token_authorization', count(*) FROM gateway.ocpi_token_authorization
WHERE (uid_key, type) IN (SELECT * FROM unnest(:uid_keys::text[], :types::text[]))
UNION ALL
SELECT 'ocpi_session', count(*) FROM gateway.ocpi_session AS o
WHERE o.authorization_reference = ANY (:names::text[])
   OR EXISTS (SELECT 1 FROM unnest(:texts::text[]) AS t (part) WHERE position(convert_to(t.part, 'UTF8') IN o.body) > 0)
UNION ALL
SELECT 'ocpi_command', count(*) FROM gateway.ocpi_command WHERE authorization_reference = ANY (:names::text[])
UNION ALL
SELECT 'ocpi_rejected_push', count(*) FROM gateway.ocpi_rejected_push AS j
WHERE EXISTS (SELECT 1 FROM unnest(:texts::text[]) AS t (part) WHERE position(convert_to(t.part, 'UTF8') IN j.raw) > 0)
UNION ALL
SELECT 'ocpi_booking', count(*) FROM gateway.ocpi_booking WHERE session_id = ANY (:sessions::uuid[])
UNION ALL
SELECT 'receipt_link', count(*) FROM gateway.receipt_link
WHERE (shard, session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
UNION ALL
SELECT 'invoice_link', count(*) FROM gateway.invoice_link
WHERE (shard, session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
UNION ALL
SELECT 'driver_payment', count(*) FROM gateway.driver_payment WHERE authorization_id = ANY (:authorizations::uuid[])
UNION ALL
SELECT 'recent_authorization', count(*) FROM gateway.recent_authorization
WHERE authorization_id = ANY (:authorizations::uuid[])
UNION ALL
SELECT 'exception', count(*) FROM gateway.exception WHERE subject_id = ANY (:names::text[]) AND detail <> ''
UNION ALL
SELECT 'event', count(*)
FROM gateway.event AS e LEFT JOIN gateway.event AS o ON o.shard = e.shard AND o.id = e.data_of,
     LATERAL (SELECT coalesce(e.data, o.data) AS data) AS held
WHERE held.data <> '{}' AND (
    e.object_id = ANY (:names::text[]) OR held.data ->> 'session' = ANY (:names::text[])
    OR held.data ->> 'authorization' = ANY (:names::text[]) OR held.data ->> 'customer' = ANY (:names::text[])
    OR held.data ->> 'subject' = ANY (:names::text[]))
UNION ALL
SELECT 'delivery_attempt', count(*)
FROM gateway.delivery_attempt AS a JOIN gateway.event AS e ON e.shard = a.shard AND e.id = a.event_id
LEFT JOIN gateway.event AS o ON o.shard = e.shard AND o.id = e.data_of,
     LATERAL (SELECT coalesce(e.data, o.data) AS data) AS held
WHERE a.answer IS NOT NULL AND held.data <> '{}' AND (
    e.object_id = ANY (:names::text[]) OR held.data ->> 'session' = ANY (:names::text[])
    OR held.data ->> 'authorization' = ANY (:names::text[]) OR held.data ->> 'customer' = ANY (:names::text[])
    OR held.data ->> 'subject' = ANY (:names::text[]))
UNION ALL
SELECT 'psp_event', count(*) FROM gateway.psp_event AS e
WHERE e.body <> '{}' AND EXISTS (
    SELECT 1 FROM unnest(:psp_names::text[]) AS t (part) WHERE position(convert_to(t.part, 'UTF8') IN e.body) > 0)
UNION ALL
SELECT 'contract_pool_event', count(*) FROM gateway.contract_pool_event WHERE emaid = ANY (:emaids::text[])
UNION ALL
SELECT 'contract_pool_position', count(*) FROM gateway.contract_pool_position WHERE emaid = ANY (:emaids::text[])
UNION ALL
SELECT 'contract_pool_lookup', count(*) FROM gateway.contract_pool_lookup WHERE after_emaid = ANY (:emaids::text[]);

-- name: psp_names_of
-- By what the PSP's events name the person: payments, customers, saved methods.
SELECT psp_payment AS name FROM gateway.payment_authorization
WHERE id = ANY (:authorizations::uuid[]) AND psp_payment IS NOT NULL
UNION SELECT unnest(:psp_customers::text[])
UNION SELECT unnest(:methods::text[]);

-- name: kept_rows
-- What the law keeps: sessions with a billing record, by tax jurisdiction and year of the sale.
SELECT s.tax_jurisdiction, max(s.ended_at) AS newest, count(*) AS sessions, count(c.session_id) AS captures
FROM gateway.session AS s
LEFT JOIN gateway.capture AS c ON c.shard = s.shard AND c.session_id = s.id
WHERE s.cdr IS NOT NULL AND (s.shard, s.id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
GROUP BY s.tax_jurisdiction
UNION ALL
-- CDRs of operators that price none of these sessions; '*': their country stands in their text alone.
SELECT '*', max(k.ended_at), count(*), 0 FROM gateway.ocpi_cdr AS k
WHERE (k.session_id IS NULL OR k.session_id <> ALL (:sessions::uuid[])) AND EXISTS (
    SELECT 1 FROM unnest(:texts::text[]) AS t (part) WHERE position(convert_to(t.part, 'UTF8') IN k.raw) > 0)
HAVING count(*) > 0;

-- name: why_not_erased
-- What is under way: a subject and a sentence for each.
SELECT 'session' AS kind, s.id, 'the session is still ' || s.state AS reason FROM gateway.session AS s
WHERE (s.shard, s.id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
  AND (s.state IN ('active', 'exception') OR (s.state = 'completed' AND s.price_minor > 0))
UNION ALL
SELECT 'session', c.session_id, 'its capture has no outcome' FROM gateway.capture AS c
WHERE (c.shard, c.session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
  AND c.state = 'requested'
UNION ALL
SELECT 'session', c.session_id, format('%s %s of its price are owed', c.receivable_minor, c.currency)
FROM gateway.capture AS c
WHERE (c.shard, c.session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
  AND c.receivable_minor > 0
UNION ALL
SELECT 'authorization', a.id, 'the authorization is ' || a.state FROM gateway.payment_authorization AS a
WHERE a.id = ANY (:authorizations::uuid[]) AND a.state NOT IN ('captured', 'voided', 'failed')
UNION ALL
SELECT 'session', r.session_id, 'a refund has no outcome' FROM gateway.refund AS r
WHERE (r.shard, r.session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
  AND r.state = 'requested'
UNION ALL
SELECT 'session', d.session_id, 'a dispute is open' FROM gateway.dispute AS d
WHERE (d.shard, d.session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
  AND d.state IN ('inquiry', 'opened')
UNION ALL
SELECT 'authorization', r.authorization_id, 'a request to the PSP has no outcome' FROM gateway.psp_request AS r
WHERE r.authorization_id = ANY (:authorizations::uuid[]) AND r.state IN ('intended', 'unknown')
UNION ALL
SELECT 'session', t.session_id, 'a task of it is open: ' || t.kind FROM gateway.task AS t
WHERE t.session_id = ANY (:sessions::uuid[])
UNION ALL
SELECT 'session', u.session_id, 'its usage waits for a decision' FROM gateway.stated_usage AS u
WHERE (u.shard, u.session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
  AND u.state = 'exception'
UNION ALL
SELECT 'session', u.session_id, 'money at the PSP is in no book yet' FROM gateway.unbooked_charge AS u
WHERE u.session_id = ANY (:sessions::uuid[]) AND u.state IN ('open', 'adopting', 'refunding')
UNION ALL
SELECT 'session', b.session_id, 'its booking is ' || b.status FROM gateway.ocpi_booking AS b
WHERE b.session_id = ANY (:sessions::uuid[]) AND b.status IN ('PENDING', 'RESERVED', 'UNKNOWN')
UNION ALL
SELECT 'saved payment method', m.id, 'it is saved: remove it first, DELETE /v1/payment-methods/{id}'
FROM gateway.payment_method AS m WHERE m.psp_method = ANY (:methods::text[]) AND m.removed_at IS NULL
UNION ALL
SELECT 'saved payment method', m.id, 'the PSP has not confirmed its removal yet'
FROM gateway.payment_method AS m
WHERE m.psp_method = ANY (:methods::text[]) AND m.removed_at IS NOT NULL AND m.detached_at IS NULL
UNION ALL
SELECT 'token', NULL, format('a token of the type %s is valid: make it invalid first', k.type)
FROM gateway.ocpi_token AS k
WHERE (k.uid_key, k.type) IN (SELECT * FROM unnest(:uid_keys::text[], :types::text[])) AND k.valid
UNION ALL
SELECT 'contract', NULL, 'a change of it by a contract pool waits' FROM gateway.contract_pool_event AS p
WHERE p.emaid = ANY (:emaids::text[]) AND p.state IN ('pending', 'waiting');

-- name: operators_of
-- The CPOs that have had the person's data.
SELECT DISTINCT cpo_id FROM (
    SELECT cpo_id FROM gateway.session
    WHERE (shard, id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
    UNION ALL
    SELECT cpo_id FROM gateway.ocpi_token_authorization
    WHERE (uid_key, type) IN (SELECT * FROM unnest(:uid_keys::text[], :types::text[]))) AS had
ORDER BY cpo_id;

-- name: lock_person
-- So that none of these changes while it is erased.
SELECT shard FROM gateway.session WHERE shard = :shard AND id = ANY(:sessions::uuid[])
ORDER BY id FOR NO KEY UPDATE;

-- name: erase_sessions!
WITH names AS (
    DELETE FROM gateway.session_lookup
    WHERE kind = 'session_ref'
      AND (shard, session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
)
UPDATE gateway.session
SET metadata = '{}', session_ref = CASE WHEN session_ref IS NOT NULL THEN :pseudonym::text END
WHERE (shard, id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
  AND (metadata <> '{}' OR (session_ref IS NOT NULL AND session_ref NOT IN (SELECT pseudonym FROM gateway.erasure)));

-- name: erase_authorizations!
UPDATE gateway.payment_authorization
SET metadata = '{}', receipt_email = NULL, return_url = NULL, customer = NULL, payment_method = NULL,
    save_usage = NULL, save_consent = NULL, version = version + 1
WHERE id = ANY (:authorizations::uuid[])
  AND (metadata <> '{}' OR receipt_email IS NOT NULL OR return_url IS NOT NULL OR customer IS NOT NULL
       OR payment_method IS NOT NULL OR save_consent IS NOT NULL);

-- name: erase_refunds!
UPDATE gateway.refund SET metadata = '{}'
WHERE metadata <> '{}' AND (shard, session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]));

-- name: erase_disputes!
UPDATE gateway.dispute SET evidence = '{}'
WHERE evidence <> '{}' AND (shard, session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]));

-- name: erase_payment_methods!
DELETE FROM gateway.payment_method WHERE psp_method = ANY (:methods::text[]);

-- name: erase_setups!
DELETE FROM gateway.payment_method_setup WHERE customer_id = ANY (:customers::uuid[]);

-- name: erase_customers!
DELETE FROM gateway.customer WHERE id = ANY (:customers::uuid[]);

-- name: erase_token_authorizations!
DELETE FROM gateway.ocpi_token_authorization
WHERE (uid_key, type) IN (SELECT * FROM unnest(:uid_keys::text[], :types::text[]));

-- name: erase_tokens!
DELETE FROM gateway.ocpi_token WHERE (uid_key, type) IN (SELECT * FROM unnest(:uid_keys::text[], :types::text[]));

-- name: erase_ocpi_sessions!
WITH found AS (
    SELECT o.party_id, o.session_key FROM gateway.ocpi_session AS o
    WHERE o.authorization_reference = ANY (:names::text[])
       OR EXISTS (SELECT 1 FROM unnest(:texts::text[]) AS t (part)
                  WHERE position(convert_to(t.part, 'UTF8') IN o.body) > 0)
), watched AS (
    DELETE FROM gateway.ocpi_session_due AS w USING found
    WHERE w.party_id = found.party_id AND w.session_key = found.session_key
)
DELETE FROM gateway.ocpi_session AS o USING found
WHERE o.party_id = found.party_id AND o.session_key = found.session_key;

-- name: erase_commands!
DELETE FROM gateway.ocpi_command WHERE authorization_reference = ANY (:names::text[]);

-- name: erase_rejected_pushes!
DELETE FROM gateway.ocpi_rejected_push AS j
WHERE EXISTS (SELECT 1 FROM unnest(:texts::text[]) AS t (part) WHERE position(convert_to(t.part, 'UTF8') IN j.raw) > 0);

-- name: erase_bookings!
DELETE FROM gateway.ocpi_booking WHERE session_id = ANY (:sessions::uuid[]);

-- name: erase_receipt_links!
DELETE FROM gateway.receipt_link
WHERE (shard, session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]));

-- name: erase_invoice_links!
DELETE FROM gateway.invoice_link
WHERE (shard, session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]));

-- name: erase_driver_payments!
DELETE FROM gateway.driver_payment WHERE authorization_id = ANY (:authorizations::uuid[]);

-- name: erase_taps!
DELETE FROM gateway.recent_authorization WHERE authorization_id = ANY (:authorizations::uuid[]);

-- name: erase_exceptions!
WITH notes AS (
    UPDATE gateway.exception_event AS n SET note = '' FROM gateway.exception AS x
    WHERE x.subject_id = ANY (:names::text[]) AND n.exception_id = x.id
), proposals AS (
    DELETE FROM gateway.exception_proposal AS p USING gateway.exception AS x
    WHERE x.subject_id = ANY (:names::text[]) AND p.exception_id = x.id
)
UPDATE gateway.exception SET detail = '' WHERE subject_id = ANY (:names::text[]) AND detail <> '';

-- name: erase_answers!
-- What receivers answered to events about the person, before these lose their object.
UPDATE gateway.delivery_attempt AS a SET answer = NULL
FROM gateway.event AS e LEFT JOIN gateway.event AS o ON o.shard = e.shard AND o.id = e.data_of,
     LATERAL (SELECT coalesce(e.data, o.data) AS data) AS held
WHERE a.shard = e.shard AND a.event_id = e.id AND a.answer IS NOT NULL AND held.data <> '{}' AND (
    e.object_id = ANY (:names::text[]) OR held.data ->> 'session' = ANY (:names::text[])
    OR held.data ->> 'authorization' = ANY (:names::text[]) OR held.data ->> 'customer' = ANY (:names::text[])
    OR held.data ->> 'subject' = ANY (:names::text[]));

-- name: erase_events!
-- What waits to be delivered is abandoned: an event without its object is of no use to its receiver.
WITH found AS (
    SELECT e.shard, e.id, e.party_id
    FROM gateway.event AS e LEFT JOIN gateway.event AS o ON o.shard = e.shard AND o.id = e.data_of,
         LATERAL (SELECT coalesce(e.data, o.data) AS data) AS held
    WHERE held.data <> '{}' AND (
        e.object_id = ANY (:names::text[]) OR held.data ->> 'session' = ANY (:names::text[])
        OR held.data ->> 'authorization' = ANY (:names::text[]) OR held.data ->> 'customer' = ANY (:names::text[])
        OR held.data ->> 'subject' = ANY (:names::text[]))
), abandoned AS (
    UPDATE gateway.delivery AS d
    SET state = 'abandoned', next_attempt_at = NULL, leased_until = NULL, last_error = 'erased'
    FROM found JOIN gateway.webhook_endpoint AS w ON w.party_id = found.party_id
    WHERE d.shard = found.shard AND d.endpoint_id = w.id AND d.event_id = found.id AND d.state = 'pending'
)
UPDATE gateway.event AS e SET data = '{}', data_of = NULL, fanned_out = true FROM found
WHERE e.shard = found.shard AND e.id = found.id;

-- name: erase_psp_events!
UPDATE gateway.psp_event AS e SET body = '{}'
WHERE e.body <> '{}' AND EXISTS (
    SELECT 1 FROM unnest(:psp_names::text[]) AS t (part) WHERE position(convert_to(t.part, 'UTF8') IN e.body) > 0);

-- name: erase_pool_events!
DELETE FROM gateway.contract_pool_event WHERE emaid = ANY (:emaids::text[]);

-- name: erase_pool_positions!
DELETE FROM gateway.contract_pool_position WHERE emaid = ANY (:emaids::text[]);

-- name: erase_pool_lookups!
UPDATE gateway.contract_pool_lookup SET after_emaid = '' WHERE after_emaid = ANY (:emaids::text[]);

-- name: record_erasure!
INSERT INTO gateway.erasure (id, pseudonym, erased_at, erased_by, reason, erased, kept)
VALUES (:id, :pseudonym, :now, :by, :reason, :erased, :kept);

-- name: list_erasures
SELECT id, pseudonym, erased_at, erased_by, reason, erased, kept FROM gateway.erasure
WHERE (:before::uuid IS NULL OR id < :before::uuid) ORDER BY id DESC LIMIT :limit;

-- name: export_rows
-- Every row of the person, by table, as JSON; bytes as the text that they are.
SELECT 'gateway.session' AS place, to_jsonb(s) - 'cdr' || jsonb_build_object('cdr', convert_from(s.cdr, 'UTF8')) AS data
FROM gateway.session AS s WHERE (s.shard, s.id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
UNION ALL
SELECT 'gateway.payment_authorization', to_jsonb(a) FROM gateway.payment_authorization AS a
WHERE a.id = ANY (:authorizations::uuid[])
UNION ALL
SELECT 'gateway.capture', to_jsonb(c) FROM gateway.capture AS c
WHERE (c.shard, c.session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
UNION ALL
SELECT 'gateway.refund', to_jsonb(r) FROM gateway.refund AS r
WHERE (r.shard, r.session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
UNION ALL
SELECT 'gateway.dispute', to_jsonb(d) FROM gateway.dispute AS d
WHERE (d.shard, d.session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
UNION ALL
SELECT 'gateway.stated_usage', to_jsonb(u) - 'cdr' || jsonb_build_object('cdr', convert_from(u.cdr, 'UTF8'))
FROM gateway.stated_usage AS u
WHERE (u.shard, u.session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
UNION ALL
SELECT 'gateway.provisional_usage', to_jsonb(u) - 'cdr' || jsonb_build_object('cdr', convert_from(u.cdr, 'UTF8'))
FROM gateway.provisional_usage AS u
WHERE (u.shard, u.session_id) IN (SELECT * FROM unnest(:shards::smallint[], :sessions::uuid[]))
UNION ALL
SELECT 'gateway.ocpi_cdr', to_jsonb(k) - 'raw' || jsonb_build_object('raw', convert_from(k.raw, 'UTF8'))
FROM gateway.ocpi_cdr AS k
WHERE k.session_id = ANY (:sessions::uuid[])
   OR EXISTS (SELECT 1 FROM unnest(:texts::text[]) AS t (part) WHERE position(convert_to(t.part, 'UTF8') IN k.raw) > 0)
UNION ALL
SELECT 'gateway.customer', to_jsonb(c) FROM gateway.customer AS c WHERE c.id = ANY (:customers::uuid[])
UNION ALL
SELECT 'gateway.payment_method', to_jsonb(m)
FROM gateway.payment_method AS m WHERE m.psp_method = ANY (:methods::text[])
UNION ALL
SELECT 'gateway.payment_method_setup', to_jsonb(p) FROM gateway.payment_method_setup AS p
WHERE p.customer_id = ANY (:customers::uuid[])
UNION ALL
SELECT 'gateway.ocpi_token', to_jsonb(k) FROM gateway.ocpi_token AS k
WHERE (k.uid_key, k.type) IN (SELECT * FROM unnest(:uid_keys::text[], :types::text[]))
UNION ALL
SELECT 'gateway.ocpi_token_authorization', to_jsonb(q) FROM gateway.ocpi_token_authorization AS q
WHERE (q.uid_key, q.type) IN (SELECT * FROM unnest(:uid_keys::text[], :types::text[]))
UNION ALL
SELECT 'gateway.ocpi_session', to_jsonb(o) - 'body' || jsonb_build_object('body', convert_from(o.body, 'UTF8'))
FROM gateway.ocpi_session AS o
WHERE o.authorization_reference = ANY (:names::text[])
   OR EXISTS (SELECT 1 FROM unnest(:texts::text[]) AS t (part) WHERE position(convert_to(t.part, 'UTF8') IN o.body) > 0)
UNION ALL
SELECT 'gateway.ocpi_booking', to_jsonb(b) - 'body' || jsonb_build_object('body', convert_from(b.body, 'UTF8'))
FROM gateway.ocpi_booking AS b WHERE b.session_id = ANY (:sessions::uuid[])
UNION ALL
SELECT 'gateway.ocpi_command', to_jsonb(c) FROM gateway.ocpi_command AS c
WHERE c.authorization_reference = ANY (:names::text[])
UNION ALL
SELECT 'gateway.ocpi_rejected_push', to_jsonb(j) - 'raw' || jsonb_build_object('raw', encode(j.raw, 'escape'))
FROM gateway.ocpi_rejected_push AS j
WHERE EXISTS (SELECT 1 FROM unnest(:texts::text[]) AS t (part) WHERE position(convert_to(t.part, 'UTF8') IN j.raw) > 0)
UNION ALL
SELECT 'gateway.contract_pool_event', to_jsonb(p) FROM gateway.contract_pool_event AS p
WHERE p.emaid = ANY (:emaids::text[])
UNION ALL
SELECT 'gateway.exception', to_jsonb(x) FROM gateway.exception AS x WHERE x.subject_id = ANY (:names::text[]);
