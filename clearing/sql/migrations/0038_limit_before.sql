-- Whoever raised a limit decides under the one of before: the lowest since somebody else set it. Null: the one that ships.
ALTER TABLE clearing.booking_limit ADD COLUMN before_minor bigint CHECK (before_minor >= 0);
