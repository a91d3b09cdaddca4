-- Which worker works on which shard, so that workers need not ask all shards for every kind of work.

-- One running worker process: each shares the shards with those that are here. It is gone once `until` has passed.
CREATE TABLE gateway.worker (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL CHECK (name <> ''),  -- its machine and process, for people
    started_at timestamptz NOT NULL,                     -- wall time
    until      timestamptz NOT NULL                      -- wall time
);

-- The lease of each shard. `fence` grows with each change of owner: what takes work compares it, so that an owner whose
-- lease went to another takes nothing any more.
CREATE TABLE gateway.shard_lease (
    shard      smallint    PRIMARY KEY CHECK (shard BETWEEN 0 AND 63),
    owner      uuid,                                     -- a worker; null: given back
    until      timestamptz NOT NULL,                     -- wall time; then another worker may take it
    fence      bigint      NOT NULL CHECK (fence > 0),
    taken_over integer     NOT NULL DEFAULT 0 CHECK (taken_over >= 0)  -- from owners that did not give it back
) WITH (fillfactor = 50);
INSERT INTO gateway.shard_lease (shard, until, fence) SELECT shard, 'epoch', 1 FROM generate_series(0, 63) AS shard;
