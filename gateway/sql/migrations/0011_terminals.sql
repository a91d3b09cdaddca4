-- Payment terminals: whose locations are whose at the PSP. A reader belongs to the party of its location.
CREATE TABLE gateway.terminal_location (
    id           uuid        PRIMARY KEY,       -- gives the PSP's idempotency key
    party_id     text        NOT NULL REFERENCES gateway.party (id),
    psp_location text        UNIQUE,            -- the PSP's id, once the PSP has answered
    display_name text        NOT NULL,
    metadata     jsonb       NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL
);
CREATE INDEX terminal_location_party ON gateway.terminal_location (party_id, id);
