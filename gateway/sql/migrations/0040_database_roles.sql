-- What the roles at the database may do: networkcore_writer runs the gateway and the workers, networkcore_reader reads
-- for reports. networkcore migrate grants it again after each run; where the roles are not there, nothing is granted,
-- and one role does everything.

-- Grants both roles what they need on every table of ours, in place of what they had. Of append-only tables the writer
-- changes and deletes no row; the one exception is when an entry was booked, which its batch decides as it is sealed.
-- Hidden tables hold secrets and kept answers: the reader does not see them.
CREATE FUNCTION gateway.grant_access(append_only text[], hidden text[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
DECLARE
    owned record;
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
    GRANT UPDATE (booked_at) ON clearing.entry TO networkcore_writer;
    IF current_setting('server_version_num')::int >= 170000 THEN
        EXECUTE 'GRANT MAINTAIN ON clearing.reconciliation_item TO networkcore_writer';
    END IF;
    RETURN true;
END
$function$;
