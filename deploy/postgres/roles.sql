-- Roles of a networkcore database, created once by a superuser who then is not needed any more:
--
--   psql -d networkcore -v owner_password=... -v app_password=... -v reports_password=... -f roles.sql
--
-- networkcore_owner migrates and owns everything. networkcore_app runs the gateway and the workers: it defines nothing
-- and changes no row of the journal. networkcore_reports only reads. None is a superuser.
-- `networkcore migrate`, run as the owner, grants what the two group roles may do.
CREATE ROLE networkcore_owner LOGIN PASSWORD :'owner_password' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE ROLE networkcore_writer NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE ROLE networkcore_reader NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE ROLE networkcore_app LOGIN PASSWORD :'app_password' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION
    IN ROLE networkcore_writer;
CREATE ROLE networkcore_reports LOGIN PASSWORD :'reports_password' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION
    IN ROLE networkcore_reader;
ALTER ROLE networkcore_reports SET default_transaction_read_only = on;
ALTER DATABASE :"DBNAME" OWNER TO networkcore_owner;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO networkcore_writer, networkcore_reader;
