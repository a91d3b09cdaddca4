-- What each run of `networkcore restore-check` found after a restore to a point in time; nothing changes a row.
CREATE TABLE gateway.restore_check (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    restored_to timestamptz NOT NULL,  -- the point, business time
    checked_at  timestamptz NOT NULL,  -- wall time
    steps       jsonb       NOT NULL   -- of each step: what was done, and what waits for a person
);

ALTER TABLE gateway.event ADD COLUMN traceparent text;  -- W3C Trace Context of what caused it; null: not traced
