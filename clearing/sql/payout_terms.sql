-- Payout terms, dated holds and bank details.

-- name: terms
SELECT party_id, cadence, cadence_day, reserve_bps, reserve_days, approval_above_minor, instant_up_to_minor, deregistered_on
FROM clearing.payout_terms;

-- name: open_holds
SELECT party_id, reason, since, until, rail, cause FROM clearing.payout_hold WHERE lifted_at IS NULL ORDER BY since, id;

-- name: current_details
SELECT party_id, version, name, iban, bic, street, building, post_code, town, country, reference, state
FROM clearing.bank_details WHERE state IN ('pending', 'approved');

-- name: put_terms!
INSERT INTO clearing.payout_terms (party_id, cadence, cadence_day, reserve_bps, reserve_days, approval_above_minor,
    instant_up_to_minor, deregistered_on, updated_at, updated_by)
VALUES (:party_id, :cadence, :cadence_day, :reserve_bps, :reserve_days, :approval_above_minor, :instant_up_to_minor, :deregistered_on, :now, :by)
ON CONFLICT (party_id) DO UPDATE SET cadence = excluded.cadence, cadence_day = excluded.cadence_day,
    reserve_bps = excluded.reserve_bps, reserve_days = excluded.reserve_days,
    approval_above_minor = excluded.approval_above_minor,
    instant_up_to_minor = excluded.instant_up_to_minor, deregistered_on = excluded.deregistered_on,
    updated_at = excluded.updated_at, updated_by = excluded.updated_by;

-- name: place_hold!
INSERT INTO clearing.payout_hold (id, party_id, reason, since, until, placed_by, four_eyes, rail, cause)
VALUES (:id, :party_id, :reason, :since, :until, :by, :four_eyes, :rail, :cause) ON CONFLICT DO NOTHING;

-- name: lock_hold^
SELECT id, party_id, reason, since, until, placed_by, four_eyes, lifted_at, lifted_by, rail, cause
FROM clearing.payout_hold WHERE id = :id FOR UPDATE;

-- name: holds_of
SELECT id, party_id, reason, since, until, placed_by, four_eyes, lifted_at, lifted_by, rail, cause
FROM clearing.payout_hold WHERE party_id = :party_id ORDER BY lifted_at DESC NULLS FIRST, since DESC, id LIMIT 1000;

-- name: details_of
SELECT party_id, version, name, iban, bic, street, building, post_code, town, country, reference, state,
    submitted_by, submitted_at, decided_by, decided_at
FROM clearing.bank_details WHERE party_id = :party_id ORDER BY version DESC LIMIT 1000;

-- name: lift_hold$
UPDATE clearing.payout_hold SET lifted_at = :now, lifted_by = :by WHERE id = :id AND lifted_at IS NULL RETURNING party_id;

-- name: next_details_version$
-- A newer submission replaces a pending one.
WITH rejected AS (
    UPDATE clearing.bank_details SET state = 'rejected', decided_by = 'replaced by a newer submission', decided_at = :now
    WHERE party_id = :party_id AND state = 'pending' RETURNING 1
)
SELECT coalesce(max(version), 0) + 1 + 0 * (SELECT count(*) FROM rejected) FROM clearing.bank_details WHERE party_id = :party_id;

-- name: insert_details!
INSERT INTO clearing.bank_details (party_id, version, name, iban, bic, street, building, post_code, town, country, reference, state,
    submitted_by, submitted_at)
VALUES (:party_id, :version, :name, :iban, :bic, :street, :building, :post_code, :town, :country, :reference, 'pending', :by, :now);

-- name: lock_details^
SELECT version, submitted_by, state FROM clearing.bank_details WHERE party_id = :party_id AND version = :version FOR UPDATE;

-- name: retire_details!
UPDATE clearing.bank_details SET state = 'retired' WHERE party_id = :party_id AND state = 'approved';

-- name: decide_details!
UPDATE clearing.bank_details SET state = :state, decided_by = :by, decided_at = :now
WHERE party_id = :party_id AND version = :version;

-- name: lock_party!
-- Changes to one party wait for each other.
SELECT 1 FROM clearing.party WHERE id = :party_id FOR NO KEY UPDATE;

-- name: renew_epoch!
UPDATE clearing.reference_epoch SET epoch = gen_random_uuid() WHERE name = 'party';
