-- The record of administrative acts: its triggers, what an operation adds, how it is read and sealed.

-- Which tables write it now, with the arguments of their triggers: key columns, what they hide, what they watch.
-- name: list_watched
SELECT n.nspname || '.' || c.relname AS name, t.tgargs AS arguments
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE t.tgname IN ('admin_act_row', 'admin_act_update') AND NOT t.tgisinternal;

-- name: can_watch$
SELECT to_regprocedure('gateway.watch_table(regclass,text,text)') IS NOT NULL;

-- A table that is not there yet is left out, and of one that is, columns that a later migration adds.
-- name: watch_table!
SELECT gateway.watch_table(to_regclass(:name), :hidden, (
    SELECT coalesce(string_agg(c.name, ', ' ORDER BY c.place), '')
    FROM unnest(string_to_array(:columns::text, ', ')) WITH ORDINALITY AS c (name, place)
    JOIN pg_attribute AS a ON a.attrelid = to_regclass(:name) AND a.attname = c.name))
WHERE to_regclass(:name) IS NOT NULL;

-- For the rest of the transaction: who acts, as the triggers read it.
-- name: set_act!
SELECT set_config('networkcore.act', :act::text, true);

-- What the act's transaction wrote, if no trigger has recorded it. The coordinator of a distributed database has no
-- transaction id where all rows that were written lie on nodes. It holds, until the transaction ends, the lock of each
-- table that a statement was to write, also where that found no row.
-- name: record_operation!
INSERT INTO gateway.admin_act (kind, principal, key_prefix, party_id, scope, request_id, operation, path, reason)
SELECT 'carried_out', a.act ->> 'principal', a.act ->> 'key_prefix', a.act ->> 'party_id', a.act ->> 'scope',
       a.act ->> 'request_id', a.act ->> 'operation', a.act ->> 'path', a.act ->> 'reason'
FROM (SELECT current_setting('networkcore.act')::jsonb AS act) AS a
WHERE (pg_current_xact_id_if_assigned() IS NOT NULL
       OR to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL AND EXISTS (
           SELECT 1 FROM pg_locks
           WHERE pid = pg_backend_pid() AND locktype = 'relation' AND mode = 'RowExclusiveLock'
             AND relation IN (SELECT oid FROM pg_class WHERE relkind = 'r'
                              AND relnamespace::regnamespace::text IN ('gateway', 'clearing', 'pnc'))
             AND relation <> 'gateway.admin_act'::regclass))
  AND NOT EXISTS (SELECT 1 FROM gateway.admin_act WHERE transaction_id = pg_current_xact_id_if_assigned());

-- name: record_reading!
INSERT INTO gateway.admin_act (kind, principal, key_prefix, party_id, scope, request_id, operation, path)
VALUES ('read', :principal, :key_prefix, :party_id, :scope, :request_id, :operation, :path);

-- name: list_acts
SELECT * FROM gateway.admin_act AS a
WHERE (:before::bigint IS NULL OR a.id < :before)
  AND (:principal::text IS NULL OR a.principal = :principal)
  AND (NOT :unnamed::boolean OR a.principal IS NULL)
  AND (:object_table::text IS NULL OR a.object_table = :object_table)
  AND (:object_id::text IS NULL OR a.object_id = :object_id)
  AND (:request_id::text IS NULL OR a.request_id = :request_id)
  AND (:since::timestamptz IS NULL OR a.acted_at >= :since)
  AND (:until::timestamptz IS NULL OR a.acted_at < :until)
ORDER BY a.id DESC LIMIT :limit;

-- One process seals at a time: acts are chained in the order of their ids, those that commit late after what is sealed.
-- name: lock_seals!
SELECT pg_advisory_xact_lock(hashtext('gateway.admin_act_seal'));

-- name: last_seal^
SELECT position, hash FROM gateway.admin_act_seal ORDER BY position DESC LIMIT 1;

-- name: list_unsealed
SELECT a.*, a.before::text AS before_text, a.after::text AS after_text
FROM gateway.admin_act AS a
WHERE NOT EXISTS (SELECT 1 FROM gateway.admin_act_seal AS s WHERE s.act_id = a.id)
ORDER BY a.id LIMIT :limit;

-- name: insert_seals!
INSERT INTO gateway.admin_act_seal (position, act_id, hash)
SELECT * FROM unnest(:positions::bigint[], :act_ids::bigint[], :hashes::bytea[]);

-- name: list_sealed
SELECT s.position, s.act_id, s.hash, a.*, a.before::text AS before_text, a.after::text AS after_text
FROM gateway.admin_act_seal AS s LEFT JOIN gateway.admin_act AS a ON a.id = s.act_id
WHERE s.position > :after ORDER BY s.position LIMIT :limit;

-- name: count_unsealed^
SELECT count(*) AS acts, min(a.acted_at) AS oldest FROM gateway.admin_act AS a
WHERE NOT EXISTS (SELECT 1 FROM gateway.admin_act_seal AS s WHERE s.act_id = a.id);
