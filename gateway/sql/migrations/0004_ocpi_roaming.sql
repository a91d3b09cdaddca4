-- The OCPI edge as owner and caller: drivers' tokens, real-time authorizations, commands, pulls, payment
-- terminals, financial advice, invoice reconciliation, and what waits to be sent.

-- Drivers' tokens that CPOs may ask about: an app user, an RFID card, an eMAID; and how their charging is paid.
CREATE TABLE gateway.ocpi_token (
    uid_key           text NOT NULL CHECK (uid_key = lower(uid_key)),
    type              text NOT NULL,                        -- APP_USER, AD_HOC_USER, RFID, OTHER, EMAID
    uid               text NOT NULL,
    country_code      text NOT NULL CHECK (country_code ~ '^[A-Z]{2}$'),
    party_code        text NOT NULL CHECK (party_code ~ '^[A-Z0-9]{3}$'),
    contract_id       text NOT NULL,
    visual_number     text,
    issuer            text NOT NULL,
    group_id          text,
    valid             boolean NOT NULL,
    whitelist         text NOT NULL CHECK (whitelist IN ('ALWAYS', 'ALLOWED', 'ALLOWED_OFFLINE', 'NEVER')),
    language          text,
    demand_partner_id text NOT NULL REFERENCES gateway.party (id),  -- whose driver
    payment           jsonb NOT NULL,                       -- 'payment' of an authorization in the capture API
    last_updated      timestamptz NOT NULL,
    PRIMARY KEY (uid_key, type)
);
CREATE INDEX ocpi_token_changed ON gateway.ocpi_token (last_updated, uid_key, type);
CREATE INDEX ocpi_token_contract ON gateway.ocpi_token (lower(contract_id));

-- One question of a CPO about a token at a place. The same question again, soon, has the same answer; the row
-- is committed before the payment is asked for, so that a crash leaves no second hold.
CREATE TABLE gateway.ocpi_token_authorization (
    authorization_id uuid PRIMARY KEY,
    cpo_id           text NOT NULL REFERENCES gateway.party (id),
    uid_key          text NOT NULL,
    type             text NOT NULL,
    evse_uid_key     text NOT NULL,
    asked_at         timestamptz NOT NULL,
    FOREIGN KEY (uid_key, type) REFERENCES gateway.ocpi_token (uid_key, type)
);
CREATE INDEX ocpi_token_authorization_question
    ON gateway.ocpi_token_authorization (cpo_id, uid_key, type, evse_uid_key, asked_at DESC);

-- Commands that we sent to a CPO. The states are those of gateway/ocpi/command_state.py; a test compares them.
CREATE TABLE gateway.ocpi_command (
    id                      uuid PRIMARY KEY,
    cpo_id                  text NOT NULL REFERENCES gateway.party (id),
    command                 text NOT NULL CHECK (command IN (
        'START_SESSION', 'STOP_SESSION', 'UNLOCK_CONNECTOR', 'RESERVE_NOW', 'CANCEL_RESERVATION')),
    state                   text NOT NULL CHECK (state IN (
        'requested', 'unanswered', 'accepted', 'refused', 'succeeded', 'failed', 'timed_out')),
    authorization_reference text,
    response                text,                           -- CommandResponseType, as the CPO answered
    result                  text,                           -- CommandResultType, as the charge point did
    reason                  text,
    created_at              timestamptz NOT NULL,           -- wall time
    deadline                timestamptz NOT NULL,           -- wall time; no result by then: timed out
    finished_at             timestamptz,
    CHECK ((state IN ('refused', 'succeeded', 'failed', 'timed_out')) = (finished_at IS NOT NULL))
);
CREATE INDEX ocpi_command_open ON gateway.ocpi_command (deadline) WHERE finished_at IS NULL;

-- Where a pull of a peer's module stands. `since` moves on only when a run has read its last page.
CREATE TABLE gateway.ocpi_pull (
    peer_id      uuid NOT NULL REFERENCES gateway.ocpi_peer (id),
    module       text NOT NULL CHECK (module IN ('locations', 'tariffs', 'sessions', 'cdrs')),
    since        timestamptz,                               -- date_from of the next run; null: everything
    run_until    timestamptz,                               -- date_to of the run under way
    next_url     text,                                      -- its next page; a crash resumes here
    seen         integer NOT NULL DEFAULT 0,                -- objects of the run so far
    refused      integer NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL,                      -- wall time
    failures     integer NOT NULL DEFAULT 0,                -- in a row
    last_error   text,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (peer_id, module),
    CHECK ((next_url IS NULL) = (run_until IS NULL))
);
CREATE INDEX ocpi_pull_due ON gateway.ocpi_pull (due_at);

-- Payment terminals (2.3.0 payments): owned by us, assigned to locations by their CPO.
CREATE TABLE gateway.ocpi_terminal (
    terminal_key text PRIMARY KEY CHECK (terminal_key = lower(terminal_key)),
    terminal_id  text NOT NULL,
    cpo_id       text NOT NULL REFERENCES gateway.party (id),
    state        text NOT NULL CHECK (state IN ('active', 'deactivated')),
    body         bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    last_updated timestamptz NOT NULL
);
CREATE INDEX ocpi_terminal_cpo ON gateway.ocpi_terminal (cpo_id, created_at, terminal_key);

-- Financial advice confirmations (2.3.0 payments): what was captured, told to a CPO that makes its own invoice.
CREATE TABLE gateway.ocpi_advice (
    capture_id   uuid PRIMARY KEY,                          -- one advice a capture, for ever
    advice_id    text NOT NULL UNIQUE,
    cpo_id       text NOT NULL REFERENCES gateway.party (id),
    body         bytea NOT NULL,
    last_updated timestamptz NOT NULL
);
CREATE INDEX ocpi_advice_cpo ON gateway.ocpi_advice (cpo_id, last_updated, advice_id);

-- Invoice reconciliation records (2.3.0): which of its CDRs a CPO has put on which invoice.
CREATE TABLE gateway.ocpi_invoice (
    party_id     text NOT NULL REFERENCES gateway.party (id),
    record_key   text NOT NULL CHECK (record_key = lower(record_key)),
    record_id    text NOT NULL,
    invoice_id   text NOT NULL,
    cdr_keys     text[] NOT NULL CHECK (cardinality(cdr_keys) > 0),
    body         bytea NOT NULL,
    last_updated timestamptz NOT NULL,
    received_at  timestamptz NOT NULL,
    deleted_at   timestamptz,
    PRIMARY KEY (party_id, record_key)
);

-- Messages to peers that must arrive: sent in order per object, retried, parked in sight when nothing helps.
CREATE TABLE gateway.ocpi_outbox (
    id           uuid PRIMARY KEY,
    party_id     text NOT NULL REFERENCES gateway.party (id),  -- to whom
    module       text NOT NULL,
    method       text NOT NULL CHECK (method IN ('POST', 'PUT', 'PATCH', 'DELETE')),
    path         text NOT NULL,                             -- below the module's endpoint, may be empty
    object_id    text NOT NULL,
    body         bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    run_at       timestamptz NOT NULL,                      -- wall time
    leased_until timestamptz,
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text,
    parked_at    timestamptz
);
CREATE INDEX ocpi_outbox_due ON gateway.ocpi_outbox (run_at) WHERE parked_at IS NULL;
CREATE INDEX ocpi_outbox_object ON gateway.ocpi_outbox (party_id, object_id, id);
