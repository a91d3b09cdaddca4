-- Checks whose result must be empty: each row is a finding. Those of sessions are views, which the daily audit reads too.

-- name: capture_above_price
SELECT shard, session_id FROM gateway.check_capture_above_price;

-- name: capture_without_authorization
SELECT shard, session_id FROM gateway.check_capture_without_authorization;

-- name: captured_without_capture
SELECT shard, session_id FROM gateway.check_captured_without_capture;

-- name: uncleared_capture
SELECT shard, session_id FROM gateway.check_uncleared_capture;

-- name: uncaptured_price
SELECT shard, session_id FROM gateway.check_uncaptured_price;

-- name: account_differences
-- Funded accounts whose figures are not those of their fundings, captures and active holds: of all, or the one that is
-- asked for. Each side is summed by itself: accounts and fundings lie on the coordinator of a distributed database.
WITH account AS MATERIALIZED (
    SELECT p.party_id, p.currency, p.balance_minor, p.held_minor,
           (SELECT coalesce(sum(f.amount_minor), 0)::bigint FROM gateway.partner_funding AS f
            WHERE f.party_id = p.party_id AND f.currency = p.currency AND f.reversed_at IS NULL) AS funded
    FROM gateway.partner_account AS p
    WHERE (:party_id::text IS NULL OR p.party_id = :party_id::text)
      AND (:currency::text IS NULL OR p.currency = :currency::text)
), captured AS MATERIALIZED (
    SELECT a.account_party_id AS party_id, a.currency, sum(c.amount_minor - c.refunded_minor)::bigint AS minor
    FROM gateway.payment_authorization AS a
    JOIN gateway.capture AS c ON c.shard = a.shard AND c.session_id = a.session_id AND c.authorization_id = a.id
    WHERE a.account_party_id IN (SELECT p.party_id FROM account AS p) AND c.state = 'succeeded'
    GROUP BY a.account_party_id, a.currency
), held AS MATERIALIZED (
    SELECT a.account_party_id AS party_id, a.currency, sum(a.hold_minor)::bigint AS minor
    FROM gateway.payment_authorization AS a
    WHERE a.account_party_id IN (SELECT p.party_id FROM account AS p) AND a.state = 'authorized'
    GROUP BY a.account_party_id, a.currency
)
SELECT p.party_id, p.currency, p.balance_minor, p.held_minor,
       p.funded - coalesce(c.minor, 0) AS balance_due, coalesce(h.minor, 0) AS held_due
FROM account AS p
LEFT JOIN captured AS c ON c.party_id = p.party_id AND c.currency = p.currency
LEFT JOIN held AS h ON h.party_id = p.party_id AND h.currency = p.currency
WHERE p.balance_minor <> p.funded - coalesce(c.minor, 0) OR p.held_minor <> coalesce(h.minor, 0);

-- name: cleared_totals
-- Captured and cleared, less what was refunded or disputed and posted as such, per currency, as the gateway has it.
-- A correction whose task is still open is in neither figure, nor is what clearing left out of a capture.
WITH open_correction AS (
    SELECT shard, payload ->> 'kind' AS kind, payload ->> 'id' AS id FROM gateway.task WHERE kind = 'book_correction'
), movement AS (
    SELECT c.currency, c.amount_minor - c.uncleared_minor AS minor
    FROM gateway.capture AS c
    JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id
    WHERE c.state = 'succeeded' AND s.state = 'cleared'
    UNION ALL
    SELECT r.currency, r.unposted_minor - r.amount_minor
    FROM gateway.refund AS r
    WHERE r.state <> 'requested' AND (r.psp_refund IS NOT NULL OR r.state = 'succeeded') AND NOT EXISTS (
        SELECT 1 FROM open_correction AS o WHERE o.shard = r.shard AND o.id = r.id::text AND o.kind = 'refund')
    UNION ALL  -- returned by the card's bank
    SELECT r.currency, r.amount_minor - r.unposted_minor
    FROM gateway.refund AS r
    WHERE r.state = 'failed' AND r.psp_refund IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM open_correction AS o WHERE o.shard = r.shard AND o.id = r.id::text AND o.kind = 'refund_failed')
    UNION ALL
    SELECT d.currency, -d.withdrawn_minor
    FROM gateway.dispute AS d
    WHERE NOT EXISTS (
        SELECT 1 FROM open_correction AS o
        WHERE o.shard = d.shard AND o.id = d.id::text AND o.kind = 'dispute_opened')
    UNION ALL
    SELECT d.currency, d.withdrawn_minor
    FROM gateway.dispute AS d
    WHERE d.state = 'won' AND NOT EXISTS (
        SELECT 1 FROM open_correction AS o
        WHERE o.shard = d.shard AND o.id = d.id::text AND o.kind = 'dispute_won')
)
SELECT currency, sum(minor)::bigint AS minor, count(*) AS movements FROM movement GROUP BY currency;

-- name: psp_totals
-- Captured at the PSP, per currency, as the gateway has it.
SELECT c.currency, sum(c.amount_minor)::bigint AS minor, sum(c.refunded_minor)::bigint AS refunded
FROM gateway.capture AS c
JOIN gateway.payment_authorization AS a ON a.shard = c.shard AND a.id = c.authorization_id
WHERE c.state = 'succeeded' AND a.funding = 'psp'
GROUP BY c.currency;

-- name: under_way
-- Amounts that have begun and are not in every book yet, by currency: asked of the PSP without an answer, captured and
-- not cleared, refunds and disputes that the ledger does not have yet.
WITH request AS (
    SELECT a.currency, sum(r.amount_minor) FILTER (WHERE r.kind IN ('capture', 'residual_charge')) AS captures,
           sum(r.amount_minor) FILTER (WHERE r.kind = 'refund') AS refunds
    FROM gateway.psp_request AS r
    JOIN gateway.payment_authorization AS a ON a.shard = r.shard AND a.id = r.authorization_id
    WHERE r.state IN ('intended', 'unknown')
    GROUP BY a.currency
), uncleared AS (
    SELECT c.currency, sum(c.amount_minor) AS minor
    FROM gateway.capture AS c
    JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id
    JOIN gateway.payment_authorization AS a ON a.shard = c.shard AND a.id = c.authorization_id
    WHERE c.state = 'succeeded' AND a.funding = 'psp' AND s.state <> 'cleared'
    GROUP BY c.currency
), uncleared_fee AS (
    SELECT c.fee_currency AS currency, sum(c.fee_minor) AS minor
    FROM gateway.capture AS c
    JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id
    JOIN gateway.payment_authorization AS a ON a.shard = c.shard AND a.id = c.authorization_id
    WHERE c.state = 'succeeded' AND a.funding = 'psp' AND s.state <> 'cleared' AND c.fee_currency IS NOT NULL
    GROUP BY c.fee_currency
), correction AS (
    SELECT r.currency, r.amount_minor AS minor
    FROM gateway.task AS t JOIN gateway.refund AS r ON r.shard = t.shard AND r.id::text = t.payload ->> 'id'
    WHERE t.kind = 'book_correction'
    UNION ALL
    SELECT d.currency, d.withdrawn_minor
    FROM gateway.task AS t JOIN gateway.dispute AS d ON d.shard = t.shard AND d.id::text = t.payload ->> 'id'
    WHERE t.kind = 'book_correction'
    UNION ALL
    SELECT d.fee_currency, d.fee_minor
    FROM gateway.task AS t JOIN gateway.dispute AS d ON d.shard = t.shard AND d.id::text = t.payload ->> 'id'
    WHERE t.kind = 'book_correction' AND d.fee_currency IS NOT NULL
), part AS (
    SELECT currency, coalesce(captures, 0) AS captures, coalesce(refunds, 0) AS refunds, 0 AS uncleared, 0 AS uncleared_fees,
           0 AS corrections, 0 AS top_ups FROM request
    UNION ALL SELECT currency, 0, 0, minor, 0, 0, 0 FROM uncleared
    UNION ALL SELECT currency, 0, 0, 0, minor, 0, 0 FROM uncleared_fee
    UNION ALL SELECT currency, 0, 0, 0, 0, minor, 0 FROM correction
    -- Money of no session that is being refunded, and what the PSP may have received since it was asked last.
    UNION ALL SELECT currency, 0, amount_minor - refunded_minor, 0, 0, 0, 0 FROM gateway.unbooked_charge
        WHERE state = 'refunding'
    UNION ALL SELECT currency, 0, 0, 0, 0, 0, amount_minor FROM gateway.top_up WHERE state IN ('requested', 'pending')
)
SELECT currency, sum(captures)::bigint AS captures, sum(refunds)::bigint AS refunds, sum(uncleared)::bigint AS uncleared,
       sum(uncleared_fees)::bigint AS uncleared_fees, sum(corrections)::bigint AS corrections,
       sum(top_ups)::bigint AS top_ups
FROM part GROUP BY currency;

-- name: open_work
-- Work that is still under way: open requests to the PSP, tasks left, what waits for a person.
SELECT (SELECT count(*) FROM gateway.psp_request WHERE state IN ('intended', 'unknown')) AS open_requests,
       (SELECT count(*) FROM gateway.task WHERE exception_at IS NULL) AS open_tasks,
       (SELECT count(*) FROM gateway.task WHERE exception_at IS NOT NULL) AS exception_tasks,
       (SELECT count(*) FROM gateway.session WHERE exception_at IS NOT NULL) AS uncleared_sessions;
