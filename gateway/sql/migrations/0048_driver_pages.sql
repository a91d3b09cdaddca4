-- The driver page: whose drivers pay at an operator's charge points, and each driver's payment.

-- The page of a CPO's EVSEs; the platform's row is that of every CPO without one. Without both there is no page.
CREATE TABLE gateway.driver_page (
    party_id          text        PRIMARY KEY REFERENCES gateway.party (id),
    demand_partner_id text        NOT NULL REFERENCES gateway.party (id),  -- whose sessions they are
    brand             text        NOT NULL,
    support           text        NOT NULL,  -- a telephone number or an e-mail address
    updated_at        timestamptz NOT NULL
);

-- A driver's payment on the page, found by the token in its address. No personal data.
CREATE TABLE gateway.driver_payment (
    token             text        PRIMARY KEY CHECK (length(token) = 43),
    authorization_id  uuid        NOT NULL UNIQUE,
    party_id          text        NOT NULL REFERENCES gateway.party (id),
    page_id           text        NOT NULL REFERENCES gateway.party (id),  -- whose driver_page it is
    cpo_id            text        NOT NULL REFERENCES gateway.party (id),
    evse_id           text        NOT NULL,  -- as the driver's address names it
    tariff_sha256     text        NOT NULL CHECK (length(tariff_sha256) = 64),  -- of the prices that were shown
    language          text        NOT NULL,
    start             text        NOT NULL CHECK (start IN ('none', 'asked', 'sent', 'not_offered')),
    start_asked_at    timestamptz,  -- wall time
    start_command_id  uuid,
    stop_asked_at     timestamptz,  -- wall time
    released_because  text        CHECK (released_because IN ('driver', 'price_changed', 'not_started')),
    closed_at         timestamptz,  -- nothing is left for the worker to do
    created_at        timestamptz NOT NULL,  -- wall time
    CHECK ((start = 'none') = (start_asked_at IS NULL)),
    CHECK ((start = 'sent') = (start_command_id IS NOT NULL))
);
CREATE INDEX driver_payment_open ON gateway.driver_payment (created_at) WHERE closed_at IS NULL;
CREATE INDEX driver_payment_evse ON gateway.driver_payment (evse_id, created_at);
CREATE INDEX driver_payment_created ON gateway.driver_payment (created_at);
