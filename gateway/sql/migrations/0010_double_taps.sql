-- Double taps: the same payment method at the same EVSE, a moment after it was authorized there.

-- How long a party's drivers are protected from a second hold. A party without a row has the default.
CREATE TABLE gateway.double_tap_policy (
    party_id text    PRIMARY KEY REFERENCES gateway.party (id),
    within_s integer NOT NULL CHECK (within_s BETWEEN 0 AND 600)  -- 0: each request holds
);

-- The latest authorization of a payment method at an EVSE, without a session reference. Of two requests at once, the
-- second waits for the first one's row.
CREATE TABLE gateway.recent_authorization (
    party_id         text        NOT NULL REFERENCES gateway.party (id),
    payment_method   text        NOT NULL,
    evse_id          text        NOT NULL,  -- in capitals
    authorization_id uuid        NOT NULL,
    authorized_at    timestamptz NOT NULL,
    PRIMARY KEY (party_id, payment_method, evse_id)
);
CREATE INDEX recent_authorization_age ON gateway.recent_authorization (authorized_at);
