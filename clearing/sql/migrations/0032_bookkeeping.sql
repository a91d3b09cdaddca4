-- Reconciliation that books: decisions of people, suspense with age and owner, the bank's own balance, debts, the forecast
-- that is held against what was paid.

ALTER TABLE clearing.entry DROP CONSTRAINT entry_kind_check;
ALTER TABLE clearing.entry ADD CONSTRAINT entry_kind_check CHECK (kind IN (
    'capture', 'reversal', 'refund', 'refund_failed', 'dispute', 'dispute_won', 'topup', 'partner_funding', 'disbursement',
    'disbursement_return', 'fx_result', 'reserve_hold', 'reserve_release', 'psp_payout', 'bank_receipt', 'suspense',
    'suspense_cleared', 'fee', 'write_off', 'own_funds', 'debt_collection', 'debt_compensation', 'debt_write_off'));

-- A decision on money: who wants it booked how and why, and, above a limit, who agreed. What is booked is what was
-- proposed, to the letter; a decision that isn't booked has moved nothing.
CREATE TABLE clearing.booking_decision (
    id           uuid        PRIMARY KEY,                  -- derived from what it decides on: twice is once
    resolution   text        NOT NULL CHECK (resolution IN (
        'match', 'suspense', 'fee', 'write_off', 'own_funds', 'psp_payout', 'collection', 'compensation', 'debt_write_off')),
    state        text        NOT NULL CHECK (state IN ('proposed', 'booked', 'refused')),
    subject      text        NOT NULL CHECK (subject IN ('difference', 'suspense', 'debt')),
    leg          text        NOT NULL DEFAULT '',          -- of a difference
    reference    text        NOT NULL,                     -- of a difference; the suspense item's id; the party in debt
    party_id     text        REFERENCES clearing.party,
    currency     char(3)     NOT NULL,
    amount_minor bigint      NOT NULL,                     -- money in positive, as our balances change or the debt shrinks
    entries      text        NOT NULL CHECK (entries IS JSON ARRAY), -- transfers, payables and locks, as they are booked
    reason       text        NOT NULL CHECK (reason <> ''),
    needs_second boolean     NOT NULL,
    proposed_by  text        NOT NULL CHECK (proposed_by <> ''),
    proposed_at  timestamptz NOT NULL,
    decided_by   text,
    decided_at   timestamptz,
    CHECK ((state = 'proposed') = (decided_by IS NULL)),
    CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    CHECK (NOT needs_second OR state <> 'booked' OR lower(decided_by) <> lower(proposed_by))
);
CREATE INDEX booking_decision_open ON clearing.booking_decision (proposed_at) WHERE state = 'proposed';

-- From which amount on a second person must agree. A currency without a row follows the rules that ship with the code.
CREATE TABLE clearing.booking_limit (
    currency    char(3)     PRIMARY KEY,
    limit_minor bigint      NOT NULL CHECK (limit_minor >= 0), -- above it two people are needed
    set_by      text        NOT NULL,
    set_at      timestamptz NOT NULL
);

-- Money in suspense: whose search it is, since when, and how much of it still has no home. Positive: came in unexplained.
CREATE TABLE clearing.suspense_item (
    id           uuid    PRIMARY KEY REFERENCES clearing.booking_decision, -- the decision that put it there
    currency     char(3) NOT NULL,
    amount_minor bigint  NOT NULL CHECK (amount_minor <> 0),
    left_minor   bigint  NOT NULL,
    since        date    NOT NULL,
    owner        text    NOT NULL CHECK (owner <> ''),
    detail       text    NOT NULL,
    CHECK (left_minor = 0 OR sign(left_minor) = sign(amount_minor)),
    CHECK (abs(left_minor) <= abs(amount_minor))
);
CREATE INDEX suspense_item_open ON clearing.suspense_item (since) WHERE left_minor <> 0;

ALTER TABLE clearing.reconciliation_item
    ADD COLUMN fee_minor bigint NOT NULL DEFAULT 0,        -- what the PSP kept of it, beside the amount
    ADD COLUMN account text NOT NULL DEFAULT '',           -- the bank account of a bank line
    ADD COLUMN booked_at timestamptz,                      -- payouts and their bank lines: when the journal had them
    ADD COLUMN decision_id uuid REFERENCES clearing.booking_decision;
ALTER TABLE clearing.reconciliation_item DROP CONSTRAINT reconciliation_item_match_check;
ALTER TABLE clearing.reconciliation_item ADD CONSTRAINT reconciliation_item_match_check CHECK (
    match IN ('exact', 'tolerance', 'merged', 'canceled', 'resolved'));
ALTER TABLE clearing.reconciliation_item ADD CONSTRAINT reconciliation_item_decided CHECK (
    (match IS NOT DISTINCT FROM 'resolved') = (decision_id IS NOT NULL));
CREATE INDEX reconciliation_item_unbooked ON clearing.reconciliation_item (side, source_id)
    WHERE leg = 'psp_bank' AND booked_at IS NULL;
CREATE INDEX reconciliation_item_of_account ON clearing.reconciliation_item (account, currency, occurred_on)
    INCLUDE (amount_minor) WHERE side = 'right' AND leg IN ('book_bank', 'psp_bank');

ALTER TABLE clearing.reconciliation_difference
    ADD COLUMN likely text[] NOT NULL DEFAULT '{}',        -- references that together make this line; for a person to judge
    ADD COLUMN id uuid GENERATED ALWAYS AS (md5(leg || '|' || reference || '|' || currency)::uuid) STORED;
CREATE UNIQUE INDEX reconciliation_difference_id ON clearing.reconciliation_difference (id);

-- What the bank says that its account stood at: the first and last balance of each statement.
CREATE TABLE clearing.bank_balance (
    iban         text        NOT NULL,
    currency     char(3)     NOT NULL,
    on_day       date        NOT NULL,
    code         text        NOT NULL,                     -- OPBD opening, CLBD closing, as the bank names them
    statement_id text        NOT NULL,
    sequence     bigint,
    amount_minor bigint      NOT NULL,                     -- credit positive
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (iban, currency, on_day, code, statement_id)
);

-- A party's word that a debt in one currency may be set against what it is owed in another.
CREATE TABLE clearing.compensation_agreement (
    party_id   text        NOT NULL REFERENCES clearing.party,
    agreed_on  date        NOT NULL,
    evidence   text        NOT NULL CHECK (evidence <> ''), -- where its consent is kept
    recorded_by text       NOT NULL,
    ended_on   date        CHECK (ended_on >= agreed_on),   -- from then on it holds no more
    PRIMARY KEY (party_id, agreed_on)
);

-- What was to be paid, as the forecast of a day saw it. Held against what was paid when the day has come.
CREATE TABLE clearing.forecast_snapshot (
    taken_on     date     NOT NULL,
    party_id     text     NOT NULL,
    currency     char(3)  NOT NULL,
    pay_on       date     NOT NULL,
    days_ahead   smallint NOT NULL CHECK (days_ahead >= 0), -- clearing days of that party from the day it was taken
    amount_minor bigint   NOT NULL,
    PRIMARY KEY (taken_on, party_id, currency, pay_on)
);
CREATE INDEX forecast_snapshot_of_day ON clearing.forecast_snapshot (pay_on, taken_on);
CREATE INDEX disbursement_of_day ON clearing.disbursement (period);
CREATE TABLE clearing.forecast_taken (
    taken_on date        PRIMARY KEY,                       -- a day without sums ahead was looked at, too
    taken_at timestamptz NOT NULL
);
-- How far what was paid on a day was from its forecast; counted again for some days, since a bank answers late.
CREATE TABLE clearing.forecast_error (
    pay_on      date    NOT NULL,
    ahead       text    NOT NULL CHECK (ahead IN ('day', 'terms')),
    currency    char(3) NOT NULL,
    error_minor bigint  NOT NULL CHECK (error_minor >= 0),
    paid_minor  bigint  NOT NULL,
    payments    bigint  NOT NULL,
    PRIMARY KEY (pay_on, ahead, currency)
);
