-- An event holds its object once, and its deliveries are written by the statement that writes it.

-- The row for a second party names the row of the first instead of repeating the object.
ALTER TABLE gateway.event ALTER COLUMN data DROP NOT NULL;
ALTER TABLE gateway.event ADD COLUMN data_of uuid;  -- the event of the same shard that holds `data`
ALTER TABLE gateway.event ADD CHECK ((data IS NULL) = (data_of IS NOT NULL));

-- Null: all events of its types. Else only events of these sessions, EVSEs, locations or metadata; the job that makes
-- deliveries applies it (gateway/webhooks/event_filter.py).
ALTER TABLE gateway.webhook_endpoint ADD COLUMN filter jsonb CHECK (jsonb_typeof(filter) = 'object' AND filter <> '{}');

-- A delivery that was not attempted yet is due at once and has no time of an attempt.
ALTER TABLE gateway.delivery DROP CONSTRAINT delivery_check;
ALTER TABLE gateway.delivery ADD CHECK (state = 'pending' OR next_attempt_at IS NULL);
ALTER TABLE gateway.delivery ALTER COLUMN created_at SET DEFAULT now();
-- Its statement reads the event and the endpoint, and neither is ever removed before it: an endpoint's row stays, an
-- event goes with its deliveries. Each key would lock a row that all sessions of a party share.
ALTER TABLE gateway.delivery DROP CONSTRAINT delivery_endpoint_id_fkey;
ALTER TABLE gateway.delivery DROP CONSTRAINT delivery_shard_event_id_fkey;
-- Leasing a delivery changes no index where its page has free space.
ALTER TABLE gateway.delivery SET (fillfactor = 60);
