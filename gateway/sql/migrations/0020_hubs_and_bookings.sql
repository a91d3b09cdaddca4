-- Roaming hubs: which peer is one, and what it says of the parties behind it.
-- Bookings: where operators take them, and the ones that we requested.

ALTER TABLE gateway.ocpi_peer
    ADD COLUMN hub_party_id text CHECK (hub_party_id ~ '^[A-Z]{2}-[A-Z0-9]{3}$');  -- the hub's own party; null: no hub

ALTER TABLE gateway.ocpi_pull
    DROP CONSTRAINT ocpi_pull_module_check,
    ADD CONSTRAINT ocpi_pull_module_check
        CHECK (module IN ('hubclientinfo', 'locations', 'tariffs', 'sessions', 'cdrs'));

-- What a hub says of the roles of a party behind it.
CREATE TABLE gateway.ocpi_hub_client (
    peer_id      uuid        NOT NULL REFERENCES gateway.ocpi_peer (id),
    party_id     text        NOT NULL CHECK (party_id ~ '^[A-Z]{2}-[A-Z0-9]{3}$'),  -- need not be a party here
    role         text        NOT NULL,
    status       text        NOT NULL CHECK (status IN ('CONNECTED', 'OFFLINE', 'PLANNED', 'SUSPENDED')),
    last_updated timestamptz NOT NULL,   -- the hub's own
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (peer_id, party_id, role)
);

-- Where an operator takes bookings: OCPI BookingLocations with their calendars, as pushed.
CREATE TABLE gateway.ocpi_booking_location (
    party_id             text        NOT NULL REFERENCES gateway.party (id),
    booking_location_key text        NOT NULL CHECK (booking_location_key = lower(booking_location_key)),
    booking_location_id  text        NOT NULL,
    location_key         text        NOT NULL CHECK (location_key = lower(location_key)),
    body                 bytea       NOT NULL,   -- canonical JSON
    last_updated         timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    PRIMARY KEY (party_id, booking_location_key)
);

-- Bookings that we requested, one for each session. Their states are those of gateway/ocpi/booking_rules.py.
CREATE TABLE gateway.ocpi_booking (
    session_id          uuid        PRIMARY KEY,
    cpo_id              text        NOT NULL REFERENCES gateway.party (id),
    demand_partner_id   text        NOT NULL REFERENCES gateway.party (id),
    request_key         text        NOT NULL,    -- request_id in lower case: the session's public id
    booking_key         text,                    -- the CPO's id in lower case, once it has answered
    booking_location_id text        NOT NULL,
    begins_at           timestamptz NOT NULL,
    ends_at             timestamptz NOT NULL CHECK (ends_at > begins_at),
    status              text        NOT NULL CHECK (status IN (
        'PENDING', 'RESERVED', 'CANCELED', 'FAILED', 'NO_SHOW', 'FULFILLED', 'REJECTED', 'UNKNOWN')),
    request_status      text        NOT NULL CHECK (request_status IN (
        'PENDING', 'ACCEPTED', 'DECLINED', 'FAILED', 'UNANSWERED')),  -- of the newest request
    reason              text,
    body                bytea,                   -- the Booking as last received; null until then
    last_updated        timestamptz,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    UNIQUE (cpo_id, request_key)
);
