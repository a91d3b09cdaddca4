-- Entries of bank statements, and the notifications that detail them: a movement is booked once, whatever reports it.

-- One movement of our account at the bank, as a statement states it.
CREATE TABLE clearing.bank_entry (
    entry_id     text        PRIMARY KEY,  -- from the entry's own facts: the same in any statement
    iban         text        NOT NULL,
    currency     char(3)     NOT NULL,
    amount_minor bigint      NOT NULL,     -- money in positive
    booked_on    date        NOT NULL,
    value_on     date        NOT NULL,
    dated        boolean     NOT NULL,     -- false: the entry has no day, the statement's was taken
    refs         text[]      NOT NULL,     -- every reference that the bank gives
    line_id      text,                     -- its only line, while nobody has said what it sums; null: itemized
    noticed_at   timestamptz,              -- when a notification was attached to it
    recorded_at  timestamptz NOT NULL
);
CREATE INDEX bank_entry_unnoticed ON clearing.bank_entry (iban, currency, amount_minor) WHERE noticed_at IS NULL;

-- An entry of a notification (camt.054) or intraday report (camt.052): details of a movement, never a movement itself.
CREATE TABLE clearing.bank_notice (
    notice_id    text        PRIMARY KEY,
    message      text        NOT NULL REFERENCES clearing.bank_message,
    iban         text        NOT NULL,
    currency     char(3)     NOT NULL,
    amount_minor bigint      NOT NULL,
    booked_on    date        NOT NULL,
    value_on     date        NOT NULL,
    dated        boolean     NOT NULL,
    refs         text[]      NOT NULL,
    itemized     boolean     NOT NULL,
    lines        text        NOT NULL CHECK (lines IS JSON ARRAY),
    entry_id     text        REFERENCES clearing.bank_entry,  -- null: no statement has the movement yet
    recorded_at  timestamptz NOT NULL
);
CREATE INDEX bank_notice_open ON clearing.bank_notice (iban, currency, booked_on) WHERE entry_id IS NULL;
