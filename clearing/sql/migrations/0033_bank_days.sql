-- Payments stopped before they are sent, instant payments and references by party, and the bank's messages as taken in.

-- A payment that was planned and may no longer be sent is withdrawn: its payables are open again, the reason stays.
ALTER TABLE clearing.disbursement DROP CONSTRAINT disbursement_state_check;
ALTER TABLE clearing.disbursement ADD CONSTRAINT disbursement_state_check CHECK (
    state IN ('planned', 'withdrawn', 'requested', 'outcome_unknown', 'paid', 'failed', 'returned'));
ALTER TABLE clearing.disbursement DROP CONSTRAINT disbursement_check;
ALTER TABLE clearing.disbursement ADD CONSTRAINT disbursement_requested CHECK (
    (state IN ('planned', 'withdrawn')) = (requested_at IS NULL));
ALTER TABLE clearing.disbursement DROP CONSTRAINT disbursement_finished;
ALTER TABLE clearing.disbursement ADD CONSTRAINT disbursement_finished CHECK (
    (state IN ('withdrawn', 'paid', 'failed', 'returned')) = (finished_at IS NOT NULL));
ALTER TABLE clearing.disbursement DROP CONSTRAINT disbursement_failure;
ALTER TABLE clearing.disbursement ADD CONSTRAINT disbursement_failure CHECK (
    (state IN ('withdrawn', 'failed', 'returned')) = (failure IS NOT NULL));
DROP INDEX clearing.disbursement_once;
-- Never two live payments to one party for one period.
CREATE UNIQUE INDEX disbursement_once ON clearing.disbursement (party_id, currency, period)
    WHERE state NOT IN ('withdrawn', 'failed', 'returned');
CREATE INDEX disbursement_planned ON clearing.disbursement (party_id) WHERE state = 'planned';

-- Payments in euro of at most so much go as SEPA Instant; null: none does.
ALTER TABLE clearing.payout_terms ADD COLUMN instant_up_to_minor bigint CHECK (instant_up_to_minor > 0);

-- The reference that the payee wants on every payment: QRR (27 digits) or ISO 11649 (RF...); null: none.
ALTER TABLE clearing.bank_details ADD COLUMN reference text CHECK (length(reference) BETWEEN 5 AND 27);

-- A hold that only a second person may lift: a payment came back by one person's word.
ALTER TABLE clearing.payout_hold ADD COLUMN second_person boolean NOT NULL DEFAULT false;

-- Every message of the bank that was worked in or refused, by the hash of its bytes: told twice, it is known.
CREATE TABLE clearing.bank_message (
    sha256      text        PRIMARY KEY CHECK (length(sha256) = 64),
    name        text        NOT NULL,                     -- what it was called when it came
    kind        text        NOT NULL CHECK (kind IN ('pain.002', 'camt.052', 'camt.053', 'camt.054', 'unknown')),
    state       text        NOT NULL CHECK (state IN ('taken', 'refused')),
    size_bytes  bigint      NOT NULL CHECK (size_bytes >= 0),
    received_at timestamptz NOT NULL,
    settled     integer     NOT NULL DEFAULT 0 CHECK (settled >= 0),
    rejected    integer     NOT NULL DEFAULT 0 CHECK (rejected >= 0),
    returned    integer     NOT NULL DEFAULT 0 CHECK (returned >= 0),
    new_lines   integer     NOT NULL DEFAULT 0 CHECK (new_lines >= 0),
    reason      text,                                     -- why it was refused
    told_by     text        NOT NULL,                     -- the API key that sent it, or the inbox
    CHECK ((state = 'refused') = (reason IS NOT NULL))
);
CREATE INDEX bank_message_received ON clearing.bank_message (received_at DESC, sha256);

-- What a rail can't move of a payment stays behind and is owed again the next day.
ALTER TABLE clearing.entry DROP CONSTRAINT entry_kind_check;
ALTER TABLE clearing.entry ADD CONSTRAINT entry_kind_check CHECK (kind IN (
    'capture', 'reversal', 'refund', 'refund_failed', 'dispute', 'dispute_won', 'topup', 'partner_funding', 'disbursement',
    'disbursement_return', 'fx_result', 'reserve_hold', 'reserve_release', 'psp_payout', 'bank_receipt', 'suspense',
    'suspense_cleared', 'fee', 'write_off', 'own_funds', 'debt_collection', 'debt_compensation', 'debt_write_off',
    'remainder_hold', 'remainder_release'));
