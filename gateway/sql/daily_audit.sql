-- The daily audit of sessions: a page of them by their keys, by the same views as the whole audit.

-- name: sessions_in_shard
SELECT id FROM gateway.session WHERE shard = :shard AND id > :after ORDER BY id LIMIT :limit;

-- name: open_sessions
-- Those of a page that may still change.
SELECT s.id FROM unnest(:shards::smallint[], :ids::uuid[]) AS asked (shard, id)
JOIN gateway.session AS s ON s.shard = asked.shard AND s.id = asked.id
WHERE s.state IN ('active', 'completed', 'exception');

-- name: capture_above_price
SELECT c.session_id
FROM unnest(:shards::smallint[], :ids::uuid[]) AS asked (shard, id)
JOIN gateway.check_capture_above_price AS c ON c.shard = asked.shard AND c.session_id = asked.id;

-- name: capture_without_authorization
SELECT c.session_id
FROM unnest(:shards::smallint[], :ids::uuid[]) AS asked (shard, id)
JOIN gateway.check_capture_without_authorization AS c ON c.shard = asked.shard AND c.session_id = asked.id;

-- name: captured_without_capture
SELECT c.session_id
FROM unnest(:shards::smallint[], :ids::uuid[]) AS asked (shard, id)
JOIN gateway.check_captured_without_capture AS c ON c.shard = asked.shard AND c.session_id = asked.id;

-- name: uncleared_capture
SELECT c.session_id
FROM unnest(:shards::smallint[], :ids::uuid[]) AS asked (shard, id)
JOIN gateway.check_uncleared_capture AS c ON c.shard = asked.shard AND c.session_id = asked.id;

-- name: uncaptured_price
SELECT c.session_id
FROM unnest(:shards::smallint[], :ids::uuid[]) AS asked (shard, id)
JOIN gateway.check_uncaptured_price AS c ON c.shard = asked.shard AND c.session_id = asked.id;

-- name: cleared_of
-- Captured and cleared, less what was refunded or disputed and posted as such, by session: as `cleared_totals`.
WITH asked AS (
    SELECT shard, id FROM unnest(:shards::smallint[], :ids::uuid[]) AS page (shard, id)
), open_correction AS (
    SELECT t.shard, t.payload ->> 'kind' AS kind, t.payload ->> 'id' AS id
    FROM asked JOIN gateway.task AS t ON t.shard = asked.shard AND t.session_id = asked.id WHERE t.kind = 'book_correction'
), movement AS (
    SELECT c.session_id, c.currency, c.amount_minor - c.uncleared_minor AS minor
    FROM asked JOIN gateway.capture AS c ON c.shard = asked.shard AND c.session_id = asked.id
    JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id
    WHERE c.state = 'succeeded' AND s.state = 'cleared'
    UNION ALL
    SELECT r.session_id, r.currency, r.unposted_minor - r.amount_minor
    FROM asked JOIN gateway.refund AS r ON r.shard = asked.shard AND r.session_id = asked.id
    WHERE r.state <> 'requested' AND (r.psp_refund IS NOT NULL OR r.state = 'succeeded') AND NOT EXISTS (
        SELECT 1 FROM open_correction AS o WHERE o.shard = r.shard AND o.id = r.id::text AND o.kind = 'refund')
    UNION ALL  -- returned by the card's bank
    SELECT r.session_id, r.currency, r.amount_minor - r.unposted_minor
    FROM asked JOIN gateway.refund AS r ON r.shard = asked.shard AND r.session_id = asked.id
    WHERE r.state = 'failed' AND r.psp_refund IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM open_correction AS o WHERE o.shard = r.shard AND o.id = r.id::text AND o.kind = 'refund_failed')
    UNION ALL
    SELECT d.session_id, d.currency, -d.withdrawn_minor
    FROM asked JOIN gateway.dispute AS d ON d.shard = asked.shard AND d.session_id = asked.id
    WHERE NOT EXISTS (
        SELECT 1 FROM open_correction AS o WHERE o.shard = d.shard AND o.id = d.id::text AND o.kind = 'dispute_opened')
    UNION ALL
    SELECT d.session_id, d.currency, d.withdrawn_minor
    FROM asked JOIN gateway.dispute AS d ON d.shard = asked.shard AND d.session_id = asked.id
    WHERE d.state = 'won' AND NOT EXISTS (
        SELECT 1 FROM open_correction AS o WHERE o.shard = d.shard AND o.id = d.id::text AND o.kind = 'dispute_won')
)
SELECT session_id, currency, sum(minor)::bigint AS minor FROM movement GROUP BY session_id, currency;

-- name: accounts_of_share
-- The funded accounts that a run proves, and how many there are.
SELECT party_id, currency FROM gateway.partner_account
WHERE ((hashtext(party_id || ' ' || currency) % :shares::integer) + :shares::integer) % :shares::integer = :share::integer;

-- name: under_way
-- Amounts that have begun and are not in every book yet, by currency: as in audit.sql, each part found by its open work.
WITH request AS (
    SELECT a.currency, sum(r.amount_minor) FILTER (WHERE r.kind IN ('capture', 'residual_charge')) AS captures,
           sum(r.amount_minor) FILTER (WHERE r.kind = 'refund') AS refunds
    FROM gateway.psp_request AS r
    JOIN gateway.payment_authorization AS a ON a.shard = r.shard AND a.id = r.authorization_id
    WHERE r.state IN ('intended', 'unknown')
    GROUP BY a.currency
), waiting AS (
    SELECT shard, session_id FROM gateway.task WHERE kind IN ('clear_session', 'complete_session', 'capture_session', 'charge_residual')
    UNION SELECT shard, id FROM gateway.session WHERE exception_at IS NOT NULL
    UNION SELECT asked.shard, asked.id FROM unnest(:shards::smallint[], :ids::uuid[]) AS asked (shard, id)
), uncleared AS (
    SELECT c.currency, c.amount_minor, c.fee_currency, c.fee_minor
    FROM waiting AS w
    JOIN gateway.session AS s ON s.shard = w.shard AND s.id = w.session_id
    JOIN gateway.capture AS c ON c.shard = s.shard AND c.session_id = s.id
    JOIN gateway.payment_authorization AS a ON a.shard = c.shard AND a.id = c.authorization_id
    WHERE c.state = 'succeeded' AND a.funding = 'psp' AND s.state <> 'cleared'
), correction AS (
    SELECT r.currency, r.amount_minor AS minor
    FROM gateway.task AS t JOIN gateway.refund AS r ON r.shard = t.shard AND r.id::text = t.payload ->> 'id'
        AND r.session_id = t.session_id
    WHERE t.kind = 'book_correction'
    UNION ALL
    SELECT d.currency, d.withdrawn_minor
    FROM gateway.task AS t JOIN gateway.dispute AS d ON d.shard = t.shard AND d.id::text = t.payload ->> 'id'
        AND d.session_id = t.session_id
    WHERE t.kind = 'book_correction'
    UNION ALL
    SELECT d.fee_currency, d.fee_minor
    FROM gateway.task AS t JOIN gateway.dispute AS d ON d.shard = t.shard AND d.id::text = t.payload ->> 'id'
        AND d.session_id = t.session_id
    WHERE t.kind = 'book_correction' AND d.fee_currency IS NOT NULL
), part AS (
    SELECT currency, coalesce(captures, 0) AS captures, coalesce(refunds, 0) AS refunds, 0 AS uncleared, 0 AS uncleared_fees,
           0 AS corrections, 0 AS top_ups FROM request
    UNION ALL SELECT currency, 0, 0, amount_minor, 0, 0, 0 FROM uncleared
    UNION ALL SELECT fee_currency, 0, 0, 0, fee_minor, 0, 0 FROM uncleared WHERE fee_currency IS NOT NULL
    UNION ALL SELECT currency, 0, 0, 0, 0, minor, 0 FROM correction
    UNION ALL SELECT currency, 0, amount_minor - refunded_minor, 0, 0, 0, 0 FROM gateway.unbooked_charge
        WHERE state = 'refunding'
    UNION ALL SELECT currency, 0, 0, 0, 0, 0, amount_minor FROM gateway.top_up WHERE state IN ('requested', 'pending')
)
SELECT currency, sum(captures)::bigint AS captures, sum(refunds)::bigint AS refunds, sum(uncleared)::bigint AS uncleared,
       sum(uncleared_fees)::bigint AS uncleared_fees, sum(corrections)::bigint AS corrections,
       sum(top_ups)::bigint AS top_ups
FROM part GROUP BY currency;
