-- Statements of payments: what stood on the party's account before and after each, frozen when it is first written.

-- One statement for each payment that was made, numbered by party and currency. Its opening is the closing of the one
-- before it, to the unit: what a writer commits late falls into the next.
CREATE TABLE clearing.payment_statement (
    disbursement_id uuid        PRIMARY KEY REFERENCES clearing.disbursement,
    party_id        text        NOT NULL REFERENCES clearing.party,
    currency        char(3)     NOT NULL,
    number          integer     NOT NULL CHECK (number >= 1),
    booked_at       timestamptz NOT NULL,                  -- when the payment was posted
    chains          smallint[]  NOT NULL,                  -- how far each chain of the journal is within it
    positions       bigint[]    NOT NULL CHECK (cardinality(positions) = cardinality(chains)),
    balance_minor   bigint      NOT NULL,                  -- the account after all of these batches
    opening_minor   bigint      NOT NULL,
    closing_minor   bigint      NOT NULL,
    head            text        NOT NULL CHECK (head IS JSON OBJECT), -- the party, holds and documents as they stood
    line_count      bigint      CHECK (line_count > 0),
    sha256          text        CHECK (length(sha256) = 64), -- of all its records; null until it was read once
    issued_at       timestamptz NOT NULL,
    UNIQUE (party_id, currency, number),
    CHECK ((line_count IS NULL) = (sha256 IS NULL))
);

-- What a payment had netted that came back: its payables are open again and go into another one.
CREATE TABLE clearing.returned_payable (
    lane            smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    subject_id      uuid     NOT NULL,
    kind            text     NOT NULL,
    reference       text     NOT NULL,
    party_id        text     NOT NULL,
    disbursement_id uuid     NOT NULL,
    amount_minor    bigint   NOT NULL CHECK (amount_minor <> 0),
    due_date        date     NOT NULL,
    PRIMARY KEY (lane, subject_id, kind, reference, party_id, disbursement_id)
);
CREATE INDEX returned_payable_of_disbursement ON clearing.returned_payable (disbursement_id);
