-- Documents for drivers: one for each supply to a driver and each correction of it, numbered without gaps.

-- Who sold, as printed: stored once and named by its content, so that a document reads the same for ever.
CREATE TABLE clearing.document_seller (
    id      text PRIMARY KEY CHECK (length(id) = 16),     -- the first 16 hex digits of the content's SHA-256
    content text NOT NULL CHECK (content IS JSON OBJECT)
);

CREATE TABLE clearing.driver_document (
    lane               smallint    NOT NULL CHECK (lane BETWEEN 0 AND 63),
    session_id         uuid        NOT NULL,
    kind               text        NOT NULL,              -- of the journal entry that it is about
    reference          text        NOT NULL DEFAULT '',
    supplier_id        text        NOT NULL,
    series             text        NOT NULL,
    number             bigint      NOT NULL CHECK (number >= 1),
    type_code          smallint    NOT NULL CHECK (type_code IN (380, 381)), -- UNTDID 1001
    currency           char(3)     NOT NULL,
    net_minor          bigint      NOT NULL,              -- signed as journaled: a credit note's are negative
    vat_minor          bigint      NOT NULL,
    ruling_id          text        NOT NULL,
    seller_id          text        NOT NULL,              -- the snapshot
    place              text        NOT NULL,              -- tax territory of the charge point
    sale_day           date        NOT NULL,              -- local to the CPO
    energy_kwh         numeric,
    preceding          text,                              -- the document that this one corrects
    no_invoice_because text        NOT NULL DEFAULT '',   -- why it is only proof of payment; empty: it is an invoice
    issued_on          date        NOT NULL,              -- the platform's day
    issued_at          timestamptz NOT NULL,
    PRIMARY KEY (lane, session_id, kind, reference),
    UNIQUE (lane, series, number),
    CHECK (lane = (get_byte(uuid_send(session_id), 15) & 63)),
    CHECK ((type_code = 381) = (net_minor + vat_minor < 0)),
    CHECK (type_code = 380 OR preceding IS NOT NULL)
);

-- How far each chain of the journal has been documented: batches of a chain are numbered and committed in order.
CREATE TABLE clearing.document_cursor (
    chain    smallint PRIMARY KEY CHECK (chain >= 0),
    position bigint   NOT NULL CHECK (position >= 0)
);
