"""Start MLflow's server with users.

MLflow takes the address of its users' database, and what locks Production, from a file alone; this writes that file
from the environment and then becomes the server, so that signals reach it.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

REQUIRED = {
    "MLFLOW_AUTH_ADMIN_PASSWORD": "the password that the user admin gets at the first start",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "the key that signs sessions, the same for every server",
}


def main() -> NoReturn:
    """Exit code 2 when a secret is missing: MLflow would fall back on a password that everybody knows."""
    for name, meaning in REQUIRED.items():
        if not os.environ.get(name):
            sys.stderr.write(f"{name} is missing: {meaning}.\n")
            sys.exit(2)
    if not os.environ.get("MLFLOW_AUTH_CONFIG_PATH"):
        os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(_write_configuration(os.environ["AUTH_DATABASE_URI"]))
    options = ("host", "port", "workers")  # those that MLflow does not read from the environment itself
    arguments = [f"--{name}={os.environ[f'MLFLOW_{name.upper()}']}" for name in options]
    command = [sys.executable, "-m", "mlflow", "server", "--app-name=basic-auth", *arguments]
    os.execv(sys.executable, command)  # noqa: S606 - our own command


def _write_configuration(database: str) -> Path:
    lines = (
        "[mlflow]",
        "default_permission = READ",
        f"database_uri = {database.replace('%', '%%')}",  # MLflow reads it with interpolation
        "admin_username = admin",
        "auth_cache_ttl_seconds = 60",  # else the slow password hash is computed for every request
        "authorization_function = registry_lock:authorize",  # who registers versions does not move Production
    )
    path = Path(tempfile.mkdtemp()) / "auth.ini"  # mkdtemp: for this user only
    path.write_text("\n".join(lines) + "\n")
    return path


if __name__ == "__main__":
    main()
