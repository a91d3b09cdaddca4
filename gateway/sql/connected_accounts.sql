-- Connected accounts at the PSP.

-- name: add_account^
-- The account of a party, before what the PSP says of it is recorded; a party has one.
INSERT INTO gateway.connected_account (party_id, id, psp_account, created_at, updated_at)
VALUES (:party_id::text, :id::uuid, :psp_account::text, :now::timestamptz, :now::timestamptz)
ON CONFLICT (party_id) DO UPDATE SET party_id = excluded.party_id
RETURNING *;

-- name: find_account^
SELECT * FROM gateway.connected_account WHERE party_id = :party_id::text;

-- name: lock_account^
SELECT * FROM gateway.connected_account WHERE party_id = :party_id::text FOR UPDATE;

-- name: lock_psp_account$
-- One party at a time is given an account of the PSP.
SELECT pg_advisory_xact_lock(hashtextextended('gateway.connected_account ' || :psp_account::text, 0));

-- name: accounts_named
SELECT * FROM gateway.connected_account WHERE psp_account = :psp_account::text ORDER BY party_id;

-- name: accounts_of
SELECT * FROM gateway.connected_account WHERE party_id = ANY(:parties::text[]);

-- name: list_accounts
SELECT * FROM gateway.connected_account
WHERE version > 0 AND party_id > :after::text
  AND (:payable::boolean IS NULL OR (transfers = 'active') = :payable::boolean)
ORDER BY party_id
LIMIT :row_limit::int;

-- name: accounts_to_read
-- Accounts whose last answer is old, the oldest first: what can't be paid sooner than what can.
SELECT party_id FROM gateway.connected_account
WHERE (read_at IS NULL OR read_at < CASE WHEN transfers = 'active' THEN :active_before::timestamptz ELSE :other_before::timestamptz END)
ORDER BY read_at NULLS FIRST
LIMIT :row_limit::int;

-- name: record_account^
-- What the PSP says of an account. The caller holds its lock.
UPDATE gateway.connected_account
SET psp_account = :psp_account::text, transfers = :transfers::text, payouts_enabled = :payouts_enabled::boolean,
    details_submitted = :details_submitted::boolean, country = :country::text, currency = :currency::text,
    disabled_reason = :disabled_reason::text, requirements = :requirements::text[],
    requirements_due = :requirements_due::timestamptz, version = version + 1, updated_at = :now::timestamptz,
    read_at = :read_at::timestamptz
WHERE party_id = :party_id::text
RETURNING *;

-- name: confirm_account!
-- The PSP has said the same again.
UPDATE gateway.connected_account SET read_at = :read_at::timestamptz WHERE party_id = :party_id::text;
