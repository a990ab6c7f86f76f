#!/bin/sh
# Make docker/.env with random secrets, readable by its owner only; one that exists is left as it is.
set -eu
cd "$(dirname "$0")"
[ ! -e .env ] || exit 0
umask 077
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; } # hexadecimal: it stands in URLs
while IFS= read -r line; do
  case $line in
    *=) echo "$line$(random)" ;;
    *) echo "$line" ;;
  esac
done <example.env >.env.partial
mv .env.partial .env
echo "made docker/.env; the gateway's first key is GATEWAY_KEY, MLflow's user admin has MLFLOW_ADMIN_PASSWORD"
