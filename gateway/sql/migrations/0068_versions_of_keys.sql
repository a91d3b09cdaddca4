-- The version of the API that a key's requests and answers have, unless a request names another one.
ALTER TABLE gateway.api_key
    ADD COLUMN api_version text NOT NULL DEFAULT '2026-11-30' CHECK (api_version ~ '^\d{4}-\d{2}-\d{2}$');
