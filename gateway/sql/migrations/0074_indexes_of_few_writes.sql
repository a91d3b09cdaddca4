-- outside a transaction
-- Indexes that more than one statement uses, and whose columns an update seldom changes, instead of those of before.

-- Keys that also give the order of all rows, or that of an endpoint's: the next file makes primary keys of
-- them.
CREATE UNIQUE INDEX CONCURRENTLY event_key ON gateway.event (id, shard);
CREATE UNIQUE INDEX CONCURRENTLY payment_authorization_key ON gateway.payment_authorization (id, shard);
CREATE UNIQUE INDEX CONCURRENTLY capture_by_id_key ON gateway.capture (id, shard);
CREATE UNIQUE INDEX CONCURRENTLY delivery_key ON gateway.delivery (endpoint_id, event_id, shard);

-- Most sessions have no metadata.
CREATE INDEX CONCURRENTLY session_with_metadata ON gateway.session USING gin (metadata jsonb_path_ops)
    WITH (fastupdate = off) WHERE metadata <> '{}';
-- What the retention looks for, by a time that never changes.
CREATE INDEX CONCURRENTLY session_personal ON gateway.session (shard, created_at)
    WHERE metadata <> '{}' OR session_ref IS NOT NULL;
CREATE INDEX CONCURRENTLY session_cdr ON gateway.session (shard, ended_at)
    WHERE cdr IS NOT NULL AND cdr_blotted_at IS NULL;

UPDATE gateway.session SET exception_at = updated_at WHERE (shard, id) IN (
    SELECT shard, id FROM gateway.session WHERE state = 'exception' AND exception_at IS NULL LIMIT 1000);
CREATE INDEX CONCURRENTLY session_in_exception ON gateway.session (shard, id) WHERE exception_at IS NOT NULL;

DROP INDEX CONCURRENTLY IF EXISTS gateway.event_by_id;
DROP INDEX CONCURRENTLY IF EXISTS gateway.payment_authorization_by_id;
DROP INDEX CONCURRENTLY IF EXISTS gateway.capture_by_id;
DROP INDEX CONCURRENTLY IF EXISTS gateway.delivery_log;
DROP INDEX CONCURRENTLY IF EXISTS gateway.session_metadata;
DROP INDEX CONCURRENTLY IF EXISTS gateway.session_retained;
DROP INDEX CONCURRENTLY IF EXISTS gateway.session_billing_record;
DROP INDEX CONCURRENTLY IF EXISTS gateway.session_exception;
