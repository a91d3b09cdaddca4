-- The schema of the gateway: parties and their keys, sessions, payments, tasks, exceptions, events and webhooks, OCPI.
--
-- Money is a bigint of minor units beside its ISO 4217 code. Time is timestamptz: business time, unless a comment says
-- wall time. Ids are UUIDv7. Tables of a session carry `shard` (0 to 63, the last byte of the session's id & 63) first
-- in every key, so that the same statements run on one PostgreSQL and, distributed by shard, on Citus. The others are
-- small reference tables, or are found by a party's own names. No triggers, no sequences.

-- ---------------------------------------------------------------------------------------------------------------------
-- Parties and what they are allowed.
-- ---------------------------------------------------------------------------------------------------------------------

-- Who holds an API key: a CPO, demand partner, eMSP or site host, or the platform itself.
CREATE TABLE gateway.party (
    id         text        PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_-]{1,62}$'),  -- a slug: 'NL-ABC', 'superapp'
    kind       text        NOT NULL CHECK (kind IN ('platform', 'cpo', 'demand_partner', 'emsp', 'site_host')),
    created_at timestamptz NOT NULL
);

-- A key is shown once: only the SHA-256 of its 256 random bits is kept, found by the prefix.
CREATE TABLE gateway.api_key (
    id          uuid        PRIMARY KEY,
    party_id    text        NOT NULL REFERENCES gateway.party (id),
    prefix      text        NOT NULL UNIQUE,  -- 'nck_' + 12 characters, safe to log
    secret_hash bytea       NOT NULL CHECK (octet_length(secret_hash) = 32),
    scopes      text[]      NOT NULL CHECK (cardinality(scopes) > 0),
    -- The person who made or rotated it; null: the key stands for itself.
    principal   text        CHECK (principal <> ''),
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz,                  -- set on the old key at rotation: both work until then
    revoked_at  timestamptz
);
CREATE INDEX api_key_party ON gateway.api_key (party_id);

-- Client certificates bound to a party. While it has a valid one, its API keys work only over a connection that proves
-- one of them (mutual TLS). Only the fingerprint is kept, and what people need to recognize the certificate.
CREATE TABLE gateway.client_certificate (
    sha256     bytea       PRIMARY KEY CHECK (octet_length(sha256) = 32),  -- of the DER; belongs to one party only
    party_id   text        NOT NULL REFERENCES gateway.party (id),
    subject    text        NOT NULL,                                       -- RFC 4514, for people
    not_after  timestamptz NOT NULL,
    added_at   timestamptz NOT NULL,
    retired_at timestamptz CHECK (retired_at >= added_at)
);
CREATE INDEX client_certificate_party ON gateway.client_certificate (party_id);

-- One row for each Idempotency-Key of a party (draft-ietf-httpapi-idempotency-key-header). It is committed before the
-- work starts and holds the id of the resource that the work will create, so that a retry after a crash finds or
-- finishes the same resource and never makes a second one.
CREATE TABLE gateway.idempotency_key (
    party_id     text        NOT NULL REFERENCES gateway.party (id),
    key          text        NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_hash bytea       NOT NULL CHECK (octet_length(request_hash) = 32),  -- of method, path and body
    resource_id  uuid        NOT NULL,
    locked_until timestamptz,           -- wall time; a request is in flight until then
    status       smallint,              -- HTTP status of the stored response
    headers      jsonb,
    body         bytea,
    created_at   timestamptz NOT NULL,  -- wall time; deleted after the documented lifetime
    PRIMARY KEY (party_id, key),
    CHECK ((status IS NULL) = (body IS NULL)),
    CHECK (status IS NULL OR locked_until IS NULL)
);
CREATE INDEX idempotency_key_age ON gateway.idempotency_key (created_at);

-- The site host of a location, who may earn a share of its sessions.
CREATE TABLE gateway.site_host (
    cpo_id      text NOT NULL REFERENCES gateway.party (id),
    location_id text NOT NULL,
    party_id    text NOT NULL REFERENCES gateway.party (id),
    PRIMARY KEY (cpo_id, location_id)
);

-- What happens to sessions whose CDR never arrives, by CPO. The platform's own row is the default.
CREATE TABLE gateway.missing_cdr_policy (
    party_id   text    PRIMARY KEY REFERENCES gateway.party (id),
    action     text    NOT NULL CHECK (action IN ('release', 'last_known_cost')),
    after_days integer NOT NULL CHECK (after_days BETWEEN 1 AND 365)
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Sessions.
-- ---------------------------------------------------------------------------------------------------------------------

-- The tariff that a driver was shown: named by its content, never changed.
CREATE TABLE gateway.tariff_snapshot (
    sha256     text        PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    version    text        NOT NULL CHECK (version IN ('2.1.1', '2.2.1', '2.3.0')),  -- of OCPI
    canonical  bytea       NOT NULL,  -- canonical JSON, the bytes that were hashed
    currency   char(3)     NOT NULL,
    created_at timestamptz NOT NULL
);

-- One charging session: priced once, captured at most once.
CREATE TABLE gateway.session (
    shard             smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    id                uuid        NOT NULL CHECK (shard = get_byte(uuid_send(id), 15) & 63),
    demand_partner_id text        NOT NULL REFERENCES gateway.party (id),
    cpo_id            text        NOT NULL REFERENCES gateway.party (id),
    evse_id           text        NOT NULL,
    location_id       text        NOT NULL,
    session_ref       text,                                  -- the CPO's or the partner's own name for it
    tax_jurisdiction  text        NOT NULL,                  -- of the charge point
    time_zone         text        NOT NULL,                  -- IANA, of the location
    currency          char(3)     NOT NULL,
    tariff_sha256     text        NOT NULL REFERENCES gateway.tariff_snapshot (sha256),
    state             text        NOT NULL CHECK (state IN (
        'active', 'cancelled', 'completed', 'cleared', 'exception')),
    cdr_id            text,
    cdr_version       text,
    cdr               bytea,                                 -- the bytes of the CDR as priced, immutable
    price_minor       bigint      CHECK (price_minor >= 0),  -- VAT included, from the frozen tariff
    price_net_minor   bigint,
    energy_wh         bigint,
    started_at        timestamptz,                           -- as its CPO reports it
    ended_at          timestamptz,                           -- the instant of the sale
    flags             text[]      NOT NULL DEFAULT '{}',     -- what is unusual: 'cpo_total_differs', ...
    metadata          jsonb       NOT NULL DEFAULT '{}',
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    PRIMARY KEY (shard, id),
    CHECK ((state IN ('active', 'cancelled')) = (cdr IS NULL)),
    CHECK ((cdr IS NULL) = (price_minor IS NULL) AND (cdr IS NULL) = (ended_at IS NULL))
);
CREATE INDEX session_demand_partner ON gateway.session (demand_partner_id, id);
CREATE INDEX session_cpo ON gateway.session (cpo_id, id);
CREATE INDEX session_exception ON gateway.session (shard, id) WHERE state = 'exception';

-- From a foreign name to our session. A distributed database shards it by `foreign_id`.
CREATE TABLE gateway.session_lookup (
    kind       text     NOT NULL CHECK (kind IN ('session_ref', 'cdr', 'psp_payment')),
    foreign_id text     NOT NULL,  -- 'NL-ABC:ref', 'NL-ABC:cdr', the PSP's id
    shard      smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    session_id uuid     NOT NULL,
    PRIMARY KEY (kind, foreign_id)
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Payments: one authorization method or another, one capture.
-- ---------------------------------------------------------------------------------------------------------------------

-- The commitment that a session will be paid: one resource for card, app and Plug & Charge. Its states are those of
-- gateway/payments/state_machine.py and docs/state_machines.md; a test compares the three.
CREATE TABLE gateway.payment_authorization (
    shard                smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    id                   uuid        NOT NULL CHECK (shard = get_byte(uuid_send(id), 15) & 63),
    session_id           uuid        NOT NULL,
    party_id             text        NOT NULL REFERENCES gateway.party (id),
    authorization_method text        NOT NULL CHECK (authorization_method IN ('card', 'app', 'plug_and_charge')),
    funding              text        NOT NULL CHECK (funding IN ('psp', 'partner_account')),
    account_party_id     text        REFERENCES gateway.party (id),  -- whose funded account pays, if one does
    state                text        NOT NULL CHECK (state IN (
        'requires_authorization', 'requires_action', 'authorized', 'capture_requested', 'captured',
        'voided', 'failed', 'outcome_unknown')),
    version              integer     NOT NULL DEFAULT 1,             -- the ETag
    hold_minor           bigint      NOT NULL CHECK (hold_minor >= 0),
    currency             char(3)     NOT NULL,
    payment_method       text,                                       -- the PSP's token; never card data
    customer             text,
    off_session          boolean     NOT NULL DEFAULT false,         -- merchant-initiated under a stored mandate
    psp_payment          text,                                       -- the PSP's object, once there is one
    capture_before       timestamptz,                                -- when the hold expires
    next_check_at        timestamptz,  -- when the hold is checked next, also one that can't be renewed
    incrementable        boolean     NOT NULL DEFAULT false,         -- the PSP offers to raise this hold
    max_capture_minor    bigint,  -- the PSP offers to capture up to this (over-capture)
    next_action          jsonb,
    decline_code         text,
    metadata             jsonb       NOT NULL DEFAULT '{}',
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    PRIMARY KEY (shard, id),
    FOREIGN KEY (shard, session_id) REFERENCES gateway.session (shard, id),
    CHECK ((funding = 'partner_account') = (account_party_id IS NOT NULL)),
    CHECK (funding <> 'psp' OR state IN ('requires_authorization', 'failed', 'outcome_unknown', 'voided')
           OR psp_payment IS NOT NULL),
    CHECK ((state = 'requires_action') = (next_action IS NOT NULL)),
    CHECK (decline_code IS NULL OR state = 'failed')
);
-- A session has at most one active authorization: a second one waits until the first is voided or failed.
CREATE UNIQUE INDEX payment_authorization_one_active ON gateway.payment_authorization (shard, session_id)
    WHERE state NOT IN ('voided', 'failed');
CREATE INDEX payment_authorization_expiring ON gateway.payment_authorization (shard, capture_before)
    WHERE state = 'authorized';
-- Every answer and every clearing looks for the authorization of a session, whatever its state.
CREATE INDEX payment_authorization_session ON gateway.payment_authorization (shard, session_id, id);

-- The single capture. The row is committed before the PSP is called. Its key makes a second capture impossible, for
-- ever, whatever method or message asks for one.
CREATE TABLE gateway.capture (
    shard                 smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    session_id            uuid        NOT NULL,
    id                    uuid        NOT NULL CHECK (shard = get_byte(uuid_send(id), 15) & 63),
    authorization_id      uuid        NOT NULL,
    state                 text        NOT NULL CHECK (state IN ('requested', 'succeeded', 'failed')),
    amount_minor          bigint      NOT NULL CHECK (amount_minor > 0),
    currency              char(3)     NOT NULL,
    receivable_minor      bigint      NOT NULL DEFAULT 0 CHECK (receivable_minor >= 0),  -- priced and not captured
    -- Part of the amount, charged off-session.
    residual_charge_minor bigint      NOT NULL DEFAULT 0 CHECK (residual_charge_minor >= 0),
    refunded_minor        bigint      NOT NULL DEFAULT 0,
    disputed_minor        bigint      NOT NULL DEFAULT 0 CHECK (disputed_minor >= 0),  -- lost to chargebacks
    -- Refunded before clearing, so never posted.
    uncleared_minor       bigint      NOT NULL DEFAULT 0 CHECK (uncleared_minor >= 0),
    psp_charge            text,
    fee_minor             bigint,
    fee_currency          char(3),
    captured_at           timestamptz,
    created_at            timestamptz NOT NULL,
    PRIMARY KEY (shard, session_id),                    -- at most one capture for each session, for ever
    UNIQUE (shard, id),
    FOREIGN KEY (shard, session_id) REFERENCES gateway.session (shard, id),
    FOREIGN KEY (shard, authorization_id) REFERENCES gateway.payment_authorization (shard, id),
    CHECK (refunded_minor BETWEEN 0 AND amount_minor),  -- never more refunded than captured
    CHECK ((state = 'succeeded') = (captured_at IS NOT NULL)),
    CHECK ((fee_minor IS NULL) = (fee_currency IS NULL))
);
-- Refunded before clearing: few of many captures, read with every comparison of the PSP's lines.
CREATE INDEX capture_uncleared ON gateway.capture (shard, session_id) WHERE uncleared_minor > 0;

-- A refund: of all or a part; several never add up to more than was captured.
CREATE TABLE gateway.refund (
    shard        smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    id           uuid        NOT NULL CHECK (shard = get_byte(uuid_send(id), 15) & 63),
    session_id   uuid        NOT NULL,
    state        text        NOT NULL CHECK (state IN ('requested', 'succeeded', 'failed')),
    amount_minor bigint      NOT NULL CHECK (amount_minor > 0),
    currency     char(3)     NOT NULL,
    reason       text        NOT NULL CHECK (reason IN (
        'requested_by_driver', 'duplicate', 'fraudulent', 'cdr_corrected', 'reversed_by_psp')),
    psp_refund   text,
    failure_code text,
    metadata     jsonb       NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    PRIMARY KEY (shard, id),
    FOREIGN KEY (shard, session_id) REFERENCES gateway.capture (shard, session_id),
    CHECK ((state = 'requested') = (finished_at IS NULL)),
    CHECK ((state = 'failed') = (failure_code IS NOT NULL))
);
CREATE INDEX refund_session ON gateway.refund (shard, session_id);
CREATE UNIQUE INDEX refund_psp_refund ON gateway.refund (shard, psp_refund) WHERE psp_refund IS NOT NULL;

-- A chargeback of the cardholder's bank. The PSP reports how it ends.
CREATE TABLE gateway.dispute (
    shard        smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    id           uuid        NOT NULL CHECK (shard = get_byte(uuid_send(id), 15) & 63),
    session_id   uuid        NOT NULL,
    psp_dispute  text        NOT NULL,
    state        text        NOT NULL CHECK (state IN ('opened', 'won', 'lost')),
    amount_minor bigint      NOT NULL CHECK (amount_minor > 0),
    fee_minor    bigint      NOT NULL DEFAULT 0,
    currency     char(3)     NOT NULL,
    reason       text        NOT NULL,
    opened_at    timestamptz NOT NULL,
    closed_at    timestamptz,
    PRIMARY KEY (shard, id),
    UNIQUE (shard, psp_dispute),
    FOREIGN KEY (shard, session_id) REFERENCES gateway.capture (shard, session_id),
    CHECK ((state = 'opened') = (closed_at IS NULL))
);
CREATE INDEX dispute_session ON gateway.dispute (shard, session_id);

-- Calls to the PSP: first the intent, then the call, then its outcome. The idempotency key is made from `id` and never
-- changes on a retry; only the PSP's own answer ends a request.
CREATE TABLE gateway.psp_request (
    shard            smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    id               uuid        NOT NULL CHECK (shard = get_byte(uuid_send(id), 15) & 63),
    session_id       uuid        NOT NULL,
    authorization_id uuid        NOT NULL,
    kind             text        NOT NULL CHECK (kind IN (
        'hold', 'increment', 'capture', 'void', 'residual_charge', 'refund', 'hold_renewal', 'hold_release')),
    subject_id       uuid,                  -- the refund that the request is about
    psp_payment      text,                  -- the payment that a hold_release voids
    state            text        NOT NULL CHECK (state IN ('intended', 'unknown', 'succeeded', 'declined')),
    amount_minor     bigint      NOT NULL CHECK (amount_minor >= 0),
    answer           jsonb,                 -- code and ids that the PSP gave, no personal data
    attempts         integer     NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz,           -- wall time
    created_at       timestamptz NOT NULL,  -- wall time: the lifetime of the PSP's key counts from it
    finished_at      timestamptz,
    PRIMARY KEY (shard, id),
    FOREIGN KEY (shard, authorization_id) REFERENCES gateway.payment_authorization (shard, id),
    CHECK ((state IN ('succeeded', 'declined')) = (finished_at IS NOT NULL)),
    CHECK ((state IN ('intended', 'unknown')) = (next_attempt_at IS NOT NULL))
);
-- At most one open request for each authorization.
CREATE UNIQUE INDEX psp_request_one_open ON gateway.psp_request (shard, authorization_id)
    WHERE state IN ('intended', 'unknown');
CREATE INDEX psp_request_due ON gateway.psp_request (shard, next_attempt_at) WHERE state IN ('intended', 'unknown');
-- Residual charges: few of many requests, read with every comparison of the PSP's lines.
CREATE INDEX psp_request_residual_charge ON gateway.psp_request (finished_at)
    WHERE kind = 'residual_charge' AND state = 'succeeded';

-- The PSP's events as they arrived, once each; unknown types are kept.
CREATE TABLE gateway.psp_event (
    id          text        PRIMARY KEY,
    type        text        NOT NULL,
    body        bytea       NOT NULL,
    received_at timestamptz NOT NULL
);

-- A partner's money with the platform: what may be held and captured without a card.
CREATE TABLE gateway.partner_account (
    party_id           text    NOT NULL REFERENCES gateway.party (id),
    currency           char(3) NOT NULL,
    balance_minor      bigint  NOT NULL DEFAULT 0,  -- funded minus captured
    held_minor         bigint  NOT NULL DEFAULT 0 CHECK (held_minor >= 0),
    credit_limit_minor bigint  NOT NULL DEFAULT 0 CHECK (credit_limit_minor >= 0),
    PRIMARY KEY (party_id, currency),
    CHECK (balance_minor - held_minor + credit_limit_minor >= 0)
);

-- Each funding of a partner account, once for each reference.
CREATE TABLE gateway.partner_funding (
    id           uuid        PRIMARY KEY,
    party_id     text        NOT NULL REFERENCES gateway.party (id),
    currency     char(3)     NOT NULL,
    amount_minor bigint      NOT NULL CHECK (amount_minor > 0),
    reference    text        NOT NULL,
    psp_object   text,  -- the top-up at the PSP, once the PSP has answered
    created_at   timestamptz NOT NULL,
    UNIQUE (party_id, reference)
);

-- Money on its way into the platform's balance at the PSP. The row is committed before the PSP is called, so that a
-- repeat after the lifetime of the PSP's key looks the earlier top-up up instead of making another.
CREATE TABLE gateway.top_up (
    subject      text        PRIMARY KEY,      -- 'partner/superapp/INV-1', 'platform/FLOAT-1'
    id           uuid        NOT NULL UNIQUE,  -- derived from the subject; gives the PSP's key and metadata
    currency     char(3)     NOT NULL,
    amount_minor bigint      NOT NULL CHECK (amount_minor > 0),
    requested_at timestamptz NOT NULL,         -- wall time: the lifetime of the PSP's key counts from it
    psp_object   text                          -- the top-up at the PSP, once the PSP has answered
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Tasks and exceptions.
-- ---------------------------------------------------------------------------------------------------------------------

-- Deferred work, written in the transaction that makes it necessary, leased with SKIP LOCKED one shard at a time, and
-- deleted in the transaction that does it.
CREATE TABLE gateway.task (
    shard        smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    id           uuid        NOT NULL,
    kind         text        NOT NULL CHECK (kind IN (
        'complete_session', 'capture_session', 'charge_residual', 'clear_session', 'book_correction',
        'handle_psp_event')),
    session_id   uuid,
    payload      jsonb       NOT NULL DEFAULT '{}',
    run_at       timestamptz NOT NULL,  -- wall time
    leased_until timestamptz,           -- wall time
    attempts     integer     NOT NULL DEFAULT 0,
    last_error   text,
    exception_at timestamptz,           -- stopped: a person decides
    PRIMARY KEY (shard, id)
);
CREATE INDEX task_due ON gateway.task (shard, kind, run_at) WHERE exception_at IS NULL;
-- One task of each of these kinds for a session.
CREATE UNIQUE INDEX task_once ON gateway.task (shard, kind, session_id)
    WHERE kind IN ('capture_session', 'charge_residual', 'clear_session');
CREATE INDEX task_exception ON gateway.task (exception_at) WHERE exception_at IS NOT NULL;

-- All that stopped and waits for a person, of every kind, once for each subject while it is open. The cause is a row of
-- its own elsewhere: an exception opens when that row is found and is resolved when it is gone, and never before.
CREATE TABLE gateway.exception (
    id           uuid        PRIMARY KEY,
    kind         text        NOT NULL CHECK (kind ~ '^[a-z][a-z_]*$'),  -- those of gateway/exceptions/rules.py
    subject_id   text        NOT NULL CHECK (subject_id <> ''),         -- 'ses_...', 'NL-ABC/CDR-1'
    state        text        NOT NULL CHECK (state IN ('open', 'resolved')),
    owner        text        NOT NULL CHECK (owner <> ''),              -- who looks after this kind
    assignee     text        CHECK (assignee <> ''),                    -- the person who took it on
    party_id     text,                                                  -- the party that it is about, if there is one
    amount_minor bigint,
    currency     char(3),
    reason       text        NOT NULL CHECK (reason <> ''),             -- a code
    detail       text        NOT NULL,                                  -- the same in words
    since        timestamptz NOT NULL,                                  -- when the cause arose
    opened_at    timestamptz NOT NULL,
    resolved_at  timestamptz,
    acknowledged boolean     NOT NULL DEFAULT false,  -- its cause can't be mended: a person's word ended it, for ever
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CHECK (NOT acknowledged OR state = 'resolved'),
    CHECK ((amount_minor IS NULL) = (currency IS NULL))
);
CREATE UNIQUE INDEX exception_one_open ON gateway.exception (kind, subject_id) WHERE state = 'open';
CREATE INDEX exception_list ON gateway.exception (state, id);
CREATE INDEX exception_acknowledged ON gateway.exception (kind, subject_id) WHERE acknowledged;

-- The history of an exception. Rows are only added.
CREATE TABLE gateway.exception_event (
    exception_id uuid        NOT NULL REFERENCES gateway.exception (id),
    position     integer     NOT NULL CHECK (position >= 1),
    at           timestamptz NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('opened', 'changed', 'assigned', 'retried', 'resolved')),
    actor        text        NOT NULL CHECK (actor <> ''),  -- a person, or 'system'
    note         text        NOT NULL,
    PRIMARY KEY (exception_id, position)
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Events and webhooks.
-- ---------------------------------------------------------------------------------------------------------------------

-- What happened to an object, written in the transaction that changed it. Partners read it or receive it by webhook.
CREATE TABLE gateway.event (
    shard      smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    id         uuid        NOT NULL,
    party_id   text        NOT NULL,                -- whose event: one row for each party that may see it
    type       text        NOT NULL CHECK (type ~ '^[a-z_]+\.[a-z_]+$'),
    object_id  text        NOT NULL,                -- prefixed id of the object; order is kept by object
    data       jsonb       NOT NULL,                -- the object as the API shows it
    created_at timestamptz NOT NULL,
    fanned_out boolean     NOT NULL DEFAULT false,  -- its deliveries have been made
    PRIMARY KEY (shard, id)
);
CREATE INDEX event_party ON gateway.event (party_id, id);
CREATE INDEX event_to_fan_out ON gateway.event (shard, id) WHERE NOT fanned_out;

-- Where a party's events are sent. Each secret is encrypted with the key that is named beside it; without a name it is
-- plain, as in a sandbox without a key. During a rotation the previous secret signs too, until `previous_secret_until`.
CREATE TABLE gateway.webhook_endpoint (
    id                      uuid        PRIMARY KEY,
    party_id                text        NOT NULL REFERENCES gateway.party (id),
    url                     text        NOT NULL CHECK (length(url) BETWEEN 8 AND 2048),
    event_types             text[]      NOT NULL CHECK (cardinality(event_types) > 0),  -- types, or '*'
    secret                  bytea       NOT NULL,
    encryption_key          text        CHECK (encryption_key <> ''),  -- name of the key, never the key
    previous_secret         bytea,
    previous_encryption_key text        CHECK (previous_encryption_key <> ''),
    previous_secret_until   timestamptz,                               -- wall time
    state                   text        NOT NULL DEFAULT 'enabled' CHECK (state IN ('enabled', 'disabled', 'deleted')),
    disabled_reason         text,
    failing_since           timestamptz,  -- wall time of the first failure since the last success
    failures_in_a_row       integer     NOT NULL DEFAULT 0 CHECK (failures_in_a_row >= 0),
    resume_at               timestamptz,  -- wall time; nothing is sent to a failing endpoint before
    created_at              timestamptz NOT NULL,
    CONSTRAINT webhook_endpoint_secret_check
        CHECK (octet_length(secret) BETWEEN 24 AND CASE WHEN encryption_key IS NULL THEN 64 ELSE 96 END),
    CONSTRAINT webhook_endpoint_previous_secret_check CHECK (
        octet_length(previous_secret) BETWEEN 24 AND CASE WHEN previous_encryption_key IS NULL THEN 64 ELSE 96 END),
    CHECK ((previous_secret IS NULL) = (previous_secret_until IS NULL)),
    CHECK (previous_encryption_key IS NULL OR previous_secret IS NOT NULL),
    CHECK ((failures_in_a_row = 0) = (failing_since IS NULL)),
    CHECK (state <> 'enabled' OR disabled_reason IS NULL)
);
CREATE INDEX webhook_endpoint_party ON gateway.webhook_endpoint (party_id) WHERE state <> 'deleted';

-- One event on its way to one endpoint, at least once: the receiver knows a repeat by `webhook-id`, the event's id.
CREATE TABLE gateway.delivery (
    shard           smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    endpoint_id     uuid        NOT NULL REFERENCES gateway.webhook_endpoint (id),
    event_id        uuid        NOT NULL,
    object_id       text        NOT NULL,  -- order is kept by endpoint and object
    state           text        NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'abandoned')),
    attempts        integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz,           -- wall time
    leased_until    timestamptz,           -- wall time
    last_status     smallint,              -- HTTP status of the last response; null: none came
    last_error      text,                  -- why the last attempt failed, without what the body said
    last_attempt_at timestamptz,
    duration_ms     integer,
    created_at      timestamptz NOT NULL,  -- wall time
    delivered_at    timestamptz,
    PRIMARY KEY (shard, endpoint_id, event_id),
    FOREIGN KEY (shard, event_id) REFERENCES gateway.event (shard, id),
    CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
    CHECK ((state = 'delivered') = (delivered_at IS NOT NULL))
);
-- The next deliveries of one endpoint within a shard, oldest event first.
CREATE INDEX delivery_due ON gateway.delivery (shard, endpoint_id, event_id) WHERE state = 'pending';
-- The deliveries of the same object that come first.
CREATE INDEX delivery_order ON gateway.delivery (shard, endpoint_id, object_id, event_id) WHERE state = 'pending';
-- The delivery log, newest first.
CREATE INDEX delivery_log ON gateway.delivery (endpoint_id, event_id DESC);

-- ---------------------------------------------------------------------------------------------------------------------
-- OCPI. Its identifiers are case-insensitive (CiString): a column `*_key` holds the lower-case form, the body keeps the
-- spelling. These rows belong to a party and are found by its own names, so they carry no shard; a distributed database
-- spreads them by name. A CDR gets its session's shard when it is matched.
-- ---------------------------------------------------------------------------------------------------------------------

-- A platform connected to ours, or invited: the credentials handshake makes one of the other.
CREATE TABLE gateway.ocpi_peer (
    id             uuid        PRIMARY KEY,
    party_id       text        NOT NULL REFERENCES gateway.party (id),  -- who was invited
    state          text        NOT NULL CHECK (state IN ('invited', 'registered', 'ended')),
    token_hash     bytea       UNIQUE CHECK (octet_length(token_hash) = 32),  -- of the token that they send us
    outbound_token text,  -- the token that we send them; plain, because it must be sent
    outbound_raw   boolean     NOT NULL DEFAULT false,                  -- they expect it bare, not in Base64
    version        text        CHECK (version IN ('2.1.1', '2.2.1', '2.3.0')),
    versions_url   text,
    created_at     timestamptz NOT NULL,
    registered_at  timestamptz,
    ended_at       timestamptz,
    CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
    CHECK (state <> 'registered' OR (version IS NOT NULL AND versions_url IS NOT NULL AND outbound_token IS NOT NULL
           AND registered_at IS NOT NULL AND token_hash IS NOT NULL)),
    CHECK (state <> 'ended' OR (token_hash IS NULL AND outbound_token IS NULL))
);

-- Whose objects an invitation lets the peer push: the invited party's, and those of parties it operates for.
CREATE TABLE gateway.ocpi_peer_party (
    peer_id  uuid NOT NULL REFERENCES gateway.ocpi_peer (id),
    party_id text NOT NULL REFERENCES gateway.party (id),
    PRIMARY KEY (peer_id, party_id)
);

-- The roles that a peer named in its credentials.
CREATE TABLE gateway.ocpi_peer_role (
    peer_id      uuid NOT NULL REFERENCES gateway.ocpi_peer (id),
    role         text NOT NULL,
    country_code text NOT NULL CHECK (country_code ~ '^[A-Z]{2}$'),
    party_code   text NOT NULL CHECK (party_code ~ '^[A-Z0-9]{3}$'),
    name         text NOT NULL,
    PRIMARY KEY (peer_id, role, country_code, party_code)
);
CREATE INDEX ocpi_peer_role_party ON gateway.ocpi_peer_role (country_code, party_code);

-- The URLs of the peer's own modules, from its version details.
CREATE TABLE gateway.ocpi_peer_endpoint (
    peer_id uuid NOT NULL REFERENCES gateway.ocpi_peer (id),
    module  text NOT NULL,
    role    text NOT NULL CHECK (role IN ('SENDER', 'RECEIVER')),
    url     text NOT NULL,
    PRIMARY KEY (peer_id, module, role)
);

-- Locations as they are after every PUT and PATCH; numbers exactly as sent.
CREATE TABLE gateway.ocpi_location (
    party_id     text        NOT NULL REFERENCES gateway.party (id),
    location_key text        NOT NULL CHECK (location_key = lower(location_key)),
    location_id  text        NOT NULL,
    version      text        NOT NULL CHECK (version IN ('2.1.1', '2.2.1', '2.3.0')),
    body         bytea       NOT NULL,
    last_updated timestamptz NOT NULL,
    received_at  timestamptz NOT NULL,  -- of the first push
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (party_id, location_key)
);
CREATE INDEX ocpi_location_changed ON gateway.ocpi_location (party_id, last_updated);

-- What an authorization needs to know of a location, one row for each connector; rewritten with its location.
CREATE TABLE gateway.ocpi_connector (
    party_id         text    NOT NULL,
    location_key     text    NOT NULL,
    evse_uid_key     text    NOT NULL,
    connector_key    text    NOT NULL,
    position         integer NOT NULL,  -- order in the location, EVSE by EVSE
    location_id      text    NOT NULL,
    evse_uid         text    NOT NULL,
    evse_id          text,
    evse_key         text,              -- upper case, separators removed
    connector_id     text    NOT NULL,
    status           text    NOT NULL,
    power_type       text    NOT NULL,
    max_power_w      bigint  NOT NULL CHECK (max_power_w >= 0),
    tariff_keys      text[]  NOT NULL,
    time_zone        text    NOT NULL,  -- IANA; empty if the location names none that we know
    country          char(2) NOT NULL,  -- ISO 3166-1 alpha-2
    postal_code      text    NOT NULL,
    tax_jurisdiction text    NOT NULL,
    PRIMARY KEY (party_id, location_key, evse_uid_key, connector_key),
    FOREIGN KEY (party_id, location_key) REFERENCES gateway.ocpi_location (party_id, location_key)
);
CREATE INDEX ocpi_connector_evse ON gateway.ocpi_connector (evse_key);
CREATE INDEX ocpi_connector_evse_uid ON gateway.ocpi_connector (evse_uid_key);

-- Every version of every tariff that was pushed. A replaced or deleted one still prices sessions that were shown it.
CREATE TABLE gateway.ocpi_tariff (
    id            uuid        PRIMARY KEY,
    party_id      text        NOT NULL REFERENCES gateway.party (id),
    tariff_key    text        NOT NULL CHECK (tariff_key = lower(tariff_key)),
    tariff_id     text        NOT NULL,
    version       text        NOT NULL CHECK (version IN ('2.1.1', '2.2.1', '2.3.0')),
    raw           bytea       NOT NULL,  -- the bytes as pushed
    type          text,                  -- REGULAR, AD_HOC_PAYMENT, PROFILE_...; null: for every session
    valid_from    timestamptz,           -- start_date_time
    valid_until   timestamptz,           -- end_date_time, exclusive
    last_updated  timestamptz NOT NULL,
    received_at   timestamptz NOT NULL,
    superseded_at timestamptz,           -- when it was replaced or deleted
    CHECK (superseded_at >= received_at)
);
CREATE UNIQUE INDEX ocpi_tariff_current ON gateway.ocpi_tariff (party_id, tariff_key) WHERE superseded_at IS NULL;
CREATE INDEX ocpi_tariff_history ON gateway.ocpi_tariff (party_id, tariff_key, received_at);

-- Running sessions as the CPO reports them; nothing is ever billed from them.
CREATE TABLE gateway.ocpi_session (
    party_id                text        NOT NULL REFERENCES gateway.party (id),
    session_key             text        NOT NULL CHECK (session_key = lower(session_key)),
    session_ref             text        NOT NULL,  -- Session.id
    version                 text        NOT NULL CHECK (version IN ('2.1.1', '2.2.1', '2.3.0')),
    body                    bytea       NOT NULL,
    status                  text        NOT NULL,
    currency                text        NOT NULL,
    energy_wh               bigint      NOT NULL,
    authorization_reference text,
    last_updated            timestamptz NOT NULL,
    received_at             timestamptz NOT NULL,
    updated_at              timestamptz NOT NULL,
    PRIMARY KEY (party_id, session_key)
);
CREATE INDEX ocpi_session_authorization ON gateway.ocpi_session (authorization_reference)
    WHERE authorization_reference IS NOT NULL;

-- Running sessions whose cost is to be compared with their hold, written with the session's update.
CREATE TABLE gateway.ocpi_session_due (
    party_id    text        NOT NULL,
    session_key text        NOT NULL,
    due_at      timestamptz NOT NULL,  -- wall time; the worker that leases the row moves it on
    attempts    integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (party_id, session_key),
    FOREIGN KEY (party_id, session_key) REFERENCES gateway.ocpi_session (party_id, session_key)
);
CREATE INDEX ocpi_session_due_at ON gateway.ocpi_session_due (due_at);

-- CDRs, immutable once accepted. `status` and `reason` say what became of each.
CREATE TABLE gateway.ocpi_cdr (
    party_id                text        NOT NULL REFERENCES gateway.party (id),
    cdr_key                 text        NOT NULL CHECK (cdr_key = lower(cdr_key)),
    cdr_id                  text        NOT NULL,
    version                 text        NOT NULL CHECK (version IN ('2.1.1', '2.2.1', '2.3.0')),
    raw                     bytea       NOT NULL,  -- the bytes as sent
    -- Of the content, whatever the order of keys.
    fingerprint             bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
    session_ref             text,                  -- the CPO's Session.id
    authorization_reference text,
    currency                text        NOT NULL,
    ended_at                timestamptz NOT NULL,
    credit                  boolean     NOT NULL,
    credit_reference_id     text,
    last_updated            timestamptz NOT NULL,
    received_at             timestamptz NOT NULL,
    status                  text        NOT NULL CHECK (status IN (
        'pending', 'unmatched', 'unpriceable', 'completed', 'credit')),
    reason                  text,                  -- why it waits, in words
    session_id              uuid,                  -- our session, once matched
    updated_at              timestamptz NOT NULL,
    replays                 integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (party_id, cdr_key),
    CHECK (NOT credit OR credit_reference_id IS NOT NULL),
    CHECK (credit = (status = 'credit')),
    CHECK (status <> 'completed' OR session_id IS NOT NULL),
    CHECK (status NOT IN ('unmatched', 'unpriceable') OR reason IS NOT NULL)
);
CREATE INDEX ocpi_cdr_queue ON gateway.ocpi_cdr (status, received_at) WHERE status NOT IN ('completed', 'credit');
CREATE INDEX ocpi_cdr_changed ON gateway.ocpi_cdr (party_id, last_updated);
CREATE INDEX ocpi_cdr_credited ON gateway.ocpi_cdr (party_id, lower(credit_reference_id)) WHERE credit;

-- Pushes that were rejected, the newest ones: they show an operator what a CPO could not deliver and why.
CREATE TABLE gateway.ocpi_rejected_push (
    id          uuid        PRIMARY KEY,
    party_id    text        NOT NULL REFERENCES gateway.party (id),
    module      text        NOT NULL,
    object_id   text,
    version     text        NOT NULL,
    status_code smallint    NOT NULL,
    reason      text        NOT NULL,
    raw         bytea       NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX ocpi_rejected_push_party ON gateway.ocpi_rejected_push (party_id, id);

-- Drivers' tokens that CPOs may ask about (an app user, an RFID card, an eMAID), and how their charging is paid.
CREATE TABLE gateway.ocpi_token (
    uid_key           text        NOT NULL CHECK (uid_key = lower(uid_key)),
    type              text        NOT NULL,                                -- APP_USER, AD_HOC_USER, RFID, OTHER, EMAID
    uid               text        NOT NULL,
    country_code      text        NOT NULL CHECK (country_code ~ '^[A-Z]{2}$'),
    party_code        text        NOT NULL CHECK (party_code ~ '^[A-Z0-9]{3}$'),
    contract_id       text        NOT NULL,
    visual_number     text,
    issuer            text        NOT NULL,
    group_id          text,
    valid             boolean     NOT NULL,
    whitelist         text        NOT NULL CHECK (whitelist IN ('ALWAYS', 'ALLOWED', 'ALLOWED_OFFLINE', 'NEVER')),
    language          text,
    demand_partner_id text        NOT NULL REFERENCES gateway.party (id),  -- whose driver
    payment           jsonb       NOT NULL,  -- 'payment' of an authorization in the capture API
    last_updated      timestamptz NOT NULL,
    PRIMARY KEY (uid_key, type)
);
CREATE INDEX ocpi_token_changed ON gateway.ocpi_token (last_updated, uid_key, type);
CREATE INDEX ocpi_token_contract ON gateway.ocpi_token (lower(contract_id));

-- A CPO's request to authorize a token at a place. A repeat soon after has the same answer. The row is committed before
-- the payment is authorized, so that a crash leaves no second hold.
CREATE TABLE gateway.ocpi_token_authorization (
    authorization_id uuid        PRIMARY KEY,
    cpo_id           text        NOT NULL REFERENCES gateway.party (id),
    uid_key          text        NOT NULL,
    type             text        NOT NULL,
    evse_uid_key     text        NOT NULL,
    requested_at     timestamptz NOT NULL,
    FOREIGN KEY (uid_key, type) REFERENCES gateway.ocpi_token (uid_key, type)
);
CREATE INDEX ocpi_token_authorization_recent
    ON gateway.ocpi_token_authorization (cpo_id, uid_key, type, evse_uid_key, requested_at DESC);

-- Commands that we sent to a CPO. Their states are those of gateway/ocpi/command_state.py; a test compares them.
CREATE TABLE gateway.ocpi_command (
    id                      uuid        PRIMARY KEY,
    cpo_id                  text        NOT NULL REFERENCES gateway.party (id),
    command                 text        NOT NULL CHECK (command IN (
        'START_SESSION', 'STOP_SESSION', 'UNLOCK_CONNECTOR', 'RESERVE_NOW', 'CANCEL_RESERVATION')),
    state                   text        NOT NULL CHECK (state IN (
        'requested', 'unanswered', 'accepted', 'rejected', 'succeeded', 'failed', 'timed_out')),
    authorization_reference text,
    response                text,                  -- CommandResponseType, as the CPO answered
    result                  text,                  -- CommandResultType, as the charge point reported
    reason                  text,
    created_at              timestamptz NOT NULL,  -- wall time
    deadline                timestamptz NOT NULL,  -- wall time; without a result by then it has timed out
    finished_at             timestamptz,
    CHECK ((state IN ('rejected', 'succeeded', 'failed', 'timed_out')) = (finished_at IS NOT NULL))
);
CREATE INDEX ocpi_command_open ON gateway.ocpi_command (deadline) WHERE finished_at IS NULL;

-- How far the pull of a peer's module has come. `since` moves on only when a run has read its last page.
CREATE TABLE gateway.ocpi_pull (
    peer_id    uuid        NOT NULL REFERENCES gateway.ocpi_peer (id),
    module     text        NOT NULL CHECK (module IN ('locations', 'tariffs', 'sessions', 'cdrs')),
    since      timestamptz,                     -- date_from of the next run; null: everything
    run_until  timestamptz,                     -- date_to of the current run
    next_url   text,                            -- next page of the current run; after a crash it continues here
    seen       integer     NOT NULL DEFAULT 0,  -- objects of the current run so far
    rejected   integer     NOT NULL DEFAULT 0,
    due_at     timestamptz NOT NULL,            -- wall time
    failures   integer     NOT NULL DEFAULT 0,  -- in a row
    last_error text,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (peer_id, module),
    CHECK ((next_url IS NULL) = (run_until IS NULL))
);
CREATE INDEX ocpi_pull_due ON gateway.ocpi_pull (due_at);

-- Payment terminals (2.3.0 payments): ours, assigned to locations by their CPO.
CREATE TABLE gateway.ocpi_terminal (
    terminal_key text        PRIMARY KEY CHECK (terminal_key = lower(terminal_key)),
    terminal_id  text        NOT NULL,
    cpo_id       text        NOT NULL REFERENCES gateway.party (id),
    state        text        NOT NULL CHECK (state IN ('active', 'deactivated')),
    body         bytea       NOT NULL,
    created_at   timestamptz NOT NULL,
    last_updated timestamptz NOT NULL
);
CREATE INDEX ocpi_terminal_cpo ON gateway.ocpi_terminal (cpo_id, created_at, terminal_key);

-- Financial advice confirmations (2.3.0 payments): what was captured, reported to a CPO that writes its own invoice.
CREATE TABLE gateway.ocpi_financial_advice (
    capture_id   uuid        PRIMARY KEY,  -- one advice for each capture, for ever
    advice_id    text        NOT NULL UNIQUE,
    cpo_id       text        NOT NULL REFERENCES gateway.party (id),
    body         bytea       NOT NULL,
    last_updated timestamptz NOT NULL
);
CREATE INDEX ocpi_financial_advice_cpo ON gateway.ocpi_financial_advice (cpo_id, last_updated, advice_id);

-- Invoice reconciliation records (2.3.0): which of its CDRs a CPO has put on which invoice.
CREATE TABLE gateway.ocpi_invoice (
    party_id     text        NOT NULL REFERENCES gateway.party (id),
    record_key   text        NOT NULL CHECK (record_key = lower(record_key)),
    record_id    text        NOT NULL,
    invoice_id   text        NOT NULL,
    cdr_keys     text[]      NOT NULL CHECK (cardinality(cdr_keys) > 0),
    body         bytea       NOT NULL,
    last_updated timestamptz NOT NULL,
    received_at  timestamptz NOT NULL,
    deleted_at   timestamptz,
    PRIMARY KEY (party_id, record_key)
);

-- Messages that must reach a peer: sent in order by object and retried; one that can't be delivered is an exception.
CREATE TABLE gateway.ocpi_outbox (
    id           uuid        PRIMARY KEY,
    party_id     text        NOT NULL REFERENCES gateway.party (id),  -- the receiver
    module       text        NOT NULL,
    method       text        NOT NULL CHECK (method IN ('POST', 'PUT', 'PATCH', 'DELETE')),
    path         text        NOT NULL,                                -- below the module's endpoint, may be empty
    object_id    text        NOT NULL,
    body         bytea       NOT NULL,
    created_at   timestamptz NOT NULL,
    run_at       timestamptz NOT NULL,                                -- wall time
    leased_until timestamptz,
    attempts     integer     NOT NULL DEFAULT 0,
    last_error   text,
    exception_at timestamptz                                          -- stopped: a person decides
);
CREATE INDEX ocpi_outbox_due ON gateway.ocpi_outbox (run_at) WHERE exception_at IS NULL;
CREATE INDEX ocpi_outbox_object ON gateway.ocpi_outbox (party_id, object_id, id);

-- ---------------------------------------------------------------------------------------------------------------------
-- The clock of a sandbox.
-- ---------------------------------------------------------------------------------------------------------------------

-- Business time = business_at + rate * (wall time - anchored_at). No row: business time is wall time.
CREATE TABLE gateway.market_clock (
    singleton   boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    business_at timestamptz NOT NULL,
    anchored_at timestamptz NOT NULL,
    rate        integer     NOT NULL DEFAULT 1 CHECK (rate >= 0)  -- 0: business time stands still
);
