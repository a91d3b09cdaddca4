-- Reconciliation, three ways. An item is one side's word on one movement; pairs of sides are compared by leg.

CREATE TABLE clearing.reconciliation_item (
    leg          text        NOT NULL CHECK (leg IN ('book_psp', 'book_bank', 'psp_bank')),
    side         text        NOT NULL CHECK (side IN ('left', 'right')), -- left is named first in the leg
    source_id    text        NOT NULL,                     -- names it for ever on its side: told twice, it is kept once
    reference    text        NOT NULL,                     -- what both sides know it by; a line that bears none has its own id
    kind         text        NOT NULL,
    amount_minor bigint      NOT NULL,                     -- money in positive, as the account feels it
    currency     char(3)     NOT NULL,
    occurred_on  date        NOT NULL,
    detail       text        NOT NULL DEFAULT '',
    recorded_at  timestamptz NOT NULL,
    matched_at   timestamptz,
    match        text        CHECK (match IN ('exact', 'tolerance', 'merged')),
    PRIMARY KEY (leg, side, source_id),
    CHECK ((matched_at IS NULL) = (match IS NULL))
);
CREATE INDEX reconciliation_item_open ON clearing.reconciliation_item (leg, reference) WHERE matched_at IS NULL;
CREATE INDEX reconciliation_item_matched ON clearing.reconciliation_item (leg, reference) WHERE matched_at IS NOT NULL;

-- What does not agree: since when, whose it is, and what could be booked. It stays until both sides agree or a person
-- decides; nothing here moves money.
CREATE TABLE clearing.reconciliation_difference (
    leg           text        NOT NULL,
    reference     text        NOT NULL,
    type          text        NOT NULL,
    amount_minor  bigint      NOT NULL,                    -- left minus right
    currency      char(3)     NOT NULL,
    since         date        NOT NULL,                    -- the day of its oldest item: its age counts from here
    owner         text        NOT NULL,
    proposal      text        NOT NULL CHECK (proposal IS JSON OBJECT),
    detail        text        NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    run           uuid        NOT NULL,                    -- the comparison that saw it last
    resolved_at   timestamptz,
    PRIMARY KEY (leg, reference, currency)
);
CREATE INDEX reconciliation_difference_open ON clearing.reconciliation_difference (since) WHERE resolved_at IS NULL;

-- How far our own books were read, and when each comparison ran last.
CREATE TABLE clearing.reconciliation_run (
    name      text        PRIMARY KEY,
    read_to   timestamptz NOT NULL,
    ran_at    timestamptz NOT NULL
);
