#!/bin/sh
# Creates the secrets that docker-compose.yml passes to the containers as files; run it once, beside that file.
# An existing secret is never overwritten.
set -eu
cd "$(dirname "$0")/.."

mkdir -p secrets
# The directory is closed; the files are readable, because each container reads its own as another user.
chmod 700 secrets
umask 022

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
keep() { [ -e "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"; }

# The superuser creates the database's roles and is used for nothing else (deploy/postgres/roles.sql).
keep postgres_password "$(random 24)"
keep database_owner_password "$(random 24)"
keep database_app_password "$(random 24)"
keep database_reports_password "$(random 24)"
keep database_owner_url "postgresql://networkcore_owner:$(cat secrets/database_owner_password)@postgres:5432/networkcore"
keep database_url "postgresql://networkcore_app:$(cat secrets/database_app_password)@postgres:5432/networkcore"
# The sandbox's test key. For real money, put a live key here and remove NETWORKCORE_PSP_BASE_URL.
keep psp_api_key "sk_test_sandbox"
keep psp_publishable_key "pk_test_sandbox"  # of the same account; no secret
keep psp_webhook_secret "whsec_$(random 24)"
keep admin_api_key "nck_$(random 6)_$(random 22 | cut -c1-43)"
# Seals webhook secrets and OCPI tokens in the database. If it is lost, none of them can be used again.
keep webhook_encryption_keys "first:$(head -c 32 /dev/urandom | base64)"
echo "secrets/ is ready; the platform's first API key is in secrets/admin_api_key"
