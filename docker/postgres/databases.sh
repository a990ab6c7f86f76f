#!/bin/sh
# Run once by the PostgreSQL image: a user for each program and the databases that it owns. Nobody reaches another's.
set -eu
make_user() { # name, password, its databases
  user=$1 password=$2
  shift 2
  psql -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -v user="$user" -v password="$password" <<'SQL'
CREATE ROLE :"user" LOGIN PASSWORD :'password';
SQL
  for database in "$@"; do
    psql -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -v user="$user" -v database="$database" <<'SQL'
CREATE DATABASE :"database" OWNER :"user";
REVOKE CONNECT ON DATABASE :"database" FROM PUBLIC;
SQL
  done
}
make_user mlflow "$MLFLOW_PASSWORD" mlflow mlflow_users
make_user gateway "$GATEWAY_PASSWORD" decisions
make_user pipelines "$PIPELINES_PASSWORD" study
