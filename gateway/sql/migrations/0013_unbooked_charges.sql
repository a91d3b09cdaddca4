-- Money that the PSP has captured and that no capture here records: captured by hand at the PSP, or of a payment that
-- is not known here. It waits for a person, who has it adopted, refunded, or left to the reconciliation.
CREATE TABLE gateway.unbooked_charge (
    psp_payment    text        PRIMARY KEY,
    psp_charge     text        NOT NULL,
    shard          smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),  -- of the session, else of the payment's id
    session_id     uuid,        -- that the PSP's record names, whether it is known here or not
    reason         text        NOT NULL CHECK (
        reason IN ('captured_by_hand', 'captured_above_request', 'unknown_payment')),
    state          text        NOT NULL CHECK (
        state IN ('open', 'adopting', 'adopted', 'refunding', 'refunded', 'left')),
    amount_minor   bigint      NOT NULL CHECK (amount_minor > 0),
    refunded_minor bigint      NOT NULL DEFAULT 0 CHECK (refunded_minor BETWEEN 0 AND amount_minor),  -- at the PSP
    currency       char(3)     NOT NULL,
    fee_minor      bigint,
    fee_currency   char(3),
    detail         text        NOT NULL DEFAULT '',  -- why the last attempt failed
    decided_by     text,
    decided_at     timestamptz,  -- wall time: the PSP's key counts from it
    refund_id      uuid,         -- by which our refund is known at the PSP
    psp_refund     text,
    found_at       timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CHECK ((fee_minor IS NULL) = (fee_currency IS NULL)),
    CHECK (state = 'open' OR decided_by IS NOT NULL),
    CHECK (state NOT IN ('refunding') OR refund_id IS NOT NULL),
    CHECK (state <> 'adopted' OR session_id IS NOT NULL)
);
CREATE INDEX unbooked_charge_waiting ON gateway.unbooked_charge (found_at)
    WHERE state IN ('open', 'adopting', 'refunding');
CREATE INDEX unbooked_charge_session ON gateway.unbooked_charge (shard, session_id) WHERE session_id IS NOT NULL;

ALTER TABLE gateway.task DROP CONSTRAINT task_kind_check;
ALTER TABLE gateway.task ADD CHECK (kind IN (
    'complete_session', 'capture_session', 'charge_residual', 'clear_session', 'book_correction', 'handle_psp_event',
    'settle_unbooked_charge'));
