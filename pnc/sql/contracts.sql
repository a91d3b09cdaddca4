-- Contracts and their changes.

-- name: load_contract^
SELECT * FROM pnc.contract WHERE environment = :environment AND emaid = :emaid;

-- name: lock_contract^
SELECT * FROM pnc.contract WHERE environment = :environment AND emaid = :emaid FOR UPDATE;

-- name: stored_emaids
SELECT emaid FROM pnc.contract WHERE environment = :environment AND emaid = ANY(:emaids::text[]) ORDER BY emaid;

-- name: insert_contract^
INSERT INTO pnc.contract
    (environment, emaid, contract_id, party, payment_kind, payment_reference, state, valid_from, valid_until,
     limit_minor, currency, sessions_at_once, sessions_per_day, offline_limit_minor, amount_per_day_minor, on_suspicion,
     payment_usable, updated_at)
VALUES (:environment, :emaid, :contract_id, :party, :payment_kind, :payment_reference, :state, :valid_from,
        :valid_until, :limit_minor, :currency, :sessions_at_once, :sessions_per_day, :offline_limit_minor,
        :amount_per_day_minor, :on_suspicion, :payment_usable, :now)
ON CONFLICT (environment, emaid) DO NOTHING
RETURNING *;

-- name: update_contract^
UPDATE pnc.contract
SET payment_kind = :payment_kind, payment_reference = :payment_reference, payment_usable = :payment_usable,
    state = :state, valid_from = :valid_from, valid_until = :valid_until, limit_minor = :limit_minor,
    currency = :currency, sessions_at_once = :sessions_at_once, sessions_per_day = :sessions_per_day,
    offline_limit_minor = :offline_limit_minor,
    amount_per_day_minor = :amount_per_day_minor, on_suspicion = :on_suspicion,
    revision = revision + 1, updated_at = :now
WHERE environment = :environment AND emaid = :emaid
RETURNING *;

-- name: insert_change!
INSERT INTO pnc.contract_change (environment, emaid, contract_id, party, kind, revision, actor, reason, at)
VALUES (:environment, :emaid, :contract_id, :party, :kind, :revision, :actor, :reason, :at);

-- name: lock_contracts_of_payment
-- In the order of their keys, so that two writers lock them in the same order.
SELECT * FROM pnc.contract
WHERE environment = :environment AND payment_kind = :payment_kind AND payment_reference = :payment_reference
ORDER BY emaid
FOR UPDATE;

-- name: lock_payment!
-- Contracts that name a means of payment, and switching it off or on, wait for each other.
SELECT CASE WHEN :exclusive::boolean
            THEN pg_advisory_xact_lock(hashtextextended('pnc.disabled_payment ' || :name, 0))
            ELSE pg_advisory_xact_lock_shared(hashtextextended('pnc.disabled_payment ' || :name, 0)) END;

-- name: payment_disabled^
SELECT 1 AS found FROM pnc.disabled_payment
WHERE environment = :environment AND payment_kind = :payment_kind AND payment_reference = :payment_reference;

-- name: disable_payment!
INSERT INTO pnc.disabled_payment (environment, payment_kind, payment_reference, disabled_at)
VALUES (:environment, :payment_kind, :payment_reference, :now)
ON CONFLICT DO NOTHING;

-- name: enable_payment!
DELETE FROM pnc.disabled_payment
WHERE environment = :environment AND payment_kind = :payment_kind AND payment_reference = :payment_reference;

-- name: list_contracts
SELECT * FROM pnc.contract
WHERE environment = :environment AND (:party::text IS NULL OR party = :party) AND emaid > :after
ORDER BY emaid
LIMIT :limit;

-- name: changes_after
-- Up to the oldest transaction that still runs: it may yet write a change that comes before.
SELECT written_by::text AS written_by, sequence, emaid, contract_id, party, kind, revision, actor, reason, at
FROM pnc.contract_change AS c
WHERE environment = :environment AND (:party::text IS NULL OR party = :party)
  AND (written_by, sequence) > (:after_transaction::text::xid8, :after_sequence::bigint)
  AND written_by < pg_snapshot_xmin(pg_current_snapshot())
-- The column, not the text of the same name: as texts, 1000 comes before 999.
ORDER BY c.written_by, c.sequence
LIMIT :limit;

-- name: history_of_contract
SELECT kind, revision, actor, reason, at FROM pnc.contract_change
WHERE environment = :environment AND emaid = :emaid
ORDER BY revision, sequence;
