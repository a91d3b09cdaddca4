-- What others have seen after the point that the database was restored to.

-- name: list_unknown_payments
-- Of payments at the PSP, those that no session here has and that are no unbooked charge.
WITH known AS MATERIALIZED (
    SELECT k.foreign_id FROM gateway.session_lookup AS k
    WHERE k.kind = 'psp_payment' AND k.foreign_id = ANY(:psp_payments::text[])
)
SELECT given.psp_payment
FROM unnest(:psp_payments::text[]) AS given (psp_payment)
WHERE NOT EXISTS (SELECT 1 FROM known AS k WHERE k.foreign_id = given.psp_payment)
  AND NOT EXISTS (SELECT 1 FROM gateway.unbooked_charge AS u WHERE u.psp_payment = given.psp_payment)
ORDER BY given.psp_payment;

-- name: list_unknown_refunds
-- Of refunds at the PSP, those that no refund and no unbooked charge here has.
WITH known AS MATERIALIZED (SELECT r.psp_refund FROM gateway.refund AS r WHERE r.psp_refund = ANY(:psp_refunds::text[]))
SELECT given.psp_refund
FROM unnest(:psp_refunds::text[]) AS given (psp_refund)
WHERE NOT EXISTS (SELECT 1 FROM known AS r WHERE r.psp_refund = given.psp_refund)
  AND NOT EXISTS (SELECT 1 FROM gateway.unbooked_charge AS u WHERE u.psp_refund = given.psp_refund)
ORDER BY given.psp_refund;

-- name: list_requested_refunds
-- Of our refunds, those that are here.
SELECT id FROM gateway.refund WHERE id = ANY(:ids::uuid[]);

-- name: add_restored_hold$
-- The hold of a session that was just rebuilt: it is active again, and its CDR captures the hold. No row: something
-- else pays for it.
WITH opened AS (
    INSERT INTO gateway.payment_authorization (
        shard, id, session_id, party_id, authorization_method, funding, state, hold_minor, currency, payment_method, customer,
        psp_payment, capture_before, incrementable, max_capture_minor, created_at, updated_at)
    SELECT s.shard, :authorization_id::uuid, s.id, s.demand_partner_id, :authorization_method::text, 'psp', 'authorized',
           :hold_minor::bigint, s.currency, :payment_method::text, :customer::text, :psp_payment::text,
           :capture_before::timestamptz, :incrementable::boolean, :max_capture_minor::bigint, :created_at::timestamptz,
           :now::timestamptz
    FROM gateway.session AS s
    WHERE s.shard = :shard::smallint AND s.id = :session_id::uuid AND s.state = 'cancelled' AND s.currency = :currency::char(3)
    ON CONFLICT DO NOTHING
    RETURNING shard, session_id
)
UPDATE gateway.session AS s SET state = 'active', updated_at = :now::timestamptz
FROM opened WHERE s.shard = opened.shard AND s.id = opened.session_id
RETURNING true;

-- name: list_parties
SELECT id FROM gateway.party ORDER BY id;

-- name: count_open_requests$
SELECT count(*) FROM gateway.psp_request WHERE state IN ('intended', 'unknown');

-- name: add_restore_check!
INSERT INTO gateway.restore_check (restored_to, checked_at, steps) VALUES (:restored_to, :checked_at, :steps);

-- name: is_first_check$
-- Whether no run for this point was recorded yet.
SELECT NOT EXISTS (SELECT 1 FROM gateway.restore_check WHERE restored_to = :restored_to);
