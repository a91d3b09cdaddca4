-- On each node: which webhook endpoints an event is handed out to. A reference table, which Citus keeps on all nodes, can
-- have no trigger, and the endpoints themselves have those that record acts: so this is their copy.

-- name: create_schema#
CREATE SCHEMA IF NOT EXISTS node;

-- name: create_copy#
CREATE TABLE IF NOT EXISTS node.webhook_endpoint (
    id          uuid   PRIMARY KEY,
    party_id    text   NOT NULL,
    event_types text[] NOT NULL,
    filter      jsonb,
    state       text   NOT NULL
);
CREATE INDEX IF NOT EXISTS webhook_endpoint_party ON node.webhook_endpoint (party_id);

-- name: is_reference$
SELECT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = 'node.webhook_endpoint'::regclass);

-- name: make_reference$
SELECT create_reference_table('node.webhook_endpoint');

-- name: create_trigger#
CREATE OR REPLACE FUNCTION node.copy_webhook_endpoint() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        IF TG_OP = 'UPDATE' AND (OLD.party_id, OLD.event_types, OLD.filter, OLD.state)
                                IS NOT DISTINCT FROM (NEW.party_id, NEW.event_types, NEW.filter, NEW.state) THEN
            RETURN NULL;
        END IF;
        DELETE FROM node.webhook_endpoint WHERE id = OLD.id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO node.webhook_endpoint (id, party_id, event_types, filter, state)
        VALUES (NEW.id, NEW.party_id, NEW.event_types, NEW.filter, NEW.state);
    END IF;
    RETURN NULL;
END $body$;
CREATE OR REPLACE TRIGGER copy_to_nodes AFTER INSERT OR UPDATE OR DELETE ON gateway.webhook_endpoint
    FOR EACH ROW EXECUTE FUNCTION node.copy_webhook_endpoint();

-- name: lock_endpoints!
LOCK TABLE gateway.webhook_endpoint IN SHARE MODE;

-- name: missing_endpoints
-- The endpoints of which no copy, or another one, is there.
SELECT id, party_id, event_types, filter, state FROM gateway.webhook_endpoint
EXCEPT ALL
SELECT id, party_id, event_types, filter, state FROM node.webhook_endpoint;

-- name: delete_copy!
DELETE FROM node.webhook_endpoint WHERE id = :id::uuid;

-- name: insert_copy!
INSERT INTO node.webhook_endpoint (id, party_id, event_types, filter, state)
VALUES (:id::uuid, :party_id::text, :event_types::text[], :filter::jsonb, :state::text);

-- name: grant_access#
-- The role that runs the product, where there is one.
DO $body$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'networkcore_writer') THEN
        GRANT USAGE ON SCHEMA node TO networkcore_writer;
        GRANT SELECT, INSERT, UPDATE, DELETE ON node.webhook_endpoint TO networkcore_writer;
    END IF;
END $body$;
