-- Run as the role that the gateway uses: what it would set at the start of each connection, and PgBouncer does not pass on.
ALTER ROLE CURRENT_USER SET statement_timeout = '30s';
ALTER ROLE CURRENT_USER SET lock_timeout = '10s';
ALTER ROLE CURRENT_USER SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE CURRENT_USER SET search_path = pg_catalog;
ALTER ROLE CURRENT_USER SET timezone = 'UTC';
