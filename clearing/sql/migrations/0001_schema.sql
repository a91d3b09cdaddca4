-- The schema of clearing: who is owed what, by which agreement, at which tax and rate, and the journal that proves it.
--
-- Money is a bigint of minor units beside its ISO 4217 code. Time is timestamptz. Days are local days of whoever they bind.
-- Session-lane tables carry `lane` (0 to 63, the session id's last byte & 63) first in every key, so that the same
-- statements run on one PostgreSQL and, distributed by lane, on Citus. They have no trigger and no sequence:
-- the journal is balanced by construction, because a transfer is one row with two accounts and one positive amount.

CREATE SCHEMA IF NOT EXISTS clearing;

-- ---------------------------------------------------------------------------------------------------------------------
-- Reference tables: small, read by every lane.
-- ---------------------------------------------------------------------------------------------------------------------

-- A party that can owe or be owed. The id is a slug and part of account paths, so it never changes.
CREATE TABLE clearing.party (
    id                   text        PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    kind                 text        NOT NULL CHECK (kind IN ('platform', 'cpo', 'demand_partner', 'emsp', 'site_host')),
    name                 text        NOT NULL CHECK (name <> ''),
    country              char(2)     NOT NULL,            -- seat, ISO 3166-1
    territory            text        NOT NULL,            -- tax territory of the seat: mostly the country, or ES-CN, IT-LIVIGNO, XI
    vat_id               text,                            -- as registered, compact; proof of validity is in party_vat_evidence
    taxable_dealer       boolean     NOT NULL DEFAULT false, -- buys electricity to sell it on (Directive 2006/112/EC art. 38)
    small_business       boolean     NOT NULL DEFAULT false, -- may show no VAT of its own
    self_billing_since   date,                            -- from when the party lets the platform write its invoices
    settlement_currency  char(3)     NOT NULL,
    terms_days           smallint    NOT NULL DEFAULT 2 CHECK (terms_days BETWEEN 0 AND 60), -- T + n clearing days
    time_zone            text        NOT NULL,            -- IANA; the party's sales day is counted here
    cut_off_minute       smallint    NOT NULL DEFAULT 1440 CHECK (cut_off_minute BETWEEN 1 AND 1440), -- local minute of the day
                                                          -- from which a sale belongs to the next day; 1440 is midnight
    minimum_payout_minor bigint      NOT NULL DEFAULT 0 CHECK (minimum_payout_minor >= 0),
    connected_account    text,                            -- where a disbursement goes; none means payables wait
    payout_hold          text,                            -- a dated reason why nothing is paid out, else null
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL
);

-- Whether a VAT id was good, since when, and who said so. Read at the chargeable event, never "now".
CREATE TABLE clearing.party_vat_evidence (
    party_id       text        NOT NULL REFERENCES clearing.party,
    effective_from date        NOT NULL,                  -- the first day this finding holds
    vat_id         text        NOT NULL,
    valid          boolean     NOT NULL,
    source         text        NOT NULL,                  -- for example VIES, UID register, HMRC, declared
    reference      text        NOT NULL DEFAULT '',       -- the consultation number that the source gave
    checked_at     timestamptz NOT NULL,
    PRIMARY KEY (party_id, effective_from)
);

-- Who gets which part of a session's net. A version is never edited: a change is a new version with its own dates.
CREATE TABLE clearing.agreement (
    id                text        NOT NULL,
    version           integer     NOT NULL CHECK (version >= 1),
    cpo_id            text        NOT NULL REFERENCES clearing.party,
    demand_partner_id text        REFERENCES clearing.party, -- null: every demand partner without an agreement of its own
    valid_from        timestamptz NOT NULL,
    valid_until       timestamptz CHECK (valid_until > valid_from), -- exclusive; null is open-ended
    terms             jsonb       NOT NULL,               -- shares, order, bearers: clearing.agreement reads it
    terms_sha256      text        NOT NULL CHECK (length(terms_sha256) = 64),
    created_at        timestamptz NOT NULL,
    PRIMARY KEY (id, version)
);
CREATE INDEX agreement_of_cpo ON clearing.agreement (cpo_id, demand_partner_id, valid_from);

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

-- One row per kind of reference data, renewed with every change to it, so that a worker knows when to read it again.
CREATE TABLE clearing.reference_epoch (
    name  text PRIMARY KEY CHECK (name IN ('party', 'agreement', 'fx_rate')),
    epoch uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO clearing.reference_epoch (name) VALUES ('party'), ('agreement'), ('fx_rate');

-- ---------------------------------------------------------------------------------------------------------------------
-- The journal.
-- ---------------------------------------------------------------------------------------------------------------------

-- One batch of entries that were committed together, chained to the batch before it.
CREATE TABLE clearing.batch (
    id             uuid        PRIMARY KEY,
    chain          smallint    NOT NULL CHECK (chain >= 0), -- writers side by side have a chain each
    position       bigint      NOT NULL CHECK (position >= 1),
    booked_at      timestamptz NOT NULL,
    entry_count    integer     NOT NULL CHECK (entry_count > 0),
    transfer_count integer     NOT NULL CHECK (transfer_count > 0),
    blinding_key   bytea       NOT NULL CHECK (length(blinding_key) = 32), -- keeps one party's hashes from being guessed by another
    merkle_root    bytea       NOT NULL CHECK (length(merkle_root) = 32),
    previous_hash  bytea       NOT NULL CHECK (length(previous_hash) = 32), -- 32 zero bytes at position 1
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
CREATE INDEX account_delta_by_time ON clearing.account_delta (account, currency, booked_at) INCLUDE (debit_minor, credit_minor);

-- Balances at the instant a period was closed. Nothing is ever booked before that instant again.
CREATE TABLE clearing.account_snapshot (
    account      text        NOT NULL,
    currency     char(3)     NOT NULL,
    as_of        timestamptz NOT NULL,                    -- every delta booked before it is in
    debit_minor  bigint      NOT NULL,
    credit_minor bigint      NOT NULL,
    PRIMARY KEY (account, currency, as_of)
);

-- A closed period refuses back-dating: a batch whose booked_at lies before the last closed_until is not accepted.
CREATE TABLE clearing.closed_period (
    closed_until timestamptz PRIMARY KEY,                 -- exclusive
    closed_at    timestamptz NOT NULL,
    closed_by    text        NOT NULL
);

-- A journal entry: what happened, and everything it is linked to. At most one capture entry per session for ever.
CREATE TABLE clearing.entry (
    lane              smallint    NOT NULL CHECK (lane BETWEEN 0 AND 63),
    subject_id        uuid        NOT NULL,               -- the session; for treasury and payouts, the top-up or disbursement
    kind              text        NOT NULL CHECK (kind IN ('capture', 'reversal', 'refund', 'dispute', 'dispute_won',
                                                           'topup', 'partner_funding', 'disbursement', 'disbursement_return',
                                                           'fx_result')),
    reference         text        NOT NULL DEFAULT '',    -- tells two refunds of one session apart; empty for the capture
    batch_id          uuid        NOT NULL,
    booked_at         timestamptz NOT NULL,
    currency          char(3)     NOT NULL,
    gross_minor       bigint      NOT NULL CHECK (gross_minor >= 0),
    sale_at           timestamptz,                        -- the chargeable event
    cpo_id            text,
    demand_partner_id text,
    rail              text,
    territory         text,
    agreement_id      text,
    agreement_version integer,
    tariff_sha256     text,
    cdr_id            text,
    psp_object_id     text,
    priced_minor      bigint,                             -- what the tariff gives; more than gross only with a shortfall reason
    energy_kwh        numeric,
    legs              text        NOT NULL DEFAULT '[]' CHECK (legs IS JSON ARRAY), -- the supplies: supplier, customer, net, VAT,
                                                          -- ruling; text, because its very bytes are hashed
    flags             text[]      NOT NULL DEFAULT '{}',
    hash              bytea       NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (lane, subject_id, kind, reference),
    CHECK (lane = (get_byte(uuid_send(subject_id), 15) & 63)),
    CHECK (kind <> 'capture' OR (reference = '' AND gross_minor > 0 AND sale_at IS NOT NULL AND cpo_id IS NOT NULL
                                 AND rail IN ('card', 'app', 'plug_and_charge') AND territory IS NOT NULL
                                 AND agreement_id IS NOT NULL AND agreement_version IS NOT NULL
                                 AND length(tariff_sha256) = 64 AND cdr_id IS NOT NULL AND priced_minor >= gross_minor))
);
CREATE INDEX entry_of_batch ON clearing.entry (batch_id);

-- A decided VAT treatment, stored once and named by its content: which rule, whose rate, who pays, what an invoice says.
CREATE TABLE clearing.vat_ruling (
    id      text PRIMARY KEY CHECK (length(id) = 16),     -- the first 16 hex digits of the content's SHA-256
    content text NOT NULL CHECK (content IS JSON OBJECT)
);

-- A transfer moves a positive amount of one currency from the debited to the credited account.
CREATE TABLE clearing.transfer (
    lane           smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    subject_id     uuid     NOT NULL,
    kind           text     NOT NULL,
    reference      text     NOT NULL DEFAULT '',
    ordinal        smallint NOT NULL CHECK (ordinal >= 0),
    debit_account  text     NOT NULL,
    credit_account text     NOT NULL CHECK (credit_account <> debit_account),
    amount_minor   bigint   NOT NULL CHECK (amount_minor > 0),
    currency       char(3)  NOT NULL,
    PRIMARY KEY (lane, subject_id, kind, reference, ordinal)
    -- No foreign key to the entry: it is written by the same statement batch, and one check per row would cost more than
    -- all other work of the batch. The audit proves that no transfer lacks its entry.
);

-- The rate of a session and currency pair, fixed at capture and used by every refund and clawback after it.
CREATE TABLE clearing.fx_lock (
    lane        smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    session_id  uuid     NOT NULL,
    base        char(3)  NOT NULL,                        -- the currency captured
    quote       char(3)  NOT NULL CHECK (quote <> base),  -- the currency a party is settled in
    rate        numeric  NOT NULL CHECK (rate > 0),       -- before markup
    source      text     NOT NULL,
    rate_date   date     NOT NULL,
    markup_bps  smallint NOT NULL CHECK (markup_bps BETWEEN 0 AND 1000),
    PRIMARY KEY (lane, session_id, base, quote)
);

-- What one entry owes one party: positive to be paid, negative to be netted against later sales. Due from the start.
CREATE TABLE clearing.payable (
    lane            smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    subject_id      uuid     NOT NULL,                    -- the session
    kind            text     NOT NULL,
    reference       text     NOT NULL DEFAULT '',
    party_id        text     NOT NULL,
    amount_minor    bigint   NOT NULL CHECK (amount_minor <> 0),
    currency        char(3)  NOT NULL,                    -- the party's settlement currency at that time
    due_date        date     NOT NULL,
    state           text     NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'scheduled', 'paid')),
    disbursement_id uuid,
    PRIMARY KEY (lane, subject_id, kind, reference, party_id),
    CHECK ((state = 'open') = (disbursement_id IS NULL))
);
CREATE INDEX payable_open ON clearing.payable (party_id, currency, due_date) WHERE state = 'open';
CREATE INDEX payable_of_disbursement ON clearing.payable (disbursement_id) WHERE disbursement_id IS NOT NULL;

-- How many sessions each batch added to an agreement's month, for agreements with tiers only. Appended, never updated.
CREATE TABLE clearing.agreement_volume (
    agreement_id text    NOT NULL,
    month        date    NOT NULL CHECK (extract(day FROM month) = 1), -- in the CPO's time zone
    batch_id     uuid    NOT NULL,
    sessions     integer NOT NULL CHECK (sessions > 0),
    PRIMARY KEY (agreement_id, month, batch_id)
);

-- A session that could not be cleared, and why. It holds nobody else up; clearing it later marks it resolved.
CREATE TABLE clearing.parked (
    lane        smallint    NOT NULL CHECK (lane BETWEEN 0 AND 63),
    session_id  uuid        NOT NULL,
    reason      text        NOT NULL,
    detail      text        NOT NULL,
    attempts    integer     NOT NULL DEFAULT 1,
    parked_at   timestamptz NOT NULL,                     -- the first time
    last_at     timestamptz NOT NULL,
    resolved_at timestamptz,
    PRIMARY KEY (lane, session_id)
);
CREATE INDEX parked_open ON clearing.parked (parked_at) WHERE resolved_at IS NULL;

-- ---------------------------------------------------------------------------------------------------------------------
-- Paying out.
-- ---------------------------------------------------------------------------------------------------------------------

-- One payment to one party in one currency for one period. Its amount is the sum of the payables that point to it.
CREATE TABLE clearing.disbursement (
    id              uuid        PRIMARY KEY,
    party_id        text        NOT NULL REFERENCES clearing.party,
    currency        char(3)     NOT NULL,
    period          date        NOT NULL,                 -- the party's local day of the run
    amount_minor    bigint      NOT NULL CHECK (amount_minor > 0),
    destination     text        NOT NULL,                 -- the connected account at planning
    end_to_end_id   text        NOT NULL UNIQUE CHECK (length(end_to_end_id) <= 35), -- ISO 20022 Max35Text
    state           text        NOT NULL CHECK (state IN ('planned', 'requested', 'outcome_unknown', 'paid', 'failed')),
    planned_at      timestamptz NOT NULL,
    requested_at    timestamptz,
    finished_at     timestamptz,
    attempts        integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,                          -- when an unknown outcome is asked for again
    rail_reference  text,                                 -- the rail's own id of the payment
    failure         text,
    CHECK ((state = 'planned') = (requested_at IS NULL)),
    CHECK ((state IN ('paid', 'failed')) = (finished_at IS NOT NULL)),
    CHECK (state <> 'paid' OR rail_reference IS NOT NULL),
    CHECK ((state = 'failed') = (failure IS NOT NULL))
);
-- Never two live payments to one party for one period.
CREATE UNIQUE INDEX disbursement_once ON clearing.disbursement (party_id, currency, period) WHERE state <> 'failed';
CREATE INDEX disbursement_open ON clearing.disbursement (state, planned_at) WHERE state IN ('planned', 'requested', 'outcome_unknown');

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
    issuer_id    text        NOT NULL,
    series       text        NOT NULL,
    number       bigint      NOT NULL CHECK (number >= 1),
    type_code    smallint    NOT NULL CHECK (type_code IN (380, 381, 389)), -- UNTDID 1001
    supplier_id  text        NOT NULL,
    customer_id  text        NOT NULL,
    period_start date        NOT NULL,
    period_end   date        NOT NULL CHECK (period_end >= period_start),
    currency     char(3)     NOT NULL,
    net_minor    bigint      NOT NULL,
    vat_minor    bigint      NOT NULL,
    gross_minor  bigint      NOT NULL CHECK (gross_minor = net_minor + vat_minor),
    content      jsonb       NOT NULL,
    issued_at    timestamptz NOT NULL,
    PRIMARY KEY (issuer_id, series, number),
    FOREIGN KEY (issuer_id, series) REFERENCES clearing.document_series,
    UNIQUE (supplier_id, customer_id, type_code, currency, period_start, period_end, series)
);
