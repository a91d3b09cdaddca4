-- Since when a driver's token is blocked: `last_updated` moves with any change, so it can't say whether a session began
-- before the block.
ALTER TABLE gateway.ocpi_token
    ADD COLUMN blocked_since timestamptz;  -- null: it is valid
UPDATE gateway.ocpi_token SET blocked_since = last_updated WHERE NOT valid;
ALTER TABLE gateway.ocpi_token
    ADD CONSTRAINT ocpi_token_blocked CHECK (valid = (blocked_since IS NULL)) NOT VALID;
ALTER TABLE gateway.ocpi_token VALIDATE CONSTRAINT ocpi_token_blocked;
