-- What the PSP refuses for a mistake of ours, until a person has mended it; and what was asked of each hold, so that
-- a repeat asks the same under the same key.

-- One row for each account of the PSP and code. `account` is a name for reading, no secret. Times are wall time.
CREATE TABLE gateway.psp_incident (
    account  text        NOT NULL,
    code     text        NOT NULL,
    detail   text        NOT NULL,
    count    bigint      NOT NULL CHECK (count > 0),  -- how many requests met it
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (account, code),
    CHECK (first_at <= last_at)
);

-- `hold_features`: what a hold asks beyond itself; null: everything, as before this column. `key_number`: a request
-- that is sent with other parameters has another key, recorded before it is sent.
ALTER TABLE gateway.psp_request
    ADD COLUMN hold_features text[],
    ADD COLUMN key_number smallint NOT NULL DEFAULT 1 CHECK (key_number >= 1);
