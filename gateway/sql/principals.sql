-- Who stands behind an API key.

-- name: principal_of$
SELECT coalesce(principal, prefix) FROM gateway.api_key WHERE prefix = :prefix;

-- name: stand_for!
UPDATE gateway.api_key SET principal = :principal WHERE prefix = :prefix;
