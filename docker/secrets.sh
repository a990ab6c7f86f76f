#!/bin/sh
# Make docker/.env with random secrets, readable by its owner only; in one that exists, only those that are missing.
set -eu
cd "$(dirname "$0")"
umask 077
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; } # hexadecimal: it stands in URLs
touch .env
cp .env .env.partial
while IFS= read -r line; do
  case $line in
    *=) grep -q "^$line" .env || echo "$line$(random)" ;;
    *) grep -qxF -- "$line" .env || echo "$line" ;;
  esac
done <example.env >>.env.partial
cmp -s .env .env.partial && rm .env.partial && exit 0
mv .env.partial .env
echo "made docker/.env; the gateway's first key is GATEWAY_KEY, MLflow's user admin has MLFLOW_ADMIN_PASSWORD"
