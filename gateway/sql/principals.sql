-- The principal of an API key, for four-eyes approval.

-- name: principal_of$
SELECT coalesce(principal, prefix) FROM gateway.api_key WHERE prefix = :prefix;

-- name: set_principal!
UPDATE gateway.api_key SET principal = :principal WHERE prefix = :prefix;
