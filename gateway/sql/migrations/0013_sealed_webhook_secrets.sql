-- Signing secrets of webhooks sealed with a key that the database does not hold.
--
-- The key's name stands beside each secret. Null: in the clear, as rows of before are until a process that knows a key
-- starts and seals them, and as a sandbox without a key keeps them.
ALTER TABLE gateway.webhook_endpoint
    ADD COLUMN secret_key text CHECK (secret_key <> ''),
    ADD COLUMN previous_secret_key text CHECK (previous_secret_key <> ''),
    ADD CHECK (previous_secret_key IS NULL OR previous_secret IS NOT NULL);
ALTER TABLE gateway.webhook_endpoint DROP CONSTRAINT webhook_endpoint_secret_check;
ALTER TABLE gateway.webhook_endpoint ADD CONSTRAINT webhook_endpoint_secret_check
    CHECK (octet_length(secret) BETWEEN 24 AND CASE WHEN secret_key IS NULL THEN 64 ELSE 96 END);
ALTER TABLE gateway.webhook_endpoint DROP CONSTRAINT webhook_endpoint_previous_secret_check;
ALTER TABLE gateway.webhook_endpoint ADD CONSTRAINT webhook_endpoint_previous_secret_check
    CHECK (octet_length(previous_secret) BETWEEN 24 AND CASE WHEN previous_secret_key IS NULL THEN 64 ELSE 96 END);
