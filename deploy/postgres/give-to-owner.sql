-- After roles.sql, in a database that another role has made: gives what there is of ours to networkcore_owner. Run it
-- as a superuser, then `networkcore migrate` as the owner.
DO $give$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('ALTER DATABASE %I OWNER TO networkcore_owner', current_database())
        UNION ALL
        SELECT format('ALTER SCHEMA %I OWNER TO networkcore_owner', n.nspname) FROM pg_namespace AS n
        WHERE n.nspname IN ('gateway', 'clearing', 'pnc')
        UNION ALL
        SELECT format('ALTER TABLE %I.%I OWNER TO networkcore_owner', n.nspname, c.relname)
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('gateway', 'clearing', 'pnc') AND c.relkind IN ('r', 'p', 'v')
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO networkcore_owner', f.oid::regprocedure)
        FROM pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace
        WHERE n.nspname IN ('gateway', 'clearing', 'pnc')
    LOOP
        EXECUTE statement;
    END LOOP;
END
$give$;
