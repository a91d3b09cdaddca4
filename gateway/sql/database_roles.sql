-- The roles at the database: who may migrate, and what the others are granted.

-- name: may_migrate$
SELECT bool_and(has_schema_privilege(n.oid, 'CREATE')) FROM pg_namespace AS n
WHERE n.nspname IN ('gateway', 'clearing', 'pnc');

-- name: can_grant$
SELECT to_regprocedure('gateway.grant_access(text[],text[])') IS NOT NULL;

-- name: grant_access$
SELECT gateway.grant_access(:append_only::text[], :hidden::text[]);
