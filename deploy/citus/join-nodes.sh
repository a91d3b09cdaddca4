#!/bin/sh
# Joins the nodes of a Citus cluster: the coordinator is named first, then the workers. It may run again.
# Nodes open connections to each other as the role that asks; pg_dist_authinfo gives each node that role's password.
set -eu
password() { cat "/run/secrets/$1_password"; }
on() {
    node=$1
    shift
    PGPASSWORD="$(password postgres)" psql --set ON_ERROR_STOP=1 --no-psqlrc --quiet \
        --host "$node" --username postgres --dbname networkcore "$@"
}
give_password() {
    printf '%s\n' "INSERT INTO pg_dist_authinfo (nodeid, rolename, authinfo) VALUES (0, :'name', 'password=' || :'password')
        ON CONFLICT (rolename, nodeid) DO UPDATE SET authinfo = excluded.authinfo;" |
        on "$1" --set name="$2" --set password="$(password "$3")"
}
for node in "$@"; do
    on "$node" --command "CREATE EXTENSION IF NOT EXISTS citus"
    give_password "$node" postgres postgres
    for role in owner app reports; do
        give_password "$node" "networkcore_$role" "database_$role"
    done
done
coordinator=$1
on "$coordinator" --command "SELECT citus_set_coordinator_host('$coordinator', 5432)"
for worker in "$@"; do
    [ "$worker" = "$coordinator" ] || on "$coordinator" --command "SELECT citus_add_node('$worker', 5432)"
done
