-- Personal data ends: what names a card, when billing records lost their tokens, runs of retention, erasures.

-- The PSP's name of a card's number, the same for every saved copy of it: a driver is found by it.
ALTER TABLE gateway.payment_method ADD COLUMN fingerprint text;
CREATE INDEX payment_method_fingerprint ON gateway.payment_method (fingerprint) WHERE fingerprint IS NOT NULL;

-- When the token and the signed meter data left a billing record; null: it is as it came.
ALTER TABLE gateway.session ADD COLUMN cdr_blotted_at timestamptz;
ALTER TABLE gateway.stated_usage ADD COLUMN cdr_blotted_at timestamptz;
ALTER TABLE gateway.provisional_usage ADD COLUMN cdr_blotted_at timestamptz;
ALTER TABLE gateway.ocpi_cdr ADD COLUMN blotted_at timestamptz;

-- Each run of the retention, begun once a day: when, and how many rows of which rule were removed. Times are wall time.
CREATE TABLE gateway.retention_run (
    id          uuid        PRIMARY KEY,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz CHECK (finished_at >= started_at),  -- null: it goes on, or its worker ended
    removed     jsonb       NOT NULL DEFAULT '{}'               -- rows by rule
);
CREATE INDEX retention_run_finished ON gateway.retention_run (finished_at DESC) WHERE finished_at IS NOT NULL;

-- That a person's data were erased. Nothing here names the person; the pseudonym stands where the data were.
CREATE TABLE gateway.erasure (
    id        uuid        PRIMARY KEY,
    pseudonym text        NOT NULL UNIQUE CHECK (pseudonym <> ''),
    erased_at timestamptz NOT NULL,
    erased_by text        NOT NULL CHECK (erased_by <> ''),
    reason    text        NOT NULL CHECK (reason <> ''),
    erased    jsonb       NOT NULL,  -- rows by rule
    kept      jsonb       NOT NULL   -- what the law keeps: rows by rule and until when
);

-- Rows of these tables arrive in the order of their time: a block range index finds the old ones and costs no insert.
CREATE INDEX event_age ON gateway.event USING brin (created_at);
CREATE INDEX psp_event_age ON gateway.psp_event USING brin (received_at);
CREATE INDEX ocpi_session_age ON gateway.ocpi_session USING brin (received_at);
CREATE INDEX ocpi_command_age ON gateway.ocpi_command USING brin (created_at);
CREATE INDEX ocpi_token_authorization_age ON gateway.ocpi_token_authorization USING brin (requested_at);
CREATE INDEX ocpi_rejected_push_age ON gateway.ocpi_rejected_push USING brin (received_at);
CREATE INDEX receipt_link_age ON gateway.receipt_link USING brin (created_at);
