-- Contract pools: where an eMSP's contracts are published, and what a pool has reported of them.

-- One feed for each party: whose contracts it changes, how its reports are proved, and what pays for a new contract.
CREATE TABLE gateway.contract_pool_feed (
    id             uuid        PRIMARY KEY,
    party_id       text        NOT NULL UNIQUE REFERENCES gateway.party (id),
    protocol       text        NOT NULL CHECK (protocol IN ('opcp')),
    secret         bytea       NOT NULL,  -- the pool signs with it
    encryption_key text,                  -- the key that encrypted it; null: kept in the clear
    authorities    text        NOT NULL,  -- PEM of the sub-authorities of the pool's certificates; may be empty
    new_contracts  text        NOT NULL CHECK (new_contracts IN ('wait', 'partner_account')),
    enabled        boolean     NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);

-- What a pool has sent, each event once. One that can't be applied waits for a person.
CREATE TABLE gateway.contract_pool_event (
    id          uuid        PRIMARY KEY,
    feed_id     uuid        NOT NULL REFERENCES gateway.contract_pool_feed (id),
    event_id    uuid        NOT NULL,               -- the pool's own
    name        text        NOT NULL,
    change      text,                               -- one of pnc/contract_pool.py; null: it changes no contract
    emaid       text        NOT NULL,
    vehicle     text        NOT NULL,               -- its provisioning certificate id
    certificate text,
    state       text        NOT NULL CHECK (state IN (
        'pending', 'applied', 'superseded', 'ignored', 'waiting', 'dismissed')),
    reason      text        NOT NULL DEFAULT '',    -- why it waits: a code
    detail      text        NOT NULL DEFAULT '',    -- the same in words, without the eMAID
    occurred_at timestamptz NOT NULL,               -- by the pool
    received_at timestamptz NOT NULL,
    decided_at  timestamptz,
    UNIQUE (feed_id, event_id),
    CHECK ((state = 'waiting') = (reason <> '')),
    CHECK ((state = 'pending') = (decided_at IS NULL))
);
CREATE INDEX contract_pool_event_open ON gateway.contract_pool_event (state, received_at)
    WHERE state IN ('pending', 'waiting');
CREATE INDEX contract_pool_event_list ON gateway.contract_pool_event (feed_id, id);
CREATE INDEX contract_pool_event_age ON gateway.contract_pool_event (received_at);

-- The last event that was applied to a contract: an older one changes nothing any more.
CREATE TABLE gateway.contract_pool_position (
    feed_id          uuid        NOT NULL REFERENCES gateway.contract_pool_feed (id),
    emaid            text        NOT NULL,
    change           text        NOT NULL,
    vehicle          text        NOT NULL,
    occurred_at      timestamptz NOT NULL,
    blocked_revision integer,  -- the contract's revision by which the event blocked it
    PRIMARY KEY (feed_id, emaid)
);
