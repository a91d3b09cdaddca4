-- Money brought in ahead of captures: funded accounts of partners, top-ups of the PSP balance.

-- name: fund_account$
-- Money was received for a partner's account: once per reference.
WITH recorded AS (
    INSERT INTO gateway.partner_funding (id, party_id, currency, amount_minor, reference, psp_object, created_at)
    VALUES (:id::uuid, :party_id::text, :currency::char(3), :amount_minor::bigint, :reference::text,
            :psp_object::text, :now::timestamptz)
    ON CONFLICT (party_id, reference) DO NOTHING
    RETURNING party_id, currency, amount_minor
)
INSERT INTO gateway.partner_account (party_id, currency, balance_minor)
SELECT party_id, currency, amount_minor FROM recorded
ON CONFLICT (party_id, currency) DO UPDATE
SET balance_minor = partner_account.balance_minor + excluded.balance_minor
RETURNING true;

-- name: request_top_up^
-- What a reference refers to, committed before the request is sent: the first caller's figures count for later ones.
WITH first AS (
    INSERT INTO gateway.top_up (
        subject, id, currency, amount_minor, requested_at, party_id, reference, funding_id, state, updated_at)
    VALUES (:subject::text, :id::uuid, :currency::char(3), :amount_minor::bigint, :wall_now::timestamptz, :party_id::text,
            :reference::text, :funding_id::uuid, 'requested', :now::timestamptz)
    ON CONFLICT DO NOTHING  -- of the subject or of the id that follows from it, whichever another request has first
    RETURNING *
)
SELECT * FROM first
UNION ALL
SELECT * FROM gateway.top_up
WHERE subject = :subject::text AND NOT EXISTS (SELECT 1 FROM first);

-- name: renew_top_up_key!
-- The PSP has no such top-up: it is requested again, and its key's lifetime begins now.
UPDATE gateway.top_up SET requested_at = :wall_now WHERE subject = :subject AND psp_object IS NULL AND requested_at = :requested_at;

-- name: withdraw_top_up!
-- The PSP has refused it, and its caller knows: it must not be sent again, and nothing is on its way.
DELETE FROM gateway.top_up WHERE subject = :subject AND state = 'requested';

-- name: record_top_up!
-- The PSP has the top-up, which is on its way.
UPDATE gateway.top_up SET psp_object = :psp_object, state = 'pending', checked_at = :wall_now, updated_at = :now
WHERE subject = :subject AND state = 'requested';

-- name: touch_top_up!
UPDATE gateway.top_up SET checked_at = :wall_now WHERE subject = :subject;

-- name: move_top_up^
-- Once, whoever reads the PSP's answer: the row, or none where it was in none of these states.
UPDATE gateway.top_up
SET state = :state::text, failure_code = :failure_code::text, checked_at = :wall_now::timestamptz, updated_at = :now::timestamptz
WHERE subject = :subject::text AND state = ANY(:from_states::text[])
RETURNING *;

-- name: record_overdrawn!
UPDATE gateway.top_up SET overdrawn_minor = :overdrawn_minor WHERE subject = :subject;

-- name: load_top_up^
SELECT * FROM gateway.top_up WHERE id = :id;

-- name: top_up_of_object^
SELECT * FROM gateway.top_up WHERE psp_object = :psp_object;

-- name: list_waiting_top_ups
-- Not answered or on their way, those that were not looked at for the longest time first.
SELECT * FROM gateway.top_up
WHERE state IN ('requested', 'pending') AND coalesce(checked_at, requested_at) <= :checked_before
ORDER BY checked_at NULLS FIRST LIMIT :row_limit;

-- name: list_top_ups
SELECT * FROM gateway.top_up
WHERE (:state::text IS NULL OR state = :state::text) AND (:before::uuid IS NULL OR (requested_at, id) < (
    SELECT b.requested_at, b.id FROM gateway.top_up AS b WHERE b.id = :before::uuid))
ORDER BY requested_at DESC, id DESC LIMIT :row_limit::int;

-- name: open_account!
INSERT INTO gateway.partner_account (party_id, currency) VALUES (:party_id, :currency) ON CONFLICT DO NOTHING;

-- name: take_funding_back$
-- The bank took a partner's funding back. What the partner has spent of it meanwhile is what its credit limit has to be
-- from now on: nothing more can be held. Returns by how much the limit was raised; no row: it was taken back before.
WITH reversed AS (
    UPDATE gateway.partner_funding SET reversed_at = :now::timestamptz
    WHERE party_id = :party_id::text AND reference = :reference::text AND reversed_at IS NULL
    RETURNING party_id, currency, amount_minor
), before AS (
    SELECT p.party_id, p.currency, p.credit_limit_minor, r.amount_minor,
           greatest(0, r.amount_minor + p.held_minor - p.balance_minor - p.credit_limit_minor) AS missing_minor
    FROM gateway.partner_account AS p JOIN reversed AS r ON r.party_id = p.party_id AND r.currency = p.currency
    FOR UPDATE OF p
)
UPDATE gateway.partner_account AS p
SET balance_minor = p.balance_minor - before.amount_minor,
    credit_limit_minor = p.credit_limit_minor + before.missing_minor
FROM before WHERE p.party_id = before.party_id AND p.currency = before.currency
RETURNING before.missing_minor;

-- name: load_funding^
-- What a reference of a party's funding refers to.
SELECT currency, amount_minor FROM gateway.partner_funding WHERE party_id = :party_id AND reference = :reference;

-- name: set_credit_limit!
INSERT INTO gateway.partner_account (party_id, currency, credit_limit_minor)
VALUES (:party_id, :currency, :credit_limit_minor)
ON CONFLICT (party_id, currency) DO UPDATE SET credit_limit_minor = excluded.credit_limit_minor;

-- name: load_account^
SELECT p.*, (
    SELECT coalesce(sum(t.amount_minor), 0)::bigint FROM gateway.top_up AS t
    WHERE t.party_id = p.party_id AND t.currency = p.currency AND t.state IN ('requested', 'pending')) AS pending_minor
FROM gateway.partner_account AS p WHERE p.party_id = :party_id AND p.currency = :currency;
