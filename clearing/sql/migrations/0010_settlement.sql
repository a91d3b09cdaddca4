-- Settled predictably: payout terms, dated holds, bank details, reserves, release by two people, payment files, returns.

-- How and when a party is paid beyond its T + n: small, read by every lane. No row: daily, no reserve, no release.
CREATE TABLE clearing.payout_terms (
    party_id            text     PRIMARY KEY REFERENCES clearing.party,
    cadence             text     NOT NULL DEFAULT 'daily' CHECK (cadence IN ('daily', 'weekly', 'monthly')),
    cadence_day         smallint NOT NULL DEFAULT 1,        -- weekly: 1 Monday to 7 Sunday; monthly: 1 to 31, 31 is the last day
    reserve_bps         integer  NOT NULL DEFAULT 0 CHECK (reserve_bps BETWEEN 0 AND 10000),
    reserve_days        smallint NOT NULL DEFAULT 0 CHECK (reserve_days BETWEEN 0 AND 366),
    release_above_minor bigint   CHECK (release_above_minor >= 0), -- a payment above it needs two people; null: none does
    deregistered_on     date,                               -- from then on all that is open is paid, whatever its minimum
    updated_at          timestamptz NOT NULL,
    updated_by          text     NOT NULL,
    CHECK ((cadence = 'monthly' AND cadence_day BETWEEN 1 AND 31) OR cadence_day BETWEEN 1 AND 7),
    CHECK (reserve_bps = 0 OR reserve_days > 0)
);

-- Why a party is not paid, since when and until when. A hold is never edited but ended.
CREATE TABLE clearing.payout_hold (
    id         uuid        PRIMARY KEY,
    party_id   text        NOT NULL REFERENCES clearing.party,
    reason     text        NOT NULL CHECK (reason <> ''),
    since      date        NOT NULL,
    until      date        CHECK (until > since),         -- exclusive; null: until it is lifted
    placed_by  text        NOT NULL,
    lifted_at  timestamptz,
    lifted_by  text,
    CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
);
CREATE INDEX payout_hold_open ON clearing.payout_hold (party_id) WHERE lifted_at IS NULL;

-- Bank accounts as submitted, each version kept. What is pending holds the payout until a second person confirms it.
CREATE TABLE clearing.bank_details (
    party_id     text        NOT NULL REFERENCES clearing.party,
    version      integer     NOT NULL CHECK (version >= 1),
    name         text        NOT NULL,
    iban         text        NOT NULL,
    bic          text,
    street       text        NOT NULL,
    building     text        NOT NULL,
    post_code    text        NOT NULL,
    town         text        NOT NULL CHECK (town <> ''),
    country      char(2)     NOT NULL,
    state        text        NOT NULL CHECK (state IN ('pending', 'confirmed', 'refused', 'retired')),
    submitted_by text        NOT NULL,
    submitted_at timestamptz NOT NULL,
    decided_by   text        CHECK (lower(decided_by) <> lower(submitted_by)), -- four eyes
    decided_at   timestamptz,
    PRIMARY KEY (party_id, version),
    CHECK ((state = 'pending') = (decided_by IS NULL)),
    CHECK ((decided_by IS NULL) = (decided_at IS NULL))
);
CREATE UNIQUE INDEX bank_details_one_confirmed ON clearing.bank_details (party_id) WHERE state = 'confirmed';
CREATE UNIQUE INDEX bank_details_one_pending ON clearing.bank_details (party_id) WHERE state = 'pending';

-- What was withheld from a payment, and when it comes back.
CREATE TABLE clearing.reserve (
    disbursement_id uuid    NOT NULL,                      -- the payment it was withheld from: the subject of both entries
    party_id        text    NOT NULL REFERENCES clearing.party,
    currency        char(3) NOT NULL,
    amount_minor    bigint  NOT NULL CHECK (amount_minor > 0),
    held_on         date    NOT NULL,
    release_on      date    NOT NULL CHECK (release_on > held_on),
    released_at     timestamptz,
    PRIMARY KEY (disbursement_id)
);
CREATE INDEX reserve_open ON clearing.reserve (release_on) WHERE released_at IS NULL;

-- A due date that was moved, with the reason. Written together with the move; never edited.
CREATE TABLE clearing.due_date_change (
    lane       smallint    NOT NULL CHECK (lane BETWEEN 0 AND 63),
    subject_id uuid        NOT NULL,
    kind       text        NOT NULL,
    reference  text        NOT NULL,
    party_id   text        NOT NULL,
    changed_at timestamptz NOT NULL,
    old_date   date        NOT NULL,
    new_date   date        NOT NULL CHECK (new_date <> old_date),
    reason     text        NOT NULL CHECK (reason <> ''),
    PRIMARY KEY (lane, subject_id, kind, reference, party_id, changed_at)
);

ALTER TABLE clearing.disbursement
    ADD COLUMN rail text NOT NULL DEFAULT 'psp' CHECK (rail IN ('psp', 'bank')),
    ADD COLUMN approvals_needed smallint NOT NULL DEFAULT 0 CHECK (approvals_needed BETWEEN 0 AND 2),
    ADD COLUMN returned_at timestamptz;
ALTER TABLE clearing.disbursement DROP CONSTRAINT disbursement_state_check;
ALTER TABLE clearing.disbursement ADD CONSTRAINT disbursement_state_check CHECK (
    state IN ('planned', 'requested', 'outcome_unknown', 'paid', 'failed', 'returned'));
ALTER TABLE clearing.disbursement DROP CONSTRAINT disbursement_check1;
ALTER TABLE clearing.disbursement ADD CONSTRAINT disbursement_finished CHECK (
    (state IN ('paid', 'failed', 'returned')) = (finished_at IS NOT NULL));
ALTER TABLE clearing.disbursement DROP CONSTRAINT disbursement_check3;
ALTER TABLE clearing.disbursement ADD CONSTRAINT disbursement_failure CHECK (
    (state IN ('failed', 'returned')) = (failure IS NOT NULL));
ALTER TABLE clearing.disbursement ADD CONSTRAINT disbursement_returned CHECK (
    (state = 'returned') = (returned_at IS NOT NULL));
DROP INDEX clearing.disbursement_once;
-- Never two live payments to one party for one period; a returned one is not alive.
CREATE UNIQUE INDEX disbursement_once ON clearing.disbursement (party_id, currency, period)
    WHERE state NOT IN ('failed', 'returned');

-- Who released a payment that needs two people; the key keeps one person from being both.
CREATE TABLE clearing.disbursement_approval (
    disbursement_id uuid        NOT NULL REFERENCES clearing.disbursement,
    approver        text        NOT NULL CHECK (approver <> '' AND approver = lower(approver)),
    approved_at     timestamptz NOT NULL,
    PRIMARY KEY (disbursement_id, approver)
);

-- A payment file, recorded whole before a byte of it leaves: written again, it is the same file under the same id.
CREATE TABLE clearing.payment_file (
    message_id    text        PRIMARY KEY CHECK (length(message_id) <= 35), -- the bank refuses a second one
    created_at    timestamptz NOT NULL,
    content       bytea       NOT NULL,
    sha256        text        NOT NULL UNIQUE CHECK (length(sha256) = 64),
    payment_count integer     NOT NULL CHECK (payment_count > 0),
    control_sum   numeric     NOT NULL CHECK (control_sum > 0),
    sent_at       timestamptz                              -- null: recorded, not known to have reached the bank
);
CREATE TABLE clearing.payment_file_item (
    disbursement_id uuid NOT NULL REFERENCES clearing.disbursement,
    message_id      text NOT NULL REFERENCES clearing.payment_file,
    batch_id        text NOT NULL,
    PRIMARY KEY (disbursement_id)                          -- a payment is in one file for ever
);
CREATE INDEX payment_file_item_of_file ON clearing.payment_file_item (message_id);

ALTER TABLE clearing.entry DROP CONSTRAINT entry_kind_check;
ALTER TABLE clearing.entry ADD CONSTRAINT entry_kind_check CHECK (kind IN (
    'capture', 'reversal', 'refund', 'refund_failed', 'dispute', 'dispute_won', 'topup', 'partner_funding', 'disbursement',
    'disbursement_return', 'fx_result', 'reserve_hold', 'reserve_release', 'psp_payout'));
