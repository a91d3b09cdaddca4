-- How a database becomes a distributed one, and what is distributed in it. Plain PostgreSQL has not all of these
-- functions, so no test plans them there.

-- name: extension_version$
SELECT extversion FROM pg_extension WHERE extname = 'citus';

-- name: available_version$
SELECT default_version FROM pg_available_extensions WHERE name = 'citus';

-- name: nodes
SELECT nodename AS name, nodeport AS port, shouldhaveshards AS keeps_shards
FROM pg_dist_node WHERE isactive AND noderole = 'primary' ORDER BY groupid;

-- name: take_lock$
SELECT pg_try_advisory_lock(:key::bigint);

-- name: set_for_database$
SELECT format('ALTER DATABASE %I SET %s = %L', current_database(), :setting::text, :value::text);

-- name: plain_tables
SELECT r.oid::regclass::text AS name,
       ARRAY(SELECT a.attname::text FROM pg_attribute AS a
             WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       ARRAY(SELECT (SELECT string_agg(a.attname, ',') FROM pg_attribute AS a
                     WHERE a.attrelid = r.oid AND a.attnum = ANY (i.indkey))
             FROM pg_index AS i WHERE i.indrelid = r.oid AND i.indisunique) AS unique_keys
FROM pg_class AS r
WHERE r.relkind = 'r' AND r.relnamespace::regnamespace::text IN ('gateway', 'clearing', 'pnc')
ORDER BY 1;

-- name: distributed_tables
SELECT logicalrelid::text AS name, column_to_column_name(logicalrelid, partkey) AS column
FROM pg_dist_partition WHERE partmethod = 'h';

-- name: foreign_keys
SELECT conrelid::regclass::text AS table, conname::text AS name, pg_get_constraintdef(oid) AS definition
FROM pg_constraint
WHERE contype = 'f' AND conparentid = 0
  AND connamespace::regnamespace::text IN ('gateway', 'clearing', 'pnc')
ORDER BY 1, 2;

-- name: distribute_table$
SELECT create_distributed_table(:name::text::regclass, :column, colocate_with => :colocate_with,
                                shard_count => :shard_count);

-- name: distribute_with$
SELECT create_distributed_table(:name::text::regclass, :column, colocate_with => :colocate_with);

-- name: shard_groups
-- For each group of shards that lie beside each other, the names of the tables and of their shards. A table that is on
-- every node has one shard, in each group.
SELECT array_agg(p.logicalrelid::text ORDER BY s.shardid) AS tables,
       array_agg(s.shardid::bigint ORDER BY s.shardid) AS shards
FROM pg_dist_shard AS s JOIN pg_dist_partition AS p ON p.logicalrelid = s.logicalrelid
WHERE p.colocationid = (SELECT colocationid FROM pg_dist_partition WHERE logicalrelid = 'gateway.shard_lease'::regclass)
GROUP BY s.shardminvalue
ORDER BY s.shardminvalue;

-- name: shard_of_copy$
SELECT s.shardid::bigint FROM pg_dist_shard AS s
WHERE s.logicalrelid = to_regclass('node.webhook_endpoint');

-- name: functions_on_nodes
SELECT p.proname::text AS name FROM pg_proc AS p WHERE p.pronamespace = to_regnamespace('node');

-- name: types_of_prepared^
-- Of the parameters and of the columns of its rows.
SELECT parameter_types::text[] AS parameters, result_types::text[] AS results
FROM pg_prepared_statements WHERE name = :name;
