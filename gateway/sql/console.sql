-- What the console reads beside the API's lists: the events of a session's objects, and figures by time.

-- name: list_events_of
SELECT e.id, e.party_id, e.type, e.object_id, coalesce(e.data, o.data, '{}') AS data, e.created_at
FROM gateway.event e LEFT JOIN gateway.event o ON o.shard = :shard AND o.id = e.data_of
WHERE e.shard = :shard AND e.object_id = ANY (:object_ids::text[])
  AND (:party_id::text IS NULL OR e.party_id = :party_id)
ORDER BY e.id LIMIT :limit;

-- name: list_deliveries_of
SELECT d.event_id, d.endpoint_id, d.state, d.attempts, d.last_status, d.last_error, d.last_attempt_at, d.delivered_at,
       w.url, w.party_id
FROM gateway.event e JOIN gateway.webhook_endpoint w ON w.party_id = e.party_id
JOIN gateway.delivery d ON d.shard = :shard AND d.endpoint_id = w.id AND d.event_id = e.id
WHERE e.shard = :shard AND e.id = ANY (:event_ids::uuid[])
ORDER BY d.event_id, d.endpoint_id LIMIT :limit;

-- name: dispute_ids_of
SELECT id FROM gateway.dispute WHERE shard = :shard AND session_id = :session_id ORDER BY id LIMIT :limit;

-- name: authorizations_of
-- Of one party, which pays for its drivers; its operator does not see who pays how.
SELECT id, state, hold_minor, currency, decline_code, created_at, updated_at FROM gateway.payment_authorization
WHERE shard = :shard AND session_id = :session_id AND (:party_id::text IS NULL OR party_id = :party_id)
ORDER BY id LIMIT :limit;

-- name: checked_usage_of
-- What checks of CDRs did not let through.
SELECT id, cdr_id, state, reasons, received_at, updated_at FROM gateway.stated_usage
WHERE shard = :shard AND session_id = :session_id ORDER BY received_at, id LIMIT :limit;

-- name: exception_at_of$
-- Since when a session is an exception; null: it is none.
SELECT exception_at FROM gateway.session WHERE shard = :shard AND id = :session_id;

-- name: time_zones_of
SELECT s.id, s.time_zone FROM unnest(:shards::smallint[], :ids::uuid[]) AS asked (shard, id)
JOIN gateway.session AS s ON s.shard = asked.shard AND s.id = asked.id  -- shards of s
;

-- name: captured
SELECT c.currency, count(*) AS payments, sum(c.amount_minor)::bigint AS amount_minor
FROM gateway.capture c JOIN gateway.session s ON s.shard = c.shard AND s.id = c.session_id
WHERE c.state = 'succeeded' AND c.captured_at >= :since AND c.captured_at < :until
  AND (:party_id::text IS NULL OR :party_id IN (s.demand_partner_id, s.cpo_id))
GROUP BY c.currency ORDER BY amount_minor DESC;

-- name: captured_by_bucket
SELECT date_bin(:width::interval, c.captured_at, :since) AS bucket, c.currency,
       sum(c.amount_minor)::bigint AS amount_minor
FROM gateway.capture c JOIN gateway.session s ON s.shard = c.shard AND s.id = c.session_id
WHERE c.state = 'succeeded' AND c.captured_at >= :since AND c.captured_at < :until
  AND (:party_id::text IS NULL OR :party_id IN (s.demand_partner_id, s.cpo_id))
GROUP BY bucket, c.currency ORDER BY bucket;

-- name: declined
SELECT coalesce(a.decline_code, 'failed') AS code, count(*) AS payments
FROM gateway.payment_authorization a JOIN gateway.session s ON s.shard = a.shard AND s.id = a.session_id
WHERE a.state = 'failed' AND a.created_at >= :since AND a.created_at < :until
  AND (:party_id::text IS NULL OR :party_id IN (s.demand_partner_id, s.cpo_id))
GROUP BY code ORDER BY payments DESC, code;

-- name: refunded
SELECT r.currency, count(*) AS payments, sum(r.amount_minor)::bigint AS amount_minor
FROM gateway.refund r JOIN gateway.session s ON s.shard = r.shard AND s.id = r.session_id
WHERE r.state = 'succeeded' AND r.finished_at >= :since AND r.finished_at < :until
  AND (:party_id::text IS NULL OR :party_id IN (s.demand_partner_id, s.cpo_id))
GROUP BY r.currency ORDER BY amount_minor DESC;

-- name: last_captured_at$
SELECT max(c.captured_at)
FROM (SELECT s.shard, s.id FROM gateway.session s
      WHERE :party_id::text IS NULL OR :party_id IN (s.demand_partner_id, s.cpo_id)
      ORDER BY s.id DESC LIMIT :newest) AS s
JOIN gateway.capture c ON c.shard = s.shard AND c.session_id = s.id;
