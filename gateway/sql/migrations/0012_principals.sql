-- Who stands behind an API key when two have to agree: a key that somebody makes or rotates counts as that somebody's own.
-- Keys made with the installation's first key, and those made before, stand for themselves.
ALTER TABLE gateway.api_key ADD COLUMN principal text CHECK (principal <> '');
