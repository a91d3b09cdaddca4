-- The OCPI edge: who is connected, what they pushed, what became of it.
--
-- Identifiers of OCPI are case-insensitive (CiString), so every key column `*_key` holds the lower-case form and
-- the body keeps the spelling. These rows belong to a party and are found by the party's own names; they carry no
-- lane and would be distributed by the name. The mapping to a session's lane is made when a CDR is matched.

-- A platform connected to ours, or invited: `registration` is the credentials handshake.
CREATE TABLE gateway.ocpi_peer (
    id               uuid PRIMARY KEY,
    party_id         text NOT NULL REFERENCES gateway.party (id),  -- who was invited
    state            text NOT NULL CHECK (state IN ('invited', 'registered', 'ended')),
    token_hash       bytea UNIQUE CHECK (octet_length(token_hash) = 32),  -- of the token they send us
    outbound_token   text,                                  -- the token we send them; needed in the clear to be sent
    outbound_raw     boolean NOT NULL DEFAULT false,        -- they expect it bare, not in Base64
    version          text CHECK (version IN ('2.1.1', '2.2.1', '2.3.0')),
    versions_url     text,
    created_at       timestamptz NOT NULL,
    registered_at    timestamptz,
    ended_at         timestamptz,
    CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
    CHECK (state <> 'registered' OR (version IS NOT NULL AND versions_url IS NOT NULL AND outbound_token IS NOT NULL
           AND registered_at IS NOT NULL AND token_hash IS NOT NULL)),
    CHECK (state <> 'ended' OR (token_hash IS NULL AND outbound_token IS NULL))
);

-- Whose objects an invitation lets the peer push: the invited party, and those it operates for.
CREATE TABLE gateway.ocpi_peer_party (
    peer_id      uuid NOT NULL REFERENCES gateway.ocpi_peer (id),
    party_id     text NOT NULL REFERENCES gateway.party (id),
    PRIMARY KEY (peer_id, party_id)
);

-- The roles a peer named in its credentials.
CREATE TABLE gateway.ocpi_peer_role (
    peer_id      uuid NOT NULL REFERENCES gateway.ocpi_peer (id),
    role         text NOT NULL,
    country_code text NOT NULL CHECK (country_code ~ '^[A-Z]{2}$'),
    party_code   text NOT NULL CHECK (party_code ~ '^[A-Z0-9]{3}$'),
    name         text NOT NULL,
    PRIMARY KEY (peer_id, role, country_code, party_code)
);
CREATE INDEX ocpi_peer_role_party ON gateway.ocpi_peer_role (country_code, party_code);

-- Where the peer's own modules answer, from its version details.
CREATE TABLE gateway.ocpi_peer_endpoint (
    peer_id      uuid NOT NULL REFERENCES gateway.ocpi_peer (id),
    module       text NOT NULL,
    role         text NOT NULL CHECK (role IN ('SENDER', 'RECEIVER')),
    url          text NOT NULL,
    PRIMARY KEY (peer_id, module, role)
);

-- Locations as they stand after every PUT and PATCH; numbers exactly as sent.
CREATE TABLE gateway.ocpi_location (
    party_id     text NOT NULL REFERENCES gateway.party (id),
    location_key text NOT NULL CHECK (location_key = lower(location_key)),
    location_id  text NOT NULL,
    version      text NOT NULL CHECK (version IN ('2.1.1', '2.2.1', '2.3.0')),
    body         bytea NOT NULL,
    last_updated timestamptz NOT NULL,
    received_at  timestamptz NOT NULL,                      -- business time of the first push
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (party_id, location_key)
);
CREATE INDEX ocpi_location_changed ON gateway.ocpi_location (party_id, last_updated);

-- What an authorization asks of a location, one row per connector; rewritten with its location.
CREATE TABLE gateway.ocpi_connector (
    party_id      text NOT NULL,
    location_key  text NOT NULL,
    evse_uid_key  text NOT NULL,
    connector_key text NOT NULL,
    position      integer NOT NULL,                         -- order in the location, EVSE by EVSE
    location_id   text NOT NULL,
    evse_uid      text NOT NULL,
    evse_id       text,
    evse_key      text,                                     -- upper case, separators removed
    connector_id  text NOT NULL,
    status        text NOT NULL,
    power_type    text NOT NULL,
    max_power_w   bigint NOT NULL CHECK (max_power_w >= 0),
    tariff_keys   text[] NOT NULL,
    time_zone     text NOT NULL,                            -- IANA; empty if the location names none we can find
    country       char(2) NOT NULL,                         -- ISO 3166-1 alpha-2
    postal_code   text NOT NULL,
    territory     text NOT NULL,                            -- tax territory
    PRIMARY KEY (party_id, location_key, evse_uid_key, connector_key),
    FOREIGN KEY (party_id, location_key) REFERENCES gateway.ocpi_location (party_id, location_key)
);
CREATE INDEX ocpi_connector_evse ON gateway.ocpi_connector (evse_key);
CREATE INDEX ocpi_connector_uid ON gateway.ocpi_connector (evse_uid_key);

-- Every version of every tariff ever pushed. A replaced or deleted one still prices sessions that saw it.
CREATE TABLE gateway.ocpi_tariff (
    id            uuid PRIMARY KEY,
    party_id      text NOT NULL REFERENCES gateway.party (id),
    tariff_key    text NOT NULL CHECK (tariff_key = lower(tariff_key)),
    tariff_id     text NOT NULL,
    version       text NOT NULL CHECK (version IN ('2.1.1', '2.2.1', '2.3.0')),
    raw           bytea NOT NULL,                           -- the bytes as pushed
    type          text,                                     -- REGULAR, AD_HOC_PAYMENT, PROFILE_...; null: every session
    valid_from    timestamptz,                              -- start_date_time
    valid_until   timestamptz,                              -- end_date_time, exclusive
    last_updated  timestamptz NOT NULL,
    received_at   timestamptz NOT NULL,
    superseded_at timestamptz,                              -- replaced or deleted from here on
    CHECK (superseded_at >= received_at)
);
CREATE UNIQUE INDEX ocpi_tariff_current ON gateway.ocpi_tariff (party_id, tariff_key) WHERE superseded_at IS NULL;
CREATE INDEX ocpi_tariff_history ON gateway.ocpi_tariff (party_id, tariff_key, received_at);

-- Running sessions as the CPO reports them; never a basis of billing.
CREATE TABLE gateway.ocpi_session (
    party_id                text NOT NULL REFERENCES gateway.party (id),
    session_key             text NOT NULL CHECK (session_key = lower(session_key)),
    session_ref             text NOT NULL,                  -- Session.id
    version                 text NOT NULL CHECK (version IN ('2.1.1', '2.2.1', '2.3.0')),
    body                    bytea NOT NULL,
    status                  text NOT NULL,
    currency                text NOT NULL,
    energy_wh               bigint NOT NULL,
    authorization_reference text,
    last_updated            timestamptz NOT NULL,
    received_at             timestamptz NOT NULL,
    updated_at              timestamptz NOT NULL,
    PRIMARY KEY (party_id, session_key)
);
CREATE INDEX ocpi_session_authorization ON gateway.ocpi_session (authorization_reference)
    WHERE authorization_reference IS NOT NULL;

-- CDRs: immutable once accepted; what became of each is in `status` and `reason`.
CREATE TABLE gateway.ocpi_cdr (
    party_id                text NOT NULL REFERENCES gateway.party (id),
    cdr_key                 text NOT NULL CHECK (cdr_key = lower(cdr_key)),
    cdr_id                  text NOT NULL,
    version                 text NOT NULL CHECK (version IN ('2.1.1', '2.2.1', '2.3.0')),
    raw                     bytea NOT NULL,                 -- the bytes as sent
    fingerprint             bytea NOT NULL CHECK (octet_length(fingerprint) = 32),  -- of the content, key order aside
    session_ref             text,                           -- their Session.id
    authorization_reference text,
    currency                text NOT NULL,
    ended_at                timestamptz NOT NULL,
    credit                  boolean NOT NULL,
    credit_reference_id     text,
    last_updated            timestamptz NOT NULL,
    received_at             timestamptz NOT NULL,
    status                  text NOT NULL CHECK (status IN (
        'pending', 'matched', 'unmatched', 'unpriceable', 'settled', 'credit')),
    reason                  text,                           -- why it waits, in words
    session_id              uuid,                           -- our session, once matched
    updated_at              timestamptz NOT NULL,
    replays                 integer NOT NULL DEFAULT 0,
    PRIMARY KEY (party_id, cdr_key),
    CHECK (NOT credit OR credit_reference_id IS NOT NULL),
    CHECK (credit = (status = 'credit')),
    CHECK (status NOT IN ('matched', 'settled') OR session_id IS NOT NULL),
    CHECK (status NOT IN ('unmatched', 'unpriceable') OR reason IS NOT NULL)
);
CREATE INDEX ocpi_cdr_queue ON gateway.ocpi_cdr (status, received_at) WHERE status NOT IN ('settled', 'credit');
CREATE INDEX ocpi_cdr_changed ON gateway.ocpi_cdr (party_id, last_updated);
CREATE INDEX ocpi_cdr_credited ON gateway.ocpi_cdr (party_id, lower(credit_reference_id)) WHERE credit;

-- Pushes that were refused, newest kept, so that an operator sees what a CPO could not deliver and why.
CREATE TABLE gateway.ocpi_refusal (
    id           uuid PRIMARY KEY,
    party_id     text NOT NULL REFERENCES gateway.party (id),
    module       text NOT NULL,
    object_id    text,
    version      text NOT NULL,
    status_code  smallint NOT NULL,
    reason       text NOT NULL,
    raw          bytea NOT NULL,
    received_at  timestamptz NOT NULL
);
CREATE INDEX ocpi_refusal_party ON gateway.ocpi_refusal (party_id, id);
