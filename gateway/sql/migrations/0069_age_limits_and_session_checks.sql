-- Age limits of exceptions that differ from the defaults in gateway/exceptions/due.py; the checks of sessions as views.

-- From when an exception of a kind is overdue, hours after its cause arose; a kind without a row has its default.
CREATE TABLE gateway.exception_age_limit (
    kind   text        PRIMARY KEY,
    hours  integer     NOT NULL CHECK (hours BETWEEN 1 AND 8760),
    set_by text        NOT NULL CHECK (set_by <> ''),
    set_at timestamptz NOT NULL
);

-- The checks of sessions, each in one place: the whole audit and the daily one read the same view, so that a rule is
-- changed for both. A view names the shard and the session of each finding; it must be empty.

-- Captured, and neither the price nor what is left of it after a correction.
CREATE VIEW gateway.check_capture_above_price AS
SELECT c.shard, c.session_id
FROM gateway.capture AS c
JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id
WHERE c.state = 'succeeded'
  AND CASE WHEN 'corrected' = ANY (s.flags)
      THEN c.amount_minor - c.refunded_minor - c.disputed_minor > s.price_minor
      -- Captured by hand at the PSP, above the price, and what is above it was refunded before it was cleared.
      WHEN c.uncleared_minor > 0 AND EXISTS (
          SELECT 1 FROM gateway.unbooked_charge AS u
          WHERE u.shard = c.shard AND u.session_id = c.session_id AND u.psp_charge = c.psp_charge)
      THEN c.amount_minor - c.refunded_minor - c.disputed_minor > s.price_minor
      ELSE c.amount_minor + c.receivable_minor <> s.price_minor END;

-- A capture that succeeded without a captured authorization, or the other way round.
CREATE VIEW gateway.check_capture_without_authorization AS
SELECT c.shard, c.session_id
FROM gateway.capture AS c
JOIN gateway.payment_authorization AS a ON a.shard = c.shard AND a.id = c.authorization_id
WHERE (c.state = 'succeeded') <> (a.state = 'captured');

-- A captured authorization whose session has no capture that succeeded.
CREATE VIEW gateway.check_captured_without_capture AS
SELECT a.shard, a.session_id
FROM gateway.payment_authorization AS a
LEFT JOIN gateway.capture AS c ON c.shard = a.shard AND c.session_id = a.session_id AND c.state = 'succeeded'
WHERE a.state = 'captured' AND c.session_id IS NULL;

-- Captured, neither cleared nor an exception, and no task left to clear it.
CREATE VIEW gateway.check_uncleared_capture AS
SELECT c.shard, c.session_id
FROM gateway.capture AS c
JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id
LEFT JOIN gateway.task AS t ON t.shard = c.shard AND t.session_id = c.session_id AND t.kind = 'clear_session'
WHERE c.state = 'succeeded' AND s.state = 'completed' AND t.id IS NULL;

-- Completed at a price, nothing captured, no exception, and neither a task nor an open request left for it.
CREATE VIEW gateway.check_uncaptured_price AS
SELECT s.shard, s.id AS session_id
FROM gateway.session AS s
WHERE s.state = 'completed' AND s.price_minor > 0
  AND NOT EXISTS (
      SELECT 1 FROM gateway.capture AS c WHERE c.shard = s.shard AND c.session_id = s.id AND c.state = 'succeeded')
  AND NOT EXISTS (
      SELECT 1 FROM gateway.task AS t WHERE t.shard = s.shard AND t.session_id = s.id AND t.kind = 'capture_session')
  AND NOT EXISTS (
      SELECT 1 FROM gateway.psp_request AS k
      WHERE k.shard = s.shard AND k.session_id = s.id AND k.state IN ('intended', 'unknown'));

-- A funded account whose figures are not those of its fundings, captures and active holds.
CREATE VIEW gateway.check_account AS
SELECT p.party_id, p.currency, p.balance_minor, p.held_minor,
       f.funded - k.captured AS balance_due, h.held AS held_due
FROM gateway.partner_account AS p
CROSS JOIN LATERAL (
    SELECT coalesce(sum(amount_minor), 0)::bigint AS funded FROM gateway.partner_funding
    WHERE party_id = p.party_id AND currency = p.currency AND reversed_at IS NULL
) AS f
CROSS JOIN LATERAL (
    SELECT coalesce(sum(c.amount_minor - c.refunded_minor), 0)::bigint AS captured
    FROM gateway.payment_authorization AS a
    JOIN gateway.capture AS c ON c.shard = a.shard AND c.session_id = a.session_id AND c.authorization_id = a.id
    WHERE a.account_party_id = p.party_id AND a.currency = p.currency AND c.state = 'succeeded'
) AS k
CROSS JOIN LATERAL (
    SELECT coalesce(sum(a.hold_minor), 0)::bigint AS held FROM gateway.payment_authorization AS a
    WHERE a.account_party_id = p.party_id AND a.currency = p.currency AND a.state = 'authorized'
) AS h
WHERE p.balance_minor <> f.funded - k.captured OR p.held_minor <> h.held;
