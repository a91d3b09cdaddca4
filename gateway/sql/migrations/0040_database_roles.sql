-- What the roles at the database may do: networkcore_writer runs the gateway and the workers, networkcore_reader reads
-- for reports. networkcore migrate grants it again after each run; where the roles are not there, nothing is granted,
-- and one role does everything.

-- Grants both roles what they need on every table of ours, in place of what they had. Of append-only tables the writer
-- changes and deletes no row, but for single columns given as `schema.table column`. Hidden tables hold secrets and
-- kept answers: the reader does not see them. Of some tables the writer renews the planner's statistics.
CREATE FUNCTION gateway.grant_access(append_only text[], columns text[], hidden text[], analyzed text[])
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
DECLARE
    owned record;
    place text;
BEGIN
    IF (SELECT count(*) FROM pg_roles WHERE rolname IN ('networkcore_writer', 'networkcore_reader')) < 2 THEN
        RETURN false;
    END IF;
    GRANT USAGE ON SCHEMA gateway, clearing, pnc TO networkcore_writer, networkcore_reader;
    FOR owned IN
        SELECT format('%I.%I', n.nspname, c.relname) AS place, n.nspname || '.' || c.relname AS name, c.relname
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('gateway', 'clearing', 'pnc') AND c.relkind IN ('r', 'p', 'v')
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM networkcore_writer, networkcore_reader', owned.place);
        EXECUTE format('GRANT SELECT ON %s TO networkcore_writer', owned.place);
        IF owned.relname <> 'migration' THEN
            EXECUTE format('GRANT INSERT %s ON %s TO networkcore_writer',
                           CASE WHEN owned.name = ANY (append_only) THEN '' ELSE ', UPDATE, DELETE' END, owned.place);
        END IF;
        IF NOT owned.name = ANY (hidden) THEN
            EXECUTE format('GRANT SELECT ON %s TO networkcore_reader', owned.place);
        END IF;
    END LOOP;
    FOREACH place IN ARRAY columns LOOP
        EXECUTE format('GRANT UPDATE (%s) ON %s TO networkcore_writer', split_part(place, ' ', 2),
                       split_part(place, ' ', 1));
    END LOOP;
    IF current_setting('server_version_num')::int >= 170000 THEN  -- before, only the owner may
        FOREACH place IN ARRAY analyzed LOOP
            EXECUTE format('GRANT MAINTAIN ON %s TO networkcore_writer', place);
        END LOOP;
    END IF;
    RETURN true;
END
$function$;
