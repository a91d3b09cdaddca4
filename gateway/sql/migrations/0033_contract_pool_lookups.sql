-- Contract pools that are asked: a pool's events are lost after three attempts, so what it holds is looked up.

-- How a feed's pool is asked for the party's contracts, and how far the present round has come. Times are wall time.
CREATE TABLE gateway.contract_pool_lookup (
    feed_id        uuid        PRIMARY KEY REFERENCES gateway.contract_pool_feed (id),
    url            text        NOT NULL,
    token_url      text        NOT NULL,
    audience       text        NOT NULL,
    client_id      text        NOT NULL,
    client_secret  bytea       NOT NULL,
    encryption_key text,                          -- the key that encrypted it; null: kept in the clear
    after_emaid    text        NOT NULL DEFAULT '',  -- contracts up to this one were looked up in this round
    next_at        timestamptz NOT NULL,
    finished_at    timestamptz,                   -- when the last whole round ended
    failures       integer     NOT NULL DEFAULT 0,  -- in a row
    problem        text        NOT NULL DEFAULT '',
    CHECK ((failures > 0) = (problem <> ''))
);
CREATE INDEX contract_pool_lookup_due ON gateway.contract_pool_lookup (next_at);
