-- An event of the PSP lies in the shard of the session that its object names, or of its object's id: in the one shard
-- its task and what the task reads lie too, and the events of one object stay in order.

-- A gateway of the release before names no shard: the events that it keeps beside this one lie in shard 0, where a task
-- that is elsewhere finds them.
ALTER TABLE gateway.psp_event ADD COLUMN shard smallint NOT NULL DEFAULT 0 CHECK (shard BETWEEN 0 AND 63);
UPDATE gateway.psp_event AS e SET shard = t.shard FROM gateway.task AS t
WHERE t.kind = 'handle_psp_event' AND t.payload ->> 'event' = e.id;
ALTER TABLE gateway.psp_event DROP CONSTRAINT psp_event_pkey;
ALTER TABLE gateway.psp_event ADD PRIMARY KEY (shard, id);
