-- What kind of database this is.

-- name: is_distributed$
-- Whether Citus distributes it by shard, or may: one PostgreSQL without Citus has no such table.
SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL;
