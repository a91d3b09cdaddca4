-- The schema of Plug & Charge: which roots are trusted, which contract pays, which certificate names which contract,
-- what is known about revocation, and every authorization decision.
--
-- Trust, contracts, certificates and revocation are reference tables: small or read on every request. Decisions carry
-- `shard` (0 to 63, from the operator's session reference) first in every key, so that the same statements run on one
-- PostgreSQL and, distributed by shard, on Citus. No triggers; a sequence only in a reference table. Time is
-- timestamptz. Money is a bigint of minor units beside its ISO 4217 code. Certificates are DER.

-- ---------------------------------------------------------------------------------------------------------------------
-- Trust.
-- ---------------------------------------------------------------------------------------------------------------------

-- One row for each environment (live, sandbox, ...). Every change of its trust raises the version, so that a process
-- knows in one read whether its snapshot is current.
CREATE TABLE pnc.environment (
    environment text   PRIMARY KEY CHECK (environment ~ '^[a-z][a-z0-9_-]{0,31}$'),
    version     bigint NOT NULL DEFAULT 0 CHECK (version >= 0)
);

-- A root to which a contract's chain may lead. Retired ones stay for the record.
CREATE TABLE pnc.trust_anchor (
    environment   text        NOT NULL REFERENCES pnc.environment,
    sha256        bytea       NOT NULL CHECK (octet_length(sha256) = 32),  -- of the DER
    purpose       text        NOT NULL CHECK (purpose IN ('mo_root', 'v2g_root')),
    der           bytea       NOT NULL,
    subject       text        NOT NULL,                                    -- RFC 4514, for people
    not_before    timestamptz NOT NULL,
    not_after     timestamptz NOT NULL,
    -- Whether a revocation status must be proved.
    policy        text        NOT NULL CHECK (policy IN ('require', 'soft')),
    policy_reason text        NOT NULL CHECK (policy = 'require' OR policy_reason <> ''),
    added_at      timestamptz NOT NULL,
    retired_at    timestamptz CHECK (retired_at >= added_at),
    PRIMARY KEY (environment, sha256)
);

-- A certificate by which one root vouches for another, or for a sub-authority. It helps to build paths and is never a
-- trust anchor.
CREATE TABLE pnc.cross_certificate (
    environment text        NOT NULL REFERENCES pnc.environment,
    sha256      bytea       NOT NULL CHECK (octet_length(sha256) = 32),
    der         bytea       NOT NULL,
    subject     text        NOT NULL,
    issuer      text        NOT NULL,
    added_at    timestamptz NOT NULL,
    retired_at  timestamptz CHECK (retired_at >= added_at),
    PRIMARY KEY (environment, sha256)
);

-- Every change of trust, by whom and why. Rows are only added.
CREATE TABLE pnc.trust_event (
    environment text        NOT NULL REFERENCES pnc.environment,
    version     bigint      NOT NULL,
    kind        text        NOT NULL CHECK (kind IN (
        'anchor_added', 'anchor_retired', 'policy_changed', 'cross_certificate_added', 'cross_certificate_retired',
        'endpoint_allowed', 'endpoint_removed')),
    sha256      bytea       NOT NULL,
    detail      text        NOT NULL,
    actor       text        NOT NULL CHECK (actor <> ''),
    reason      text        NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (environment, version)
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Contracts and their certificates.
-- ---------------------------------------------------------------------------------------------------------------------

-- A contract: an eMAID, whose driver it is, and what pays. The payment reference never leaves this system; contract_id
-- is the pseudonym that other parties see.
CREATE TABLE pnc.contract (
    environment       text        NOT NULL REFERENCES pnc.environment,
    emaid             char(14)    NOT NULL CHECK (emaid ~ '^[A-Z]{2}[A-Z0-9]{12}$'),
    contract_id       uuid        NOT NULL UNIQUE,
    party             text        NOT NULL CHECK (party <> ''),      -- slug of the eMSP or demand partner
    payment_kind      text        NOT NULL CHECK (payment_kind IN ('psp_mandate', 'partner_account')),
    payment_reference text        NOT NULL CHECK (payment_reference <> ''),  -- opaque here
    payment_usable    boolean     NOT NULL DEFAULT true,             -- false once its means of payment is gone
    state             text        NOT NULL CHECK (state IN ('active', 'blocked', 'cancelled')),
    valid_from        timestamptz NOT NULL,
    valid_until       timestamptz CHECK (valid_until > valid_from),  -- exclusive
    limit_minor       bigint      CHECK (limit_minor > 0),           -- for each session
    currency          char(3),
    revision          integer     NOT NULL DEFAULT 1 CHECK (revision > 0),
    updated_at        timestamptz NOT NULL,
    PRIMARY KEY (environment, emaid),
    CHECK ((limit_minor IS NULL) = (currency IS NULL))
);
CREATE INDEX contract_party ON pnc.contract (environment, party, emaid);
CREATE INDEX contract_payment ON pnc.contract (payment_kind, payment_reference);

-- Every change of a contract: its history, and the list of changes that partners read. Rows are only added. Readers
-- stop at the oldest running transaction (`written_by`), so a change that commits late is never skipped.
CREATE TABLE pnc.contract_change (
    written_by  xid8        NOT NULL DEFAULT pg_current_xact_id(),
    sequence    bigint      GENERATED ALWAYS AS IDENTITY,
    environment text        NOT NULL,
    emaid       char(14)    NOT NULL,
    contract_id uuid        NOT NULL,
    party       text        NOT NULL,
    kind        text        NOT NULL CHECK (kind IN (
        'created', 'changed', 'blocked', 'unblocked', 'cancelled', 'payment_unusable', 'payment_usable')),
    revision    integer     NOT NULL,
    actor       text        NOT NULL,
    reason      text        NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (written_by, sequence)
);
CREATE INDEX contract_change_contract ON pnc.contract_change (environment, emaid, revision);

-- An authority under which contract certificates were registered, with its hashes in each algorithm that OCPP knows.
CREATE TABLE pnc.authority_hash (
    environment      text  NOT NULL REFERENCES pnc.environment,
    algorithm        text  NOT NULL CHECK (algorithm IN ('SHA256', 'SHA384', 'SHA512')),
    name_hash        bytea NOT NULL,
    key_hash         bytea NOT NULL,
    -- Of the authority's key info and name.
    authority_sha256 bytea NOT NULL CHECK (octet_length(authority_sha256) = 32),
    PRIMARY KEY (environment, algorithm, name_hash, key_hash)
);

-- Which certificate names which contract. An update adds a row; the older ones stay as its history.
CREATE TABLE pnc.contract_certificate (
    environment      text        NOT NULL REFERENCES pnc.environment,
    authority_sha256 bytea       NOT NULL,
    serial           bytea       NOT NULL CHECK (octet_length(serial) BETWEEN 1 AND 20),  -- big-endian, no leading zero
    emaid            char(14)    NOT NULL,
    bundle           text        NOT NULL,  -- PEM, leaf first, as it was verified
    leaf_sha256      bytea       NOT NULL CHECK (octet_length(leaf_sha256) = 32),
    not_before       timestamptz NOT NULL,
    not_after        timestamptz NOT NULL,
    source           text        NOT NULL CHECK (source IN ('presented', 'imported')),
    registered_at    timestamptz NOT NULL,
    blocked_at       timestamptz,
    blocked_reason   text,
    PRIMARY KEY (environment, authority_sha256, serial),
    CHECK ((blocked_at IS NULL) = (blocked_reason IS NULL))
);
CREATE INDEX contract_certificate_contract ON pnc.contract_certificate (environment, emaid, registered_at);

-- ---------------------------------------------------------------------------------------------------------------------
-- Revocation.
-- ---------------------------------------------------------------------------------------------------------------------

-- Which origins (scheme, host, port) may be asked about certificates of an authority: a sub-authority or an anchor
-- above it.
CREATE TABLE pnc.revocation_endpoint (
    environment      text  NOT NULL REFERENCES pnc.environment,
    authority_sha256 bytea NOT NULL CHECK (octet_length(authority_sha256) = 32),
    kind             text  NOT NULL CHECK (kind IN ('ocsp', 'crl')),
    origin           text  NOT NULL CHECK (origin ~ '^https?://[^/]+$'),
    PRIMARY KEY (environment, authority_sha256, kind, origin)
);

-- The last verified status of a certificate. `authority_sha256` names the issuer's key and name.
CREATE TABLE pnc.revocation_status (
    authority_sha256 bytea       NOT NULL CHECK (octet_length(authority_sha256) = 32),
    serial           bytea       NOT NULL CHECK (octet_length(serial) BETWEEN 1 AND 20),
    status           text        NOT NULL CHECK (status IN ('good', 'revoked', 'unknown')),
    source           text        NOT NULL CHECK (source IN ('ocsp', 'crl')),
    this_update      timestamptz NOT NULL,
    usable_until     timestamptz NOT NULL,
    revoked_at       timestamptz,
    checked_at       timestamptz NOT NULL,
    PRIMARY KEY (authority_sha256, serial)
);
CREATE INDEX revocation_status_due ON pnc.revocation_status (usable_until) WHERE status = 'good';

-- The newest verified CRL of an authority.
CREATE TABLE pnc.revocation_list (
    authority_sha256 bytea       PRIMARY KEY CHECK (octet_length(authority_sha256) = 32),
    der              bytea       NOT NULL,
    this_update      timestamptz NOT NULL,
    usable_until     timestamptz NOT NULL,
    fetched_at       timestamptz NOT NULL
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Authorization decisions.
-- ---------------------------------------------------------------------------------------------------------------------

-- Every decision about a vehicle's contract certificate. A session has at most one that is open: later calls about it
-- get its answer. The states are those of pnc/authorization.py and docs/state_machines.md; a test compares the three.
CREATE TABLE pnc.decision (
    shard            smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    id               uuid        NOT NULL,
    environment      text        NOT NULL,
    operator_id      text        NOT NULL,
    session_ref      text        NOT NULL CHECK (session_ref <> '' AND length(session_ref) <= 255),
    evse_id          text        NOT NULL,
    ocpp_version     text        NOT NULL CHECK (ocpp_version IN ('2.0.1', '2.1')),
    emaid            char(14),                                       -- null: none could be read
    digest           bytea       CHECK (octet_length(digest) = 32),  -- of the presented proof; null: there was none
    leaf_sha256      bytea       CHECK (octet_length(leaf_sha256) = 32),
    contract_id      uuid,
    state            text        NOT NULL CHECK (state IN (
        'rejected', 'awaiting_payment', 'accepted', 'payment_rejected', 'closed')),
    rejection_reason text,
    detail           text        NOT NULL DEFAULT '',
    notes            text        NOT NULL DEFAULT '',                -- what a soft policy let pass, and why
    trust_version    bigint      NOT NULL,
    authorization_id text,
    decided_at       timestamptz NOT NULL,
    concluded_at     timestamptz,
    closed_at        timestamptz,
    -- OCPP PaymentStatusEnumType, as sent once to the station's operator.
    settlement       text        CHECK (settlement IN ('Settled', 'Canceled', 'Failed')),
    settled_at       timestamptz,
    PRIMARY KEY (shard, id),
    CHECK ((state IN ('rejected', 'payment_rejected')) = (rejection_reason IS NOT NULL)),
    CHECK (state NOT IN ('awaiting_payment', 'accepted') OR (emaid IS NOT NULL AND contract_id IS NOT NULL)),
    CHECK (state <> 'accepted' OR (authorization_id IS NOT NULL AND concluded_at IS NOT NULL)),
    CHECK ((state = 'closed') = (closed_at IS NOT NULL)),
    CHECK ((settlement IS NULL) = (settled_at IS NULL)),
    CHECK (settlement IS NULL OR (state = 'closed' AND authorization_id IS NOT NULL))
);
CREATE UNIQUE INDEX decision_open_of_session ON pnc.decision (shard, environment, operator_id, session_ref)
    WHERE state IN ('awaiting_payment', 'accepted');
CREATE INDEX decision_session ON pnc.decision (shard, environment, operator_id, session_ref, decided_at DESC);
-- Decisions without a settlement notice. A failed settlement is checked again: the money may arrive late.
CREATE INDEX decision_without_notice ON pnc.decision (shard, id)
    WHERE authorization_id IS NOT NULL AND (settlement IS NULL OR settlement = 'Failed');
-- Decisions past their retention.
CREATE INDEX decision_age ON pnc.decision (shard, decided_at);
