-- What was given back of a capture while its session was set aside: the ledger is handed the rest, and hears of it no more.
ALTER TABLE gateway.capture ADD COLUMN uncleared_minor bigint NOT NULL DEFAULT 0 CHECK (uncleared_minor >= 0);
