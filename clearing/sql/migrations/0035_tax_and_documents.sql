-- VAT registrations beside the seat's, evidence for each id, and documents by the party's own cadence.

-- Where a party is registered for VAT beside its seat, whose id stays in party.vat_id. Both days are inclusive.
CREATE TABLE clearing.party_vat_registration (
    party_id   text NOT NULL REFERENCES clearing.party,
    territory  text NOT NULL,
    vat_id     text NOT NULL CHECK (vat_id <> ''),
    valid_from date NOT NULL,
    valid_to   date CHECK (valid_to >= valid_from),       -- null: open
    PRIMARY KEY (party_id, territory, valid_from)
);

-- A finding is about one id: a party with several has several of one day.
ALTER TABLE clearing.party_vat_evidence DROP CONSTRAINT party_vat_evidence_pkey;
ALTER TABLE clearing.party_vat_evidence ADD PRIMARY KEY (party_id, vat_id, effective_from);

-- When a register was asked about an id last without an answer: the old finding stays, with its own date.
CREATE TABLE clearing.party_vat_attempt (
    party_id text        NOT NULL REFERENCES clearing.party,
    vat_id   text        NOT NULL,
    tried_at timestamptz NOT NULL,
    problem  text        NOT NULL,                        -- what the register said, for example MS_UNAVAILABLE
    PRIMARY KEY (party_id, vat_id)
);

ALTER TABLE clearing.party
    ADD COLUMN document_cadence text NOT NULL DEFAULT 'monthly'
        CHECK (document_cadence IN ('session', 'daily', 'weekly', 'monthly'));

-- Up to which day (inclusive, the platform's) a party's supplies are on documents; the next period begins after it.
CREATE TABLE clearing.document_progress (
    party_id      text PRIMARY KEY REFERENCES clearing.party,
    documented_to date NOT NULL
);

-- What may not be issued yet, and why: tried again daily, gone once it is issued.
CREATE TABLE clearing.document_refusal (
    supplier_id  text        NOT NULL,
    customer_id  text        NOT NULL,
    currency     char(3)     NOT NULL,
    period_start date        NOT NULL,
    period_end   date        NOT NULL CHECK (period_end >= period_start),
    party_id     text        NOT NULL REFERENCES clearing.party, -- by whose cadence the period was drawn
    reason       text        NOT NULL CHECK (reason <> ''),
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    PRIMARY KEY (supplier_id, customer_id, currency, period_start, period_end)
);

-- A document of one session names it; else it covers the whole period.
ALTER TABLE clearing.document
    ADD COLUMN subject text NOT NULL DEFAULT '',
    ADD COLUMN content_sha256 text CHECK (length(content_sha256) = 64); -- of ubl and cii; null: issued before it was kept
ALTER TABLE clearing.document
    DROP CONSTRAINT document_supplier_id_customer_id_type_code_currency_period__key;
ALTER TABLE clearing.document ADD CONSTRAINT document_once
    UNIQUE (supplier_id, customer_id, type_code, currency, period_start, period_end, series, subject);

-- Files as they were first handed out: the same bytes for ever, whatever typesets them later.
CREATE TABLE clearing.document_file (
    name      text        NOT NULL,                       -- the document's number
    format    text        NOT NULL CHECK (format IN ('pdf', 'xml')),
    language  char(2)     NOT NULL,
    sha256    text        NOT NULL CHECK (length(sha256) = 64),
    content   bytea       NOT NULL,
    stored_at timestamptz NOT NULL,
    PRIMARY KEY (name, format, language)
);
