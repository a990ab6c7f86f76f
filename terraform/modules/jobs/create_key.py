"""Create an API key of the gateway and put it into Secrets Manager, so that it stands in no log and on no screen.

Runs as a task on the gateway's image; the arguments are those of ``python -m serving keys create``. Exit codes are that
command's; a key that cannot be stored is revoked again.
"""

import os
import subprocess
import sys

import boto3

SERVING = [sys.executable, "-m", "serving", "keys"]


def main(arguments: list[str]) -> int:
    """Create, store, and say where."""
    if "--name" not in arguments[:-1]:
        sys.stderr.write("keys create wants --name\n")
        return 2
    name = arguments[arguments.index("--name") + 1]
    created = subprocess.run([*SERVING, "create", *arguments], stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
    if created.returncode != 0:
        return created.returncode
    try:
        where = store(os.environ["KEY_SECRETS_PREFIX"] + name, created.stdout.strip())
    except Exception as error:
        subprocess.run([*SERVING, "revoke", "--name", name], check=True)  # noqa: S603 - our own program
        sys.stderr.write(f"The key {name} was revoked again, as it could not be stored: {error}\n")
        return 1
    sys.stdout.write(f"The key {name} is in Secrets Manager as {where}\n")
    return 0


def store(secret: str, key: str) -> str:
    """Write the value of a secret that may exist from a former key of that name."""
    client = boto3.client("secretsmanager")
    try:
        client.create_secret(Name=secret, SecretString=key, KmsKeyId=os.environ["KEY_SECRETS_KMS"])
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId=secret, SecretString=key)
    return secret


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
