-- How far the contracts' changes have been made into tokens of the type EMAID, one row for each environment.
CREATE TABLE gateway.ocpi_emaid_feed (
    environment        text        PRIMARY KEY,
    change_transaction bigint      NOT NULL,   -- the place of the last change read (pnc: ChangeCursor)
    change_sequence    bigint      NOT NULL,
    updated_at         timestamptz NOT NULL
);
