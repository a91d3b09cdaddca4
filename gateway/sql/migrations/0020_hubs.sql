-- Roaming hubs: which peer is one, and what it says of the parties behind it.

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
