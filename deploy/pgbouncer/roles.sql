-- What the gateway would set at the start of each connection, which PgBouncer does not pass on: the role has it.
ALTER ROLE networkcore SET statement_timeout = '30s';
ALTER ROLE networkcore SET lock_timeout = '10s';
ALTER ROLE networkcore SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE networkcore SET search_path = pg_catalog;
ALTER ROLE networkcore SET timezone = 'UTC';
