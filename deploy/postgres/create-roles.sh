#!/bin/sh
# Run by the PostgreSQL image when it creates an empty database: the roles of roles.sql with the passwords of secrets/.
set -eu
password() { cat "/run/secrets/database_$1_password"; }
psql --set ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set owner_password="$(password owner)" \
    --set app_password="$(password app)" \
    --set reports_password="$(password reports)" \
    --file /etc/networkcore/roles.sql
