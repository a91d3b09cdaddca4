-- Outbound webhooks: who is told, and each telling until it is acknowledged.

-- Where a party's events are sent. The signing secret is needed in the clear to sign; during a rotation the
-- old one signs as well until `previous_secret_until`.
CREATE TABLE gateway.webhook_endpoint (
    id                    uuid PRIMARY KEY,
    party_id              text NOT NULL REFERENCES gateway.party (id),
    url                   text NOT NULL CHECK (length(url) BETWEEN 8 AND 2048),
    event_types           text[] NOT NULL CHECK (cardinality(event_types) > 0),  -- types, or '*'
    secret                bytea NOT NULL CHECK (octet_length(secret) BETWEEN 24 AND 64),
    previous_secret       bytea CHECK (octet_length(previous_secret) BETWEEN 24 AND 64),
    previous_secret_until timestamptz,                      -- wall time
    state                 text NOT NULL DEFAULT 'enabled' CHECK (state IN ('enabled', 'disabled', 'deleted')),
    disabled_reason       text,
    failing_since         timestamptz,                      -- wall time of the first failure since the last success
    failures_in_a_row     integer NOT NULL DEFAULT 0 CHECK (failures_in_a_row >= 0),
    resume_at             timestamptz,                      -- wall time; before it a failing endpoint is left alone
    created_at            timestamptz NOT NULL,
    CHECK ((previous_secret IS NULL) = (previous_secret_until IS NULL)),
    CHECK ((failures_in_a_row = 0) = (failing_since IS NULL)),
    CHECK (state <> 'enabled' OR disabled_reason IS NULL)
);
CREATE INDEX webhook_endpoint_party ON gateway.webhook_endpoint (party_id) WHERE state <> 'deleted';

-- One event on its way to one endpoint. At least once: an answer that was lost is asked for again, and the
-- receiver knows a repeat by `webhook-id`, which is the event's id.
CREATE TABLE gateway.delivery (
    lane            smallint NOT NULL CHECK (lane BETWEEN 0 AND 63),
    endpoint_id     uuid NOT NULL REFERENCES gateway.webhook_endpoint (id),
    event_id        uuid NOT NULL,
    object_id       text NOT NULL,                          -- order is kept per endpoint and object
    state           text NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'abandoned')),
    attempts        integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz,                            -- wall time
    leased_until    timestamptz,                            -- wall time
    last_status     smallint,                               -- HTTP status of the last answer; null: no answer
    last_error      text,                                   -- why the last attempt failed, without the body's content
    last_attempt_at timestamptz,
    duration_ms     integer,
    created_at      timestamptz NOT NULL,                   -- wall time
    delivered_at    timestamptz,
    PRIMARY KEY (lane, endpoint_id, event_id),
    FOREIGN KEY (lane, event_id) REFERENCES gateway.event (lane, id),
    CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
    CHECK ((state = 'delivered') = (delivered_at IS NOT NULL))
);
-- The next deliveries of one endpoint within a lane, oldest event first.
CREATE INDEX delivery_due ON gateway.delivery (lane, endpoint_id, event_id) WHERE state = 'pending';
-- What stands before a delivery of the same object.
CREATE INDEX delivery_order ON gateway.delivery (lane, endpoint_id, object_id, event_id) WHERE state = 'pending';
-- The delivery log, newest first.
CREATE INDEX delivery_log ON gateway.delivery (endpoint_id, event_id DESC);
