-- When the published rates were last asked for: one row per source, leased by the worker that asks, so that many ask once.
CREATE TABLE clearing.rate_feed (
    source      text        PRIMARY KEY,
    next_at     timestamptz NOT NULL,                     -- nobody asks before; wall time
    failures    smallint    NOT NULL DEFAULT 0 CHECK (failures >= 0), -- in a row
    answered_at timestamptz,
    problem     text        NOT NULL DEFAULT ''           -- of the last time; empty: none
);
