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
    INSERT INTO gateway.top_up (subject, id, currency, amount_minor, requested_at)
    VALUES (:subject::text, :id::uuid, :currency::char(3), :amount_minor::bigint, :wall_now::timestamptz)
    ON CONFLICT DO NOTHING  -- of the subject or of the id that follows from it, whichever another request has first
    RETURNING id, currency, amount_minor, requested_at, psp_object
)
SELECT * FROM first
UNION ALL
SELECT id, currency, amount_minor, requested_at, psp_object FROM gateway.top_up
WHERE subject = :subject::text AND NOT EXISTS (SELECT 1 FROM first);

-- name: renew_top_up_key!
-- The PSP has no such top-up: it is requested again, and its key's lifetime begins now.
UPDATE gateway.top_up SET requested_at = :wall_now WHERE subject = :subject AND psp_object IS NULL AND requested_at = :requested_at;

-- name: record_top_up!
UPDATE gateway.top_up SET psp_object = :psp_object WHERE subject = :subject AND psp_object IS NULL;

-- name: load_funding^
-- What a reference of a party's funding refers to.
SELECT currency, amount_minor FROM gateway.partner_funding WHERE party_id = :party_id AND reference = :reference;

-- name: set_credit_limit!
INSERT INTO gateway.partner_account (party_id, currency, credit_limit_minor)
VALUES (:party_id, :currency, :credit_limit_minor)
ON CONFLICT (party_id, currency) DO UPDATE SET credit_limit_minor = excluded.credit_limit_minor;

-- name: load_account^
SELECT * FROM gateway.partner_account WHERE party_id = :party_id AND currency = :currency;
