-- The schema of clearing: who is owed what, under which agreement, with which tax and rate, and the journal that proves
-- it.
--
-- Money is a bigint of minor units beside its ISO 4217 code. Time is timestamptz. A date is a local day of the party
-- that it binds. Tables of a session carry `shard` (0 to 63, the last byte of the session's id & 63) first in every
-- key, so that the same statements run on one PostgreSQL and, distributed by shard, on Citus. No triggers, no
-- sequences: the journal is balanced by construction, because a transfer is one row with two accounts and one positive
-- amount.

-- ---------------------------------------------------------------------------------------------------------------------
-- Parties, agreements and rates: small reference tables, read by every shard.
-- ---------------------------------------------------------------------------------------------------------------------

-- A party that can owe or be owed. The id is a slug and a part of account paths, so it never changes.
CREATE TABLE clearing.party (
    id                   text        PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    kind                 text        NOT NULL CHECK (kind IN (
        'platform', 'cpo', 'demand_partner', 'emsp', 'site_host')),
    name                 text        NOT NULL CHECK (name <> ''),
    country              char(2)     NOT NULL,                -- of establishment, ISO 3166-1
    -- Of establishment: mostly the country, or ES-CN, IT-LIVIGNO, XI.
    tax_jurisdiction     text        NOT NULL,
    vat_id               text,  -- as registered, compact; whether it is valid is in party_vat_evidence
    -- Buys electricity to sell it on (Directive 2006/112/EC art. 38).
    taxable_dealer       boolean     NOT NULL DEFAULT false,
    small_business       boolean     NOT NULL DEFAULT false,  -- may show no VAT of its own
    self_billing_since   date,  -- from when the party lets the platform write its invoices
    document_cadence     text        NOT NULL DEFAULT 'monthly'
        CHECK (document_cadence IN ('session', 'daily', 'weekly', 'monthly')),
    settlement_currency  char(3)     NOT NULL,
    terms_days           smallint    NOT NULL DEFAULT 2 CHECK (terms_days BETWEEN 0 AND 60),  -- T + n clearing days
    time_zone            text        NOT NULL,                -- IANA; the party's sales day is counted in it
    -- Local minute of the day from which a sale belongs to the next day; 1440 is midnight.
    cut_off_minute       smallint    NOT NULL DEFAULT 1440 CHECK (cut_off_minute BETWEEN 1 AND 1440),
    minimum_payout_minor bigint      NOT NULL DEFAULT 0 CHECK (minimum_payout_minor >= 0),
    connected_account    text,                                -- where a disbursement goes; null: payables wait
    payout_hold          text,                                -- a dated reason why nothing is paid to it, else null
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL
);

-- Where a party is registered for VAT beside its place of establishment, whose id is party.vat_id.
CREATE TABLE clearing.party_vat_registration (
    party_id         text NOT NULL REFERENCES clearing.party,
    tax_jurisdiction text NOT NULL,
    vat_id           text NOT NULL CHECK (vat_id <> ''),
    valid_from       date NOT NULL,
    valid_to         date CHECK (valid_to >= valid_from),  -- inclusive; null: open
    PRIMARY KEY (party_id, tax_jurisdiction, valid_from)
);

-- Whether a VAT id was valid, since when, and by which source. Read as of the chargeable event, never as of now.
CREATE TABLE clearing.party_vat_evidence (
    party_id       text        NOT NULL REFERENCES clearing.party,
    effective_from date        NOT NULL,             -- the first day that this finding covers
    vat_id         text        NOT NULL,
    valid          boolean     NOT NULL,
    source         text        NOT NULL,             -- for example VIES, UID register, HMRC, declared
    reference      text        NOT NULL DEFAULT '',  -- the consultation number that the source gave
    checked_at     timestamptz NOT NULL,
    PRIMARY KEY (party_id, vat_id, effective_from)
);

-- The last time that a register gave no answer about an id: the older finding stays, with its own date.
CREATE TABLE clearing.party_vat_attempt (
    party_id text        NOT NULL REFERENCES clearing.party,
    vat_id   text        NOT NULL,
    tried_at timestamptz NOT NULL,
    problem  text        NOT NULL,  -- what the register said, for example MS_UNAVAILABLE
    PRIMARY KEY (party_id, vat_id)
);

-- Who gets which part of a session's net. A version is never edited: a change is a new version with its own dates.
CREATE TABLE clearing.agreement (
    id                text        NOT NULL,
    version           integer     NOT NULL CHECK (version >= 1),
    cpo_id            text        NOT NULL REFERENCES clearing.party,
    -- Null: every demand partner without an agreement of its own.
    demand_partner_id text        REFERENCES clearing.party,
    valid_from        timestamptz NOT NULL,
    valid_until       timestamptz CHECK (valid_until > valid_from),  -- exclusive; null is open-ended
    terms             jsonb       NOT NULL,  -- shares, order, cost allocation; read by clearing/parties/agreement.py
    terms_sha256      text        NOT NULL CHECK (length(terms_sha256) = 64),
    created_at        timestamptz NOT NULL,
    PRIMARY KEY (id, version)
);
CREATE INDEX agreement_cpo ON clearing.agreement (cpo_id, demand_partner_id, valid_from);

-- Published reference rates: one unit of base in quote. Rows are facts and are never changed.
CREATE TABLE clearing.fx_rate (
    base        char(3)     NOT NULL,
    quote       char(3)     NOT NULL CHECK (quote <> base),
    rate_date   date        NOT NULL,
    rate        numeric     NOT NULL CHECK (rate > 0),
    source      text        NOT NULL,
    imported_at timestamptz NOT NULL,
    PRIMARY KEY (base, quote, rate_date, source)
);

-- When published rates are requested: one row for each source, leased by the worker that requests them.
CREATE TABLE clearing.rate_feed (
    source      text        PRIMARY KEY,
    next_at     timestamptz NOT NULL,                                  -- wall time; no request before it
    failures    smallint    NOT NULL DEFAULT 0 CHECK (failures >= 0),  -- in a row
    answered_at timestamptz,
    problem     text        NOT NULL DEFAULT ''                        -- of the last request; empty: none
);

-- One row for each kind of reference data, renewed with every change, so that a worker knows when to read it again.
CREATE TABLE clearing.reference_epoch (
    name  text PRIMARY KEY CHECK (name IN ('party', 'agreement', 'fx_rate')),
    epoch uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO clearing.reference_epoch (name) VALUES ('party'), ('agreement'), ('fx_rate');

-- ---------------------------------------------------------------------------------------------------------------------
-- The journal.
-- ---------------------------------------------------------------------------------------------------------------------

-- Entries that were committed together, chained to the batch before by their hash.
CREATE TABLE clearing.batch (
    id             uuid        PRIMARY KEY,
    chain          smallint    NOT NULL CHECK (chain >= 0),                 -- concurrent writers have a chain each
    position       bigint      NOT NULL CHECK (position >= 1),
    booked_at      timestamptz NOT NULL,
    entry_count    integer     NOT NULL CHECK (entry_count > 0),
    transfer_count integer     NOT NULL CHECK (transfer_count > 0),
    -- So that one party can't guess another's hashes.
    blinding_key   bytea       NOT NULL CHECK (length(blinding_key) = 32),
    merkle_root    bytea       NOT NULL CHECK (length(merkle_root) = 32),
    previous_hash  bytea       NOT NULL CHECK (length(previous_hash) = 32),  -- 32 zero bytes at position 1
    hash           bytea       NOT NULL CHECK (length(hash) = 32),
    UNIQUE (chain, position)
);

-- What each batch did to each account. A balance is the last snapshot plus the deltas after it: no row is updated.
CREATE TABLE clearing.account_delta (
    account      text        NOT NULL,
    currency     char(3)     NOT NULL,
    batch_id     uuid        NOT NULL REFERENCES clearing.batch,
    booked_at    timestamptz NOT NULL,
    debit_minor  bigint      NOT NULL CHECK (debit_minor >= 0),
    credit_minor bigint      NOT NULL CHECK (credit_minor >= 0),
    PRIMARY KEY (account, currency, batch_id)
);
CREATE INDEX account_delta_time ON clearing.account_delta (account, currency, booked_at)
    INCLUDE (debit_minor, credit_minor);

-- Balances at the instant at which a period was closed. Nothing is booked before that instant any more.
CREATE TABLE clearing.account_snapshot (
    account      text        NOT NULL,
    currency     char(3)     NOT NULL,
    as_of        timestamptz NOT NULL,  -- every delta booked before it is included
    debit_minor  bigint      NOT NULL,
    credit_minor bigint      NOT NULL,
    PRIMARY KEY (account, currency, as_of)
);

-- A closed period rejects back-dating: no batch is accepted whose booked_at is before the last closed_until.
CREATE TABLE clearing.closed_period (
    closed_until timestamptz PRIMARY KEY,  -- exclusive
    closed_at    timestamptz NOT NULL,
    closed_by    text        NOT NULL
);

-- A journal entry: what happened, and all it is linked to. At most one capture entry for each session, for ever.
CREATE TABLE clearing.entry (
    shard                smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    subject_id           uuid        NOT NULL,  -- the session; in treasury and payouts the top-up or disbursement
    kind                 text        NOT NULL CHECK (kind IN (
        'capture', 'refund', 'refund_failed', 'dispute', 'dispute_won', 'topup', 'partner_funding',
        'disbursement', 'disbursement_return', 'fx_result', 'reserve_withheld', 'reserve_release', 'psp_payout',
        'bank_receipt', 'suspense', 'suspense_cleared', 'fee', 'write_off', 'own_funds', 'receivable_payment',
        'receivable_set_off', 'receivable_write_off', 'remainder_carried', 'remainder_release')),
    -- Tells two refunds of one session apart; empty for the capture.
    reference            text        NOT NULL DEFAULT '',
    batch_id             uuid        NOT NULL,
    booked_at            timestamptz NOT NULL,
    currency             char(3)     NOT NULL,
    gross_minor          bigint      NOT NULL CHECK (gross_minor >= 0),
    sale_at              timestamptz,                      -- the chargeable event
    cpo_id               text,
    demand_partner_id    text,
    authorization_method text,
    tax_jurisdiction     text,
    agreement_id         text,
    agreement_version    integer,
    tariff_sha256        text,
    cdr_id               text,
    psp_object_id        text,
    priced_minor         bigint,  -- by the tariff; more than gross only with a reason for the shortfall
    energy_kwh           numeric,
    -- The supplies: supplier, customer, net, VAT, ruling. Text, because its very bytes are hashed.
    legs                 text        NOT NULL DEFAULT '[]' CHECK (legs IS JSON ARRAY),
    flags                text[]      NOT NULL DEFAULT '{}',
    hash                 bytea       NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (shard, subject_id, kind, reference),
    CHECK (shard = (get_byte(uuid_send(subject_id), 15) & 63)),
    CHECK (kind <> 'capture' OR (reference = '' AND gross_minor > 0 AND sale_at IS NOT NULL AND cpo_id IS NOT NULL
                                 AND authorization_method IN ('card', 'app', 'plug_and_charge')
                                 AND tax_jurisdiction IS NOT NULL AND agreement_id IS NOT NULL
                                 AND agreement_version IS NOT NULL AND length(tariff_sha256) = 64
                                 AND cdr_id IS NOT NULL AND priced_minor >= gross_minor))
);
CREATE INDEX entry_batch ON clearing.entry (batch_id);

-- A decided VAT treatment, stored once and named by its content: which rule, whose rate, who pays, the invoice's text.
CREATE TABLE clearing.vat_ruling (
    id      text PRIMARY KEY CHECK (length(id) = 16),  -- the first 16 hex digits of the content's SHA-256
    content text NOT NULL CHECK (content IS JSON OBJECT)
);

-- A transfer moves a positive amount of one currency from the debited to the credited account. There is no foreign key
-- to the entry: the same statement writes both, and one check for each row would cost more than the rest of the batch.
-- The audit proves that no transfer lacks its entry.
CREATE TABLE clearing.transfer (
    shard          smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    subject_id     uuid     NOT NULL,
    kind           text     NOT NULL,
    reference      text     NOT NULL DEFAULT '',
    ordinal        smallint NOT NULL CHECK (ordinal >= 0),
    debit_account  text     NOT NULL,
    credit_account text     NOT NULL CHECK (credit_account <> debit_account),
    amount_minor   bigint   NOT NULL CHECK (amount_minor > 0),
    currency       char(3)  NOT NULL,
    PRIMARY KEY (shard, subject_id, kind, reference, ordinal)
);

-- The rate of a session and currency pair, fixed at capture and used by every correction after it.
CREATE TABLE clearing.fx_lock (
    shard      smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    session_id uuid     NOT NULL,
    base       char(3)  NOT NULL,                        -- the currency captured
    quote      char(3)  NOT NULL CHECK (quote <> base),  -- the currency in which a party is settled
    rate       numeric  NOT NULL CHECK (rate > 0),       -- before the mark-up
    source     text     NOT NULL,
    rate_date  date     NOT NULL,
    markup_bps smallint NOT NULL CHECK (markup_bps BETWEEN 0 AND 1000),
    PRIMARY KEY (shard, session_id, base, quote)
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Sessions.
-- ---------------------------------------------------------------------------------------------------------------------

-- How many sessions each batch added to an agreement's month, for agreements with tiers only. Rows are never updated.
CREATE TABLE clearing.agreement_volume (
    agreement_id text    NOT NULL,
    month        date    NOT NULL CHECK (extract(day FROM month) = 1),  -- in the CPO's time zone
    batch_id     uuid    NOT NULL,
    sessions     integer NOT NULL CHECK (sessions > 0),
    PRIMARY KEY (agreement_id, month, batch_id)
);

-- A session that could not be cleared, and why. It delays no other session; clearing it later marks it resolved.
CREATE TABLE clearing.session_exception (
    shard        smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    session_id   uuid        NOT NULL,
    reason       text        NOT NULL,
    detail       text        NOT NULL,
    attempts     integer     NOT NULL DEFAULT 1,
    exception_at timestamptz NOT NULL,  -- the first time
    last_at      timestamptz NOT NULL,
    resolved_at  timestamptz,
    PRIMARY KEY (shard, session_id)
);
CREATE INDEX session_exception_open ON clearing.session_exception (exception_at) WHERE resolved_at IS NULL;

-- ---------------------------------------------------------------------------------------------------------------------
-- Payables and payouts.
-- ---------------------------------------------------------------------------------------------------------------------

-- What one entry owes one party: positive to be paid, negative to be netted against later sales. Its due date is known
-- from the start. Open: owed. Scheduled: tied to its disbursement, whose state says whether it is paid.
CREATE TABLE clearing.payable (
    shard           smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    subject_id      uuid     NOT NULL,  -- as in clearing.entry
    kind            text     NOT NULL,
    reference       text     NOT NULL DEFAULT '',
    party_id        text     NOT NULL,
    amount_minor    bigint   NOT NULL CHECK (amount_minor <> 0),
    currency        char(3)  NOT NULL,  -- the party's settlement currency at that time
    due_date        date     NOT NULL,
    state           text     NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'scheduled')),
    disbursement_id uuid,
    PRIMARY KEY (shard, subject_id, kind, reference, party_id),
    CHECK ((state = 'open') = (disbursement_id IS NULL))
);
CREATE INDEX payable_open ON clearing.payable (party_id, currency, due_date) WHERE state = 'open';
CREATE INDEX payable_disbursement ON clearing.payable (disbursement_id) WHERE disbursement_id IS NOT NULL;

-- A due date that was moved, with the reason. Written together with the move; never edited.
CREATE TABLE clearing.due_date_change (
    shard      smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    subject_id uuid        NOT NULL,
    kind       text        NOT NULL,
    reference  text        NOT NULL,
    party_id   text        NOT NULL,
    changed_at timestamptz NOT NULL,
    old_date   date        NOT NULL,
    new_date   date        NOT NULL CHECK (new_date <> old_date),
    reason     text        NOT NULL CHECK (reason <> ''),
    PRIMARY KEY (shard, subject_id, kind, reference, party_id, changed_at)
);

-- How and when a party is paid beyond its T + n. No row: daily, no reserve, no approval.
CREATE TABLE clearing.payout_terms (
    party_id             text        PRIMARY KEY REFERENCES clearing.party,
    cadence              text        NOT NULL DEFAULT 'daily' CHECK (cadence IN ('daily', 'weekly', 'monthly')),
    -- Weekly: 1 Monday to 7 Sunday; monthly: 1 to 31, 31 is the last day.
    cadence_day          smallint    NOT NULL DEFAULT 1,
    reserve_bps          integer     NOT NULL DEFAULT 0 CHECK (reserve_bps BETWEEN 0 AND 10000),
    reserve_days         smallint    NOT NULL DEFAULT 0 CHECK (reserve_days BETWEEN 0 AND 366),
    -- Above it two people approve; null: nobody does.
    approval_above_minor bigint      CHECK (approval_above_minor >= 0),
    -- Euro up to this go as SEPA Instant; null: none does.
    instant_up_to_minor  bigint      CHECK (instant_up_to_minor > 0),
    deregistered_on      date,  -- from then on all that is open is paid, whatever its minimum
    updated_at           timestamptz NOT NULL,
    updated_by           text        NOT NULL,
    CHECK ((cadence = 'monthly' AND cadence_day BETWEEN 1 AND 31) OR cadence_day BETWEEN 1 AND 7),
    CHECK (reserve_bps = 0 OR reserve_days > 0)
);

-- Why a party is not paid, since when and until when. A hold is never edited but ended.
CREATE TABLE clearing.payout_hold (
    id        uuid        PRIMARY KEY,
    party_id  text        NOT NULL REFERENCES clearing.party,
    reason    text        NOT NULL CHECK (reason <> ''),
    since     date        NOT NULL,
    until     date        CHECK (until > since),   -- exclusive; null: until it is lifted
    placed_by text        NOT NULL,
    four_eyes boolean     NOT NULL DEFAULT false,  -- only a second person may lift it
    lifted_at timestamptz,
    lifted_by text,
    CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
);
CREATE INDEX payout_hold_open ON clearing.payout_hold (party_id) WHERE lifted_at IS NULL;

-- Bank accounts as submitted, each version kept. Payouts wait while one is pending, until a second person approves it.
CREATE TABLE clearing.bank_details (
    party_id     text        NOT NULL REFERENCES clearing.party,
    version      integer     NOT NULL CHECK (version >= 1),
    name         text        NOT NULL,
    iban         text        NOT NULL,
    bic          text,
    -- Required by the payee on every payment: QRR or RF...
    reference    text        CHECK (length(reference) BETWEEN 5 AND 27),
    street       text        NOT NULL,
    building     text        NOT NULL,
    post_code    text        NOT NULL,
    town         text        NOT NULL CHECK (town <> ''),
    country      char(2)     NOT NULL,
    state        text        NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'retired')),
    submitted_by text        NOT NULL,
    submitted_at timestamptz NOT NULL,
    decided_by   text        CHECK (lower(decided_by) <> lower(submitted_by)),  -- four-eyes approval
    decided_at   timestamptz,
    PRIMARY KEY (party_id, version),
    CHECK ((state = 'pending') = (decided_by IS NULL)),
    CHECK ((decided_by IS NULL) = (decided_at IS NULL))
);
CREATE UNIQUE INDEX bank_details_one_approved ON clearing.bank_details (party_id) WHERE state = 'approved';
CREATE UNIQUE INDEX bank_details_one_pending ON clearing.bank_details (party_id) WHERE state = 'pending';

-- One payment to one party in one currency for one period. Its amount is the sum of the payables that point to it. Its
-- states are those of clearing/payouts/disbursement.py and docs/state_machines.md; a test compares the three.
CREATE TABLE clearing.disbursement (
    id               uuid        PRIMARY KEY,
    party_id         text        NOT NULL REFERENCES clearing.party,
    currency         char(3)     NOT NULL,
    period           date        NOT NULL,  -- the party's local day of the run
    amount_minor     bigint      NOT NULL CHECK (amount_minor > 0),
    rail             text        NOT NULL DEFAULT 'psp' CHECK (rail IN ('psp', 'bank')),
    destination      text        NOT NULL,  -- the connected account or bank account at planning
    end_to_end_id    text        NOT NULL UNIQUE CHECK (length(end_to_end_id) <= 35),  -- ISO 20022 Max35Text
    state            text        NOT NULL CHECK (state IN (
        'planned', 'cancelled', 'requested', 'outcome_unknown', 'paid', 'failed', 'returned')),
    approvals_needed smallint    NOT NULL DEFAULT 0 CHECK (approvals_needed BETWEEN 0 AND 2),
    planned_at       timestamptz NOT NULL,
    requested_at     timestamptz,
    finished_at      timestamptz,
    returned_at      timestamptz,
    attempts         integer     NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz,           -- when an unknown outcome is looked up again
    rail_reference   text,                  -- the rail's own id of the payment
    failure          text,
    CHECK ((state IN ('planned', 'cancelled')) = (requested_at IS NULL)),
    CHECK ((state IN ('cancelled', 'paid', 'failed', 'returned')) = (finished_at IS NOT NULL)),
    CHECK ((state IN ('cancelled', 'failed', 'returned')) = (failure IS NOT NULL)),
    CHECK ((state = 'returned') = (returned_at IS NOT NULL)),
    CHECK (state <> 'paid' OR rail_reference IS NOT NULL)
);
-- Never two live payments to one party for one period.
CREATE UNIQUE INDEX disbursement_once ON clearing.disbursement (party_id, currency, period)
    WHERE state NOT IN ('cancelled', 'failed', 'returned');
CREATE INDEX disbursement_open ON clearing.disbursement (state, planned_at)
    WHERE state IN ('planned', 'requested', 'outcome_unknown');
CREATE INDEX disbursement_planned ON clearing.disbursement (party_id) WHERE state = 'planned';
CREATE INDEX disbursement_day ON clearing.disbursement (period);
-- How often a party's day was tried, and a party's payments: read for each sum that is due.
CREATE INDEX disbursement_period ON clearing.disbursement (party_id, currency, period);

-- Who approved a disbursement that needs two people; the key keeps one person from being both.
CREATE TABLE clearing.disbursement_approval (
    disbursement_id uuid        NOT NULL REFERENCES clearing.disbursement,
    approver        text        NOT NULL CHECK (approver <> '' AND approver = lower(approver)),
    approved_at     timestamptz NOT NULL,
    PRIMARY KEY (disbursement_id, approver)
);

-- What a returned disbursement had netted: its payables are open again and go into another one.
CREATE TABLE clearing.returned_payable (
    shard           smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    subject_id      uuid     NOT NULL,
    kind            text     NOT NULL,
    reference       text     NOT NULL,
    party_id        text     NOT NULL,
    disbursement_id uuid     NOT NULL,
    amount_minor    bigint   NOT NULL CHECK (amount_minor <> 0),
    due_date        date     NOT NULL,
    PRIMARY KEY (shard, subject_id, kind, reference, party_id, disbursement_id)
);
CREATE INDEX returned_payable_disbursement ON clearing.returned_payable (disbursement_id);

-- What was withheld from a disbursement, and when it is released.
CREATE TABLE clearing.reserve (
    disbursement_id uuid        PRIMARY KEY,  -- the subject of both entries
    party_id        text        NOT NULL REFERENCES clearing.party,
    currency        char(3)     NOT NULL,
    amount_minor    bigint      NOT NULL CHECK (amount_minor > 0),
    held_on         date        NOT NULL,
    release_on      date        NOT NULL CHECK (release_on > held_on),
    released_at     timestamptz
);
CREATE INDEX reserve_open ON clearing.reserve (release_on) WHERE released_at IS NULL;
CREATE INDEX reserve_party ON clearing.reserve (party_id, release_on) WHERE released_at IS NULL;

-- What the forecast of a day expected to be paid, compared with what was paid once that day has come.
CREATE TABLE clearing.forecast_snapshot (
    forecast_on  date     NOT NULL,
    party_id     text     NOT NULL,
    currency     char(3)  NOT NULL,
    pay_on       date     NOT NULL,
    days_ahead   smallint NOT NULL CHECK (days_ahead >= 0),  -- clearing days of the party from forecast_on
    amount_minor bigint   NOT NULL,
    PRIMARY KEY (forecast_on, party_id, currency, pay_on)
);
CREATE INDEX forecast_snapshot_day ON clearing.forecast_snapshot (pay_on, forecast_on);

-- The days on which a forecast was made, also those that expected nothing.
CREATE TABLE clearing.forecast_run (
    forecast_on date        PRIMARY KEY,
    ran_at      timestamptz NOT NULL
);

-- How far the payments of a day were from their forecast; counted again for some days, because a bank answers late.
CREATE TABLE clearing.forecast_error (
    pay_on      date    NOT NULL,
    ahead       text    NOT NULL CHECK (ahead IN ('day', 'terms')),
    currency    char(3) NOT NULL,
    error_minor bigint  NOT NULL CHECK (error_minor >= 0),
    paid_minor  bigint  NOT NULL,
    payments    bigint  NOT NULL,
    PRIMARY KEY (pay_on, ahead, currency)
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Settlement statements.
-- ---------------------------------------------------------------------------------------------------------------------

-- One statement for each disbursement that was made, numbered by party and currency and frozen when it is first
-- written. It opens with the closing balance of the one before, to the unit: what commits late falls into the next.
CREATE TABLE clearing.settlement_statement (
    disbursement_id uuid        PRIMARY KEY REFERENCES clearing.disbursement,
    party_id        text        NOT NULL REFERENCES clearing.party,
    currency        char(3)     NOT NULL,
    number          integer     NOT NULL CHECK (number >= 1),
    booked_at       timestamptz NOT NULL,                              -- when the disbursement was posted
    chains          smallint[]  NOT NULL,  -- of the journal; the statement covers each up to its position
    positions       bigint[]    NOT NULL CHECK (cardinality(positions) = cardinality(chains)),
    balance_minor   bigint      NOT NULL,                              -- the account after all of these batches
    opening_minor   bigint      NOT NULL,
    closing_minor   bigint      NOT NULL,
    head            text        NOT NULL CHECK (head IS JSON OBJECT),  -- the party, holds and documents at that time
    line_count      bigint      CHECK (line_count > 0),
    sha256          text        CHECK (length(sha256) = 64),  -- of all its records; null until it was read once
    issued_at       timestamptz NOT NULL,
    UNIQUE (party_id, currency, number),
    CHECK ((line_count IS NULL) = (sha256 IS NULL))
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Bank transfers.
-- ---------------------------------------------------------------------------------------------------------------------

-- A payment file, stored whole before a byte of it leaves: written again, it is the same file under the same id.
CREATE TABLE clearing.payment_file (
    message_id    text        PRIMARY KEY CHECK (length(message_id) <= 35),  -- the bank rejects a second one
    created_at    timestamptz NOT NULL,
    content       bytea       NOT NULL,
    sha256        text        NOT NULL UNIQUE CHECK (length(sha256) = 64),
    payment_count integer     NOT NULL CHECK (payment_count > 0),
    control_sum   numeric     NOT NULL CHECK (control_sum > 0),
    sent_at       timestamptz  -- null: stored, not known to have reached the bank
);

-- The disbursements of a payment file.
CREATE TABLE clearing.payment_file_item (
    disbursement_id uuid PRIMARY KEY REFERENCES clearing.disbursement,  -- in one file, for ever
    message_id      text NOT NULL REFERENCES clearing.payment_file,
    batch_id        text NOT NULL
);
CREATE INDEX payment_file_item_file ON clearing.payment_file_item (message_id);

-- Every message of the bank that was imported or rejected, by the hash of its bytes: a repeat is recognized.
CREATE TABLE clearing.bank_message (
    sha256      text        PRIMARY KEY CHECK (length(sha256) = 64),
    name        text        NOT NULL,                                 -- the file's name when it arrived
    kind        text        NOT NULL CHECK (kind IN ('pain.002', 'camt.052', 'camt.053', 'camt.054', 'unknown')),
    state       text        NOT NULL CHECK (state IN ('imported', 'rejected')),
    size_bytes  bigint      NOT NULL CHECK (size_bytes >= 0),
    received_at timestamptz NOT NULL,
    settled     integer     NOT NULL DEFAULT 0 CHECK (settled >= 0),  -- disbursements that it confirmed
    rejected    integer     NOT NULL DEFAULT 0 CHECK (rejected >= 0),
    returned    integer     NOT NULL DEFAULT 0 CHECK (returned >= 0),
    new_lines   integer     NOT NULL DEFAULT 0 CHECK (new_lines >= 0),
    reason      text,                                                 -- why it was rejected
    reported_by text        NOT NULL,                                 -- the API key that sent it, or the inbox
    CHECK ((state = 'rejected') = (reason IS NOT NULL))
);
CREATE INDEX bank_message_received ON clearing.bank_message (received_at DESC, sha256);

-- The balances of our account as the bank reports them: the first and last of each statement.
CREATE TABLE clearing.bank_balance (
    iban         text        NOT NULL,
    currency     char(3)     NOT NULL,
    on_day       date        NOT NULL,
    code         text        NOT NULL,  -- OPBD opening, CLBD closing, as the bank names them
    statement_id text        NOT NULL,
    sequence     bigint,
    amount_minor bigint      NOT NULL,  -- credit positive
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (iban, currency, on_day, code, statement_id)
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Approvals.
-- ---------------------------------------------------------------------------------------------------------------------

-- A proposed booking: what is to be booked and why, who proposed it and, above a limit, who approved it. What is booked
-- is what was proposed, to the letter; a request that isn't booked has moved nothing.
CREATE TABLE clearing.approval_request (
    id                uuid        PRIMARY KEY,  -- derived from what it decides on: proposed twice, it is one request
    resolution        text        NOT NULL CHECK (resolution IN (
        'match', 'suspense', 'fee', 'write_off', 'own_funds', 'psp_payout', 'receivable_payment', 'set_off',
        'receivable_write_off')),
    state             text        NOT NULL CHECK (state IN ('pending', 'booked', 'rejected')),
    subject           text        NOT NULL CHECK (subject IN ('difference', 'suspense', 'receivable')),
    pair              text        NOT NULL DEFAULT '',                     -- of a difference
    reference         text        NOT NULL,  -- of a difference; the suspense item's id; the party that owes
    party_id          text        REFERENCES clearing.party,
    currency          char(3)     NOT NULL,
    amount_minor      bigint      NOT NULL,  -- money in positive, as our balances change or the receivable shrinks
    -- Transfers, payables and FX locks, as they are booked.
    entries           text        NOT NULL CHECK (entries IS JSON ARRAY),
    reason            text        NOT NULL CHECK (reason <> ''),
    requires_approval boolean     NOT NULL,
    proposed_by       text        NOT NULL CHECK (proposed_by <> ''),
    proposed_at       timestamptz NOT NULL,
    decided_by        text,
    decided_at        timestamptz,
    CHECK ((state = 'pending') = (decided_by IS NULL)),
    CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    CHECK (NOT requires_approval OR state <> 'booked' OR lower(decided_by) <> lower(proposed_by))
);
CREATE INDEX approval_request_pending ON clearing.approval_request (proposed_at) WHERE state = 'pending';

-- The amount above which a second person approves. A currency without a row has the limit that ships with the code.
CREATE TABLE clearing.approval_limit (
    currency     char(3)     PRIMARY KEY,
    limit_minor  bigint      NOT NULL CHECK (limit_minor >= 0),
    -- Whoever raised a limit stays under the one before: the lowest since somebody else set it; null: the shipped one.
    before_minor bigint      CHECK (before_minor >= 0),
    set_by       text        NOT NULL,
    set_at       timestamptz NOT NULL
);

-- A party's consent that a receivable in one currency may be set off against its payables in another.
CREATE TABLE clearing.set_off_consent (
    party_id    text NOT NULL REFERENCES clearing.party,
    agreed_on   date NOT NULL,
    evidence    text NOT NULL CHECK (evidence <> ''),  -- where the consent is kept
    recorded_by text NOT NULL,
    ended_on    date CHECK (ended_on >= agreed_on),    -- not valid from then on
    PRIMARY KEY (party_id, agreed_on)
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Reconciliation.
-- ---------------------------------------------------------------------------------------------------------------------

-- One movement as one side reports it. Three pairs of sides are compared: our books, the PSP, the bank.
CREATE TABLE clearing.reconciliation_item (
    pair                text        NOT NULL CHECK (pair IN ('book_psp', 'book_bank', 'psp_bank')),
    side                text        NOT NULL CHECK (side IN ('left', 'right')),  -- left is named first in the pair
    source_id           text        NOT NULL,  -- names it for ever on its side: reported twice, it is kept once
    reference           text        NOT NULL,  -- by which both sides know it; a line without one has its own id
    kind                text        NOT NULL,
    amount_minor        bigint      NOT NULL,                              -- money in positive
    fee_minor           bigint      NOT NULL DEFAULT 0,                    -- what the PSP kept of it, beside the amount
    currency            char(3)     NOT NULL,
    occurred_on         date        NOT NULL,
    account             text        NOT NULL DEFAULT '',                   -- the bank account of a bank line
    detail              text        NOT NULL DEFAULT '',
    recorded_at         timestamptz NOT NULL,
    booked_at           timestamptz,  -- of PSP payouts and their bank lines: when the journal had them
    matched_at          timestamptz,
    match               text        CHECK (match IN ('exact', 'tolerance', 'merged', 'cancelled', 'resolved')),
    approval_request_id uuid        REFERENCES clearing.approval_request,  -- by which it was resolved
    PRIMARY KEY (pair, side, source_id),
    CHECK ((matched_at IS NULL) = (match IS NULL)),
    CHECK ((match IS NOT DISTINCT FROM 'resolved') = (approval_request_id IS NOT NULL))
);
CREATE INDEX reconciliation_item_open ON clearing.reconciliation_item (pair, reference) WHERE matched_at IS NULL;
CREATE INDEX reconciliation_item_matched ON clearing.reconciliation_item (pair, reference) WHERE matched_at IS NOT NULL;
CREATE INDEX reconciliation_item_unbooked ON clearing.reconciliation_item (side, source_id)
    WHERE pair = 'psp_bank' AND booked_at IS NULL;
CREATE INDEX reconciliation_item_account ON clearing.reconciliation_item (account, currency, occurred_on)
    INCLUDE (amount_minor) WHERE side = 'right' AND pair IN ('book_bank', 'psp_bank');

-- What two sides report differently: since when, who owns it, and what could be booked. It stays until both sides agree
-- or a person resolves it; nothing here moves money.
CREATE TABLE clearing.reconciliation_difference (
    pair          text        NOT NULL,
    reference     text        NOT NULL,
    id            uuid        GENERATED ALWAYS AS (md5(pair || '|' || reference || '|' || currency)::uuid) STORED,
    type          text        NOT NULL,
    amount_minor  bigint      NOT NULL,               -- left minus right
    currency      char(3)     NOT NULL,
    since         date        NOT NULL,               -- the day of its oldest item
    owner         text        NOT NULL,
    proposal      text        NOT NULL CHECK (proposal IS JSON OBJECT),
    candidates    text[]      NOT NULL DEFAULT '{}',  -- references that may belong to it; a person decides
    detail        text        NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    run           uuid        NOT NULL,               -- the comparison that saw it last
    resolved_at   timestamptz,
    PRIMARY KEY (pair, reference, currency)
);
CREATE INDEX reconciliation_difference_open ON clearing.reconciliation_difference (since) WHERE resolved_at IS NULL;
CREATE UNIQUE INDEX reconciliation_difference_id ON clearing.reconciliation_difference (id);

-- How far our own books were read, and when each comparison ran last.
CREATE TABLE clearing.reconciliation_run (
    name    text        PRIMARY KEY,
    read_to timestamptz NOT NULL,
    ran_at  timestamptz NOT NULL
);

-- Money in suspense: its owner, since when, and how much of it is not identified yet. Positive: received.
CREATE TABLE clearing.suspense_item (
    id              uuid    PRIMARY KEY REFERENCES clearing.approval_request,  -- the request that booked it to suspense
    currency        char(3) NOT NULL,
    amount_minor    bigint  NOT NULL CHECK (amount_minor <> 0),
    remaining_minor bigint  NOT NULL,
    since           date    NOT NULL,
    owner           text    NOT NULL CHECK (owner <> ''),
    detail          text    NOT NULL,
    CHECK (remaining_minor = 0 OR sign(remaining_minor) = sign(amount_minor)),
    CHECK (abs(remaining_minor) <= abs(amount_minor))
);
CREATE INDEX suspense_item_open ON clearing.suspense_item (since) WHERE remaining_minor <> 0;

-- ---------------------------------------------------------------------------------------------------------------------
-- Documents.
-- ---------------------------------------------------------------------------------------------------------------------

-- The next number of an issuer's series. The row is locked while a document is written, so a series has no gap.
CREATE TABLE clearing.document_series (
    issuer_id   text   NOT NULL REFERENCES clearing.party,
    series      text   NOT NULL,
    next_number bigint NOT NULL DEFAULT 1 CHECK (next_number >= 1),
    PRIMARY KEY (issuer_id, series)
);

-- An invoice, self-billed invoice or credit note, as issued.
CREATE TABLE clearing.document (
    issuer_id      text        NOT NULL,
    series         text        NOT NULL,
    number         bigint      NOT NULL CHECK (number >= 1),
    type_code      smallint    NOT NULL CHECK (type_code IN (380, 381, 389)),  -- UNTDID 1001
    supplier_id    text        NOT NULL,
    customer_id    text        NOT NULL,
    period_start   date        NOT NULL,
    period_end     date        NOT NULL CHECK (period_end >= period_start),
    subject        text        NOT NULL DEFAULT '',  -- the session that it documents; empty: the whole period
    currency       char(3)     NOT NULL,
    net_minor      bigint      NOT NULL,
    vat_minor      bigint      NOT NULL,
    gross_minor    bigint      NOT NULL CHECK (gross_minor = net_minor + vat_minor),
    content        jsonb       NOT NULL,
    content_sha256 text        CHECK (length(content_sha256) = 64),  -- of its UBL and CII
    issued_at      timestamptz NOT NULL,
    PRIMARY KEY (issuer_id, series, number),
    FOREIGN KEY (issuer_id, series) REFERENCES clearing.document_series,
    CONSTRAINT document_once
        UNIQUE (supplier_id, customer_id, type_code, currency, period_start, period_end, series, subject)
);

-- Up to which day (inclusive, the platform's) a party's supplies are on documents; the next period begins after it.
CREATE TABLE clearing.document_progress (
    party_id      text PRIMARY KEY REFERENCES clearing.party,
    documented_to date NOT NULL
);

-- A document that could not be issued, and why. It is tried again daily; the row is deleted when it is issued.
CREATE TABLE clearing.document_exception (
    supplier_id  text        NOT NULL,
    customer_id  text        NOT NULL,
    currency     char(3)     NOT NULL,
    period_start date        NOT NULL,
    period_end   date        NOT NULL CHECK (period_end >= period_start),
    party_id     text        NOT NULL REFERENCES clearing.party,  -- whose cadence gave the period
    reason       text        NOT NULL CHECK (reason <> ''),
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    PRIMARY KEY (supplier_id, customer_id, currency, period_start, period_end)
);

-- The seller as printed, stored once and named by its content, so that a document reads the same for ever.
CREATE TABLE clearing.document_seller (
    id      text PRIMARY KEY CHECK (length(id) = 16),  -- the first 16 hex digits of the content's SHA-256
    content text NOT NULL CHECK (content IS JSON OBJECT)
);

-- Documents for drivers: one for each supply to a driver and one for each correction of it, numbered without gaps.
CREATE TABLE clearing.driver_document (
    shard              smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    session_id         uuid        NOT NULL,
    kind               text        NOT NULL,             -- of its journal entry
    reference          text        NOT NULL DEFAULT '',  -- of its journal entry
    supplier_id        text        NOT NULL,
    series             text        NOT NULL,
    number             bigint      NOT NULL CHECK (number >= 1),
    type_code          smallint    NOT NULL CHECK (type_code IN (380, 381)),  -- UNTDID 1001
    currency           char(3)     NOT NULL,
    net_minor          bigint      NOT NULL,             -- signed as in the journal: negative on a credit note
    vat_minor          bigint      NOT NULL,
    ruling_id          text        NOT NULL,
    seller_id          text        NOT NULL,             -- in document_seller
    place              text        NOT NULL,             -- tax jurisdiction of the charge point
    sale_day           date        NOT NULL,             -- the CPO's
    energy_kwh         numeric,
    preceding          text,                             -- the document that this one corrects
    no_invoice_because text        NOT NULL DEFAULT '',  -- why it is only a proof of payment; empty: it is an invoice
    issued_on          date        NOT NULL,             -- the platform's day
    issued_at          timestamptz NOT NULL,
    PRIMARY KEY (shard, session_id, kind, reference),
    UNIQUE (shard, series, number),
    CHECK (shard = (get_byte(uuid_send(session_id), 15) & 63)),
    CHECK ((type_code = 381) = (net_minor + vat_minor < 0)),
    CHECK (type_code = 380 OR preceding IS NOT NULL)
);

-- How far each chain of the journal has driver documents: batches of a chain are numbered and committed in order.
CREATE TABLE clearing.document_cursor (
    chain    smallint PRIMARY KEY CHECK (chain >= 0),
    position bigint   NOT NULL CHECK (position >= 0)
);

-- Files as they were first handed out: the same bytes for ever, whatever typesets them later.
CREATE TABLE clearing.document_file (
    name      text        NOT NULL,  -- the document's number
    format    text        NOT NULL CHECK (format IN ('pdf', 'xml')),
    language  char(2)     NOT NULL,
    sha256    text        NOT NULL CHECK (length(sha256) = 64),
    content   bytea       NOT NULL,
    stored_at timestamptz NOT NULL,
    PRIMARY KEY (name, format, language)
);
