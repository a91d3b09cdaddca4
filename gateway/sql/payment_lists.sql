-- Pages of sessions, authorizations and captures, newest first. A filter that is null leaves its field open.

-- name: plan_each!
-- Until the transaction ends each page is planned with its own filters, so that the index of a rare value is used.
SET LOCAL plan_cache_mode = 'force_custom_plan';

-- name: list_sessions
-- Each session with the authorization that counts for it and its capture: the columns of each, one after another.
WITH wanted AS MATERIALIZED (
    SELECT s.* FROM gateway.session AS s
    WHERE (:party_id::text IS NULL OR s.demand_partner_id = :party_id::text OR s.cpo_id = :party_id::text)
      AND (:state::text IS NULL OR s.state = :state::text)
      AND (:session_ref::text IS NULL OR s.session_ref = :session_ref::text)
      AND (:evse_id::text IS NULL OR upper(s.evse_id) = upper(:evse_id::text))
      AND (:created_from::timestamptz IS NULL OR s.created_at >= :created_from::timestamptz)
      AND (:created_before::timestamptz IS NULL OR s.created_at < :created_before::timestamptz)
      AND (:amount_min::bigint IS NULL OR s.price_minor >= :amount_min::bigint)
      AND (:amount_max::bigint IS NULL OR s.price_minor <= :amount_max::bigint)
      AND (:currency::text IS NULL OR s.currency = :currency::text)
      AND (:decline_code::text IS NULL OR (s.shard, s.id) IN (
          SELECT d.shard, d.session_id FROM gateway.payment_authorization AS d WHERE d.decline_code = :decline_code::text))
      AND (:metadata::jsonb = '{}' OR (s.metadata <> '{}' AND s.metadata @> :metadata::jsonb))
      -- They are the demand partner's: its CPO neither sees them nor finds by them.
      AND (:metadata::jsonb = '{}' OR :party_id::text IS NULL OR s.demand_partner_id = :party_id::text)
      AND (:before::uuid IS NULL OR s.id < :before::uuid)
    ORDER BY s.id DESC
    LIMIT :row_limit::int
), counting AS MATERIALIZED (
    SELECT DISTINCT ON (x.shard, x.session_id) x.*
    FROM wanted AS w JOIN gateway.payment_authorization AS x ON x.shard = w.shard AND x.session_id = w.id
    ORDER BY x.shard, x.session_id, (x.state NOT IN ('voided', 'failed')) DESC, x.id DESC
), captured AS MATERIALIZED (
    SELECT x.* FROM wanted AS w JOIN gateway.capture AS x ON x.shard = w.shard AND x.session_id = w.id
)
SELECT w.*, a.*, c.* FROM wanted AS w
LEFT JOIN counting AS a ON a.shard = w.shard AND a.session_id = w.id
LEFT JOIN captured AS c ON c.shard = w.shard AND c.session_id = w.id
ORDER BY w.id DESC;

-- name: list_authorizations
-- Each authorization with its session: the columns of each, one after another.
SELECT a.*, s.* FROM gateway.payment_authorization AS a
JOIN gateway.session AS s ON s.shard = a.shard AND s.id = a.session_id
WHERE (:party_id::text IS NULL OR a.party_id = :party_id::text)
  AND (:state::text IS NULL OR a.state = :state::text)
  AND (:method::text IS NULL OR a.authorization_method = :method::text)
  AND (:evse_id::text IS NULL OR upper(s.evse_id) = upper(:evse_id::text))
  AND (:created_from::timestamptz IS NULL OR a.created_at >= :created_from::timestamptz)
  AND (:created_before::timestamptz IS NULL OR a.created_at < :created_before::timestamptz)
  AND (:amount_min::bigint IS NULL OR a.hold_minor >= :amount_min::bigint)
  AND (:amount_max::bigint IS NULL OR a.hold_minor <= :amount_max::bigint)
  AND (:currency::text IS NULL OR a.currency = :currency::text)
  AND (:decline_code::text IS NULL OR a.decline_code = :decline_code::text)
  AND (:metadata::jsonb = '{}' OR (s.metadata <> '{}' AND s.metadata @> :metadata::jsonb))
  AND (:before::uuid IS NULL OR a.id < :before::uuid)
ORDER BY a.id DESC
LIMIT :row_limit::int;

-- name: list_captures
SELECT c.* FROM gateway.capture AS c
JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id
WHERE (:party_id::text IS NULL OR s.demand_partner_id = :party_id::text OR s.cpo_id = :party_id::text)
  AND (:before::uuid IS NULL OR c.id < :before::uuid)
ORDER BY c.id DESC
LIMIT :row_limit::int;
