-- The gateway's own tables. Money is bigint minor units + char(3); time is timestamptz; ids are UUIDv7.
--
-- Tables of a charging session carry `lane` (0 to 63, the last byte of the session's id & 63), which leads
-- every key: a worker leases one lane at a time, and a distributed PostgreSQL shards by it. Tables without
-- `lane` are small reference tables.

-- Whoever holds an API key: CPO, demand partner, eMSP, site host, or the platform itself.
CREATE TABLE gateway.party (
    id          text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_-]{1,62}$'),  -- a slug: 'NL-ABC', 'superapp'
    kind        text NOT NULL CHECK (kind IN ('platform', 'cpo', 'demand_partner', 'emsp', 'site_host')),
    name        text NOT NULL CHECK (name <> ''),
    created_at  timestamptz NOT NULL
);

-- API keys are shown once; only a SHA-256 of 256 random bits is kept, found by its prefix.
CREATE TABLE gateway.api_key (
    id          uuid PRIMARY KEY,
    party_id    text NOT NULL REFERENCES gateway.party (id),
    prefix      text NOT NULL UNIQUE,                       -- 'nck_' + 12 characters, safe to log
    secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    scopes      text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz,                                -- set on the old key at rotation: the overlap
    revoked_at  timestamptz
);
CREATE INDEX api_key_party ON gateway.api_key (party_id);

-- One row per Idempotency-Key of a party (draft-ietf-httpapi-idempotency-key-header). The row is committed
-- before the work starts and names the id that the work will give its resource, so that a retry after a
-- crash finds or finishes the same resource and never makes a second one.
CREATE TABLE gateway.idempotency_key (
    party_id     text NOT NULL REFERENCES gateway.party (id),
    key          text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_hash bytea NOT NULL CHECK (octet_length(request_hash) = 32),  -- method, path and body
    resource_id  uuid NOT NULL,
    locked_until timestamptz,                               -- wall time; in flight until then
    status       smallint,                                  -- HTTP status of the stored answer
    headers      jsonb,
    body         bytea,
    created_at   timestamptz NOT NULL,                      -- wall time; swept after the documented lifetime
    PRIMARY KEY (party_id, key),
    CHECK ((status IS NULL) = (body IS NULL)),
    CHECK (status IS NULL OR locked_until IS NULL)
);
CREATE INDEX idempotency_key_age ON gateway.idempotency_key (created_at);

-- What a driver was shown, frozen: content-addressed, never changed.
CREATE TABLE gateway.tariff_snapshot (
    sha256      text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    version     text NOT NULL CHECK (version IN ('2.1.1', '2.2.1', '2.3.0')),
    canonical   bytea NOT NULL,                             -- canonical JSON, the bytes that were hashed
    currency    char(3) NOT NULL,
    created_at  timestamptz NOT NULL
);

-- A partner's money with the platform: what may be held and captured without a card.
CREATE TABLE gateway.partner_account (
    party_id           text NOT NULL REFERENCES gateway.party (id),
    currency           char(3) NOT NULL,
    balance_minor      bigint NOT NULL DEFAULT 0,           -- funded minus captured
    held_minor         bigint NOT NULL DEFAULT 0 CHECK (held_minor >= 0),
    credit_limit_minor bigint NOT NULL DEFAULT 0 CHECK (credit_limit_minor >= 0),
    PRIMARY KEY (party_id, currency),
    CHECK (balance_minor - held_minor + credit_limit_minor >= 0)
);

-- Each funding of a partner account, once per reference.
CREATE TABLE gateway.partner_funding (
    id           uuid PRIMARY KEY,
    party_id     text NOT NULL REFERENCES gateway.party (id),
    currency     char(3) NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    reference    text NOT NULL,
    psp_object   text,                                      -- the top-up at the PSP; null until it answered
    created_at   timestamptz NOT NULL,
    UNIQUE (party_id, reference)
);

-- Who owns the ground of a location and may take a share of its sessions.
CREATE TABLE gateway.site_host (
    cpo_id      text NOT NULL REFERENCES gateway.party (id),
    location_id text NOT NULL,
    party_id    text NOT NULL REFERENCES gateway.party (id),
    PRIMARY KEY (cpo_id, location_id)
);

-- One charging session: the thing that is paid for, once.
CREATE TABLE gateway.session (
    lane              smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    id                uuid NOT NULL CHECK (lane = get_byte(uuid_send(id), 15) & 63),
    demand_partner_id text NOT NULL REFERENCES gateway.party (id),
    cpo_id            text NOT NULL REFERENCES gateway.party (id),
    evse_id           text NOT NULL,
    location_id       text NOT NULL,
    session_ref       text,                                 -- the CPO's or partner's name for it
    territory         text NOT NULL,                        -- tax territory of the charge point
    time_zone         text NOT NULL,                        -- IANA zone of the location
    currency          char(3) NOT NULL,
    tariff_sha256     text NOT NULL REFERENCES gateway.tariff_snapshot (sha256),
    state             text NOT NULL CHECK (state IN ('active', 'completed', 'cleared', 'parked')),
    cdr_id            text,
    cdr_version       text,
    cdr               bytea,                                -- the CDR's bytes as priced, immutable
    price_minor       bigint CHECK (price_minor >= 0),      -- VAT included, from the frozen tariff
    price_net_minor   bigint,
    energy_wh         bigint,
    ended_at          timestamptz,                          -- the sale's instant
    flags             text[] NOT NULL DEFAULT '{}',         -- what is odd: 'cpo_total_differs', ...
    metadata          jsonb NOT NULL DEFAULT '{}',
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    PRIMARY KEY (lane, id),
    CHECK ((state = 'active') = (cdr IS NULL)),
    CHECK ((cdr IS NULL) = (price_minor IS NULL) AND (cdr IS NULL) = (ended_at IS NULL))
);
CREATE INDEX session_partner ON gateway.session (demand_partner_id, id);
CREATE INDEX session_cpo ON gateway.session (cpo_id, id);

-- From a foreign name to our session; on a distributed database sharded by `foreign_id`.
CREATE TABLE gateway.session_lookup (
    kind        text NOT NULL CHECK (kind IN ('session_ref', 'cdr', 'psp_payment')),
    foreign_id  text NOT NULL,                              -- 'NL-ABC:ref', 'NL-ABC:cdr', 'pi_...'
    lane        smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    session_id  uuid NOT NULL,
    PRIMARY KEY (kind, foreign_id)
);

-- The promise that a session will be paid: one resource for card, app and Plug & Charge.
-- The states are those of gateway/payments/payment.py and of docs/state_machines.md; a test compares them.
CREATE TABLE gateway.payment_authorization (
    lane              smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    id                uuid NOT NULL CHECK (lane = get_byte(uuid_send(id), 15) & 63),
    session_id        uuid NOT NULL,
    party_id          text NOT NULL REFERENCES gateway.party (id),
    rail              text NOT NULL CHECK (rail IN ('card', 'app', 'plug_and_charge')),
    funding           text NOT NULL CHECK (funding IN ('psp', 'partner_account')),
    account_party_id  text REFERENCES gateway.party (id),   -- whose funded account, where it is one
    state             text NOT NULL CHECK (state IN (
        'requires_authorization', 'requires_action', 'authorized', 'capture_requested', 'captured',
        'voided', 'failed', 'outcome_unknown')),
    version           integer NOT NULL DEFAULT 1,           -- the ETag
    hold_minor        bigint NOT NULL CHECK (hold_minor >= 0),
    currency          char(3) NOT NULL,
    payment_method    text,                                 -- the PSP's token; never card data
    customer          text,
    off_session       boolean NOT NULL DEFAULT false,       -- merchant-initiated under a stored mandate
    psp_payment       text,                                 -- the PSP's object, once it has one
    capture_before    timestamptz,                          -- the hold ends then
    incrementable     boolean NOT NULL DEFAULT false,       -- the PSP offers to raise this hold
    max_capture_minor bigint,                               -- the PSP offers to capture up to this (over-capture)
    next_action       jsonb,
    decline_code      text,
    metadata          jsonb NOT NULL DEFAULT '{}',
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    PRIMARY KEY (lane, id),
    FOREIGN KEY (lane, session_id) REFERENCES gateway.session (lane, id),
    CHECK ((funding = 'partner_account') = (account_party_id IS NOT NULL)),
    CHECK (funding <> 'psp' OR state IN ('requires_authorization', 'failed', 'outcome_unknown', 'voided')
           OR psp_payment IS NOT NULL),
    CHECK ((state = 'requires_action') = (next_action IS NOT NULL)),
    CHECK (decline_code IS NULL OR state = 'failed')
);
-- Two rails can't both hold one session: a second authorization waits until the first is voided or failed.
CREATE UNIQUE INDEX payment_authorization_one_active ON gateway.payment_authorization (lane, session_id)
    WHERE state NOT IN ('voided', 'failed');
CREATE INDEX payment_authorization_expiring ON gateway.payment_authorization (lane, capture_before)
    WHERE state = 'authorized';

-- The single capture. The row is committed before the PSP is asked; its key is what makes a second one
-- impossible, for ever, whichever rail or message asks.
CREATE TABLE gateway.capture (
    lane              smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    session_id        uuid NOT NULL,
    id                uuid NOT NULL CHECK (lane = get_byte(uuid_send(id), 15) & 63),
    authorization_id  uuid NOT NULL,
    state             text NOT NULL CHECK (state IN ('requested', 'succeeded', 'failed')),
    amount_minor      bigint NOT NULL CHECK (amount_minor > 0),
    receivable_minor  bigint NOT NULL DEFAULT 0 CHECK (receivable_minor >= 0),  -- priced, not collected
    currency          char(3) NOT NULL,
    psp_charge        text,
    fee_minor         bigint,
    fee_currency      char(3),
    collected_minor   bigint NOT NULL DEFAULT 0 CHECK (collected_minor >= 0),   -- of the amount, charged off-session
    refunded_minor    bigint NOT NULL DEFAULT 0,
    disputed_minor    bigint NOT NULL DEFAULT 0 CHECK (disputed_minor >= 0),    -- lost to chargebacks
    captured_at       timestamptz,
    created_at        timestamptz NOT NULL,
    PRIMARY KEY (lane, session_id),                         -- at most one capture per session, for ever
    CHECK (refunded_minor BETWEEN 0 AND amount_minor),      -- refunds are bounded by what was captured
    UNIQUE (lane, id),
    FOREIGN KEY (lane, session_id) REFERENCES gateway.session (lane, id),
    FOREIGN KEY (lane, authorization_id) REFERENCES gateway.payment_authorization (lane, id),
    CHECK ((state = 'succeeded') = (captured_at IS NOT NULL)),
    CHECK ((fee_minor IS NULL) = (fee_currency IS NULL))
);

-- Money given back: full or partial, several, never more than was captured.
CREATE TABLE gateway.refund (
    lane          smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    id            uuid NOT NULL CHECK (lane = get_byte(uuid_send(id), 15) & 63),
    session_id    uuid NOT NULL,
    state         text NOT NULL CHECK (state IN ('requested', 'succeeded', 'failed')),
    amount_minor  bigint NOT NULL CHECK (amount_minor > 0),
    currency      char(3) NOT NULL,
    reason        text NOT NULL CHECK (reason IN (
        'requested_by_driver', 'duplicate', 'fraudulent', 'cdr_corrected', 'reversed_by_psp')),
    psp_refund    text,
    failure_code  text,
    metadata      jsonb NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL,
    finished_at   timestamptz,
    PRIMARY KEY (lane, id),
    FOREIGN KEY (lane, session_id) REFERENCES gateway.capture (lane, session_id),
    CHECK ((state = 'requested') = (finished_at IS NULL)),
    CHECK ((state = 'failed') = (failure_code IS NOT NULL))
);
CREATE INDEX refund_session ON gateway.refund (lane, session_id);
CREATE UNIQUE INDEX refund_at_psp ON gateway.refund (lane, psp_refund) WHERE psp_refund IS NOT NULL;

-- A cardholder's bank takes money back; the PSP's word decides how it ends.
CREATE TABLE gateway.dispute (
    lane          smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    id            uuid NOT NULL CHECK (lane = get_byte(uuid_send(id), 15) & 63),
    session_id    uuid NOT NULL,
    psp_dispute   text NOT NULL,
    state         text NOT NULL CHECK (state IN ('opened', 'won', 'lost')),
    amount_minor  bigint NOT NULL CHECK (amount_minor > 0),
    fee_minor     bigint NOT NULL DEFAULT 0,
    currency      char(3) NOT NULL,
    reason        text NOT NULL,
    opened_at     timestamptz NOT NULL,
    closed_at     timestamptz,
    PRIMARY KEY (lane, id),
    UNIQUE (lane, psp_dispute),
    FOREIGN KEY (lane, session_id) REFERENCES gateway.capture (lane, session_id),
    CHECK ((state = 'opened') = (closed_at IS NULL))
);
CREATE INDEX dispute_session ON gateway.dispute (lane, session_id);

-- The journal of calls to the PSP: intent first, then the call, then its outcome. `id` gives the
-- idempotency key and never changes on retry; only the PSP's answer ends a call.
CREATE TABLE gateway.psp_call (
    lane              smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    id                uuid NOT NULL CHECK (lane = get_byte(uuid_send(id), 15) & 63),
    session_id        uuid NOT NULL,
    authorization_id  uuid NOT NULL,
    kind              text NOT NULL CHECK (kind IN (
        'hold', 'increment', 'capture', 'void', 'collect', 'refund', 'rehold', 'drop')),
    subject_id        uuid,                                 -- the refund that a call is about
    psp_payment       text,                                 -- the payment that a call drops
    state             text NOT NULL CHECK (state IN ('intended', 'unknown', 'succeeded', 'declined')),
    amount_minor      bigint NOT NULL CHECK (amount_minor >= 0),
    answer            jsonb,                                -- code and ids the PSP gave, no personal data
    attempts          integer NOT NULL DEFAULT 0,
    next_ask_at       timestamptz,                          -- wall time of the next question
    created_at        timestamptz NOT NULL,                 -- wall time: the PSP's key lifetime counts from it
    finished_at       timestamptz,
    PRIMARY KEY (lane, id),
    FOREIGN KEY (lane, authorization_id) REFERENCES gateway.payment_authorization (lane, id),
    CHECK ((state IN ('succeeded', 'declined')) = (finished_at IS NOT NULL)),
    CHECK ((state IN ('intended', 'unknown')) = (next_ask_at IS NOT NULL))
);
-- At most one call in the air per authorization.
CREATE UNIQUE INDEX psp_call_one_open ON gateway.psp_call (lane, authorization_id)
    WHERE state IN ('intended', 'unknown');
CREATE INDEX psp_call_due ON gateway.psp_call (lane, next_ask_at) WHERE state IN ('intended', 'unknown');

-- Work to be done, written in the transaction that makes it necessary, leased with SKIP LOCKED one lane
-- at a time, deleted in the transaction that does it.
CREATE TABLE gateway.task (
    lane         smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    id           uuid NOT NULL,
    kind         text NOT NULL CHECK (kind IN (
        'complete', 'capture', 'collect', 'clear', 'correct', 'psp_event')),
    session_id   uuid,
    payload      jsonb NOT NULL DEFAULT '{}',
    run_at       timestamptz NOT NULL,                      -- wall time
    leased_until timestamptz,                               -- wall time
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text,
    parked_at    timestamptz,                               -- gave up; an operator looks
    PRIMARY KEY (lane, id)
);
CREATE INDEX task_due ON gateway.task (lane, kind, run_at) WHERE parked_at IS NULL;
-- One clearing and one capture errand per session.
CREATE UNIQUE INDEX task_once ON gateway.task (lane, kind, session_id) WHERE kind IN ('capture', 'collect', 'clear');

-- What happened, written in the transaction in which it happened; partners pull it or get it by webhook.
CREATE TABLE gateway.event (
    lane        smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    id          uuid NOT NULL,
    party_id    text NOT NULL,                              -- whose event: one row per party that may see it
    type        text NOT NULL CHECK (type ~ '^[a-z_]+\.[a-z_]+$'),
    object_id   text NOT NULL,                              -- prefixed id of the object: order is kept per object
    data        jsonb NOT NULL,                             -- the object as the API shows it
    created_at  timestamptz NOT NULL,                       -- business time
    fanned_out  boolean NOT NULL DEFAULT false,             -- deliveries have been made from it
    PRIMARY KEY (lane, id)
);
CREATE INDEX event_party ON gateway.event (party_id, id);
CREATE INDEX event_to_fan_out ON gateway.event (lane, id) WHERE NOT fanned_out;

-- The PSP's events as they arrived, once each; unknown types are kept.
CREATE TABLE gateway.psp_event (
    id          text PRIMARY KEY,
    type        text NOT NULL,
    body        bytea NOT NULL,
    received_at timestamptz NOT NULL
);

-- The business clock of a sandbox: business time = business_at + rate * (wall time - anchored_at). No row: wall time.
CREATE TABLE gateway.market_clock (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    business_at timestamptz NOT NULL,
    anchored_at timestamptz NOT NULL,
    rate        integer NOT NULL DEFAULT 1 CHECK (rate >= 0)  -- 0: business time stands still
);
