-- A gateway of the release before names no shard: the events that it keeps beside this one's lie in shard 0, where a task
-- that is elsewhere finds them.
ALTER TABLE gateway.psp_event ALTER COLUMN shard SET DEFAULT 0;
