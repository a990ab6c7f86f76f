"""Opening the decision database: durable settings for SQLite and PostgreSQL, and the schema of this software.

`open_store` is what a process calls; `open_engine` and `migrate` are its two halves, for a gateway that starts while
the database is away and migrates it later.
"""

import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, ProgrammingError

from ml_project.errors import InvalidInput, Unavailable
from stores.decisions.store import DecisionStore
from stores.sql import ENGINE_OPTIONS, is_postgres, reason, shown, translated, with_driver

_REMEDY: Final = "Check FRAUD_DATABASE_URL and that the database runs."
_BUSY_SECONDS: Final = 2
"""How long to wait for another process's write before giving up."""

_LOOK_SECONDS: Final = 0.001

_SQLITE: Final = b"SQLite format 3\0"
"""The first bytes of every database that is not empty."""


def open_store(url: str, *, existing: bool = False, wait: bool = False) -> DecisionStore:
    """The decision store behind a URL, its database brought to this software's schema.

    Close it, or use it in a ``with`` statement.

    Parameters
    ----------
    url : str
        See `open_engine`.
    existing : bool
        Refuse a SQLite file that is not there: a reader would make an empty one and find no traffic in it.
    wait : bool
        Return the store even while the database is away, with a warning; call `migrate` once it is back.

    Raises
    ------
    InvalidInput
        When the URL cannot be used, there is no such file, or the database holds something else.
    Unavailable
        When the database does not answer.
    """
    if existing:
        _require_file(url)
    engine = open_engine(url)
    try:
        migrate(engine)
    except Unavailable as error:
        if not wait:
            engine.dispose()
            raise
        _log.warning("the decision database is away: %s", error)
    except BaseException:
        engine.dispose()
        raise
    return DecisionStore(engine)


def open_engine(url: str) -> Engine:
    """An engine whose COMMIT means that the data is on disk.

    Parameters
    ----------
    url : str
        ``sqlite:///path`` (the file is made where it is missing) or ``postgresql://user:password@host/name``.

    Raises
    ------
    InvalidInput
        When the URL is of another kind, or names a file that is not a SQLite database.
    Unavailable
        When SQLite's folder cannot be written. PostgreSQL is not asked before the first statement.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the message would hold the URL, and with it the password
        raise InvalidInput("FRAUD_DATABASE_URL is not a URL.", "Write sqlite:///path or postgresql://...") from None
    if is_postgres(parsed):
        return _postgres(parsed)
    if parsed.drivername in ("sqlite", "sqlite+pysqlite") and parsed.database not in (None, "", ":memory:"):
        return _sqlite(Path(str(parsed.database)))
    raise InvalidInput(
        f"FRAUD_DATABASE_URL cannot be {shown(parsed)}.", "Write sqlite:///path (a file) or postgresql://..."
    )


def _require_file(url: str) -> None:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return  # `open_engine` says what is wrong with it
    if parsed.drivername.startswith("sqlite") and not Path(str(parsed.database)).is_file():
        raise InvalidInput(
            f"There is no decision database {parsed.database}.", "Set FRAUD_DATABASE_URL as the gateway's."
        )


def _postgres(url: URL) -> Engine:
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    try:
        make_conninfo("", **{name: str(value) for name, value in url.query.items()})
    except ProgrammingError as error:
        cause = f"FRAUD_DATABASE_URL {shown(url)} has an {reason(error)}"
        raise InvalidInput(f"{cause}.", "Write postgresql://user:password@host/name.") from None
    return create_engine(with_driver(url), **ENGINE_OPTIONS)


def _sqlite(path: Path) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with path.open("r+b") as file:
            begins = file.read(len(_SQLITE))
        if not os.access(path.parent, os.W_OK):  # SQLite keeps further files beside it
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise Unavailable(f"Cannot write {path}: {error.strerror}.", _REMEDY) from error
    if begins not in (b"", _SQLITE):
        raise InvalidInput(f"FRAUD_DATABASE_URL names {path}, which is not a SQLite database.", "Name another file.")

    def connect() -> sqlite3.Connection:
        # Mode rw: a file that vanished must not be replaced by an empty one.
        uri = f"file:{quote(str(path))}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)

    engine = create_engine(URL.create("sqlite", database=str(path)), creator=connect, pool_timeout=3)

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        record.info["inode"] = path.stat().st_ino

    @event.listens_for(engine, "checkout")
    def _same_file(_connection: Any, record: Any, _proxy: Any) -> None:
        # An open connection goes on writing to a file that was moved or deleted, where it would be lost.
        try:
            inode = path.stat().st_ino
        except OSError as error:
            raise DisconnectionError(f"{path}: {error.strerror}") from error
        if inode != record.info["inode"]:
            raise DisconnectionError(f"{path} was replaced")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that will write says so at once: a reader cannot become the writer once another has written.
        immediate = connection.get_execution_options().get("immediate", False)
        if not immediate or not _begun_at_once(connection.connection.driver_connection):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _begun_at_once(connection: Any) -> bool:
    """Begin to write as soon as no other process does, if that is within `_BUSY_SECONDS`.

    SQLite itself soon looks every 100 ms only, so one that commits all the time would lock the others out.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    connection.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    return False  # tried once more by SQLAlchemy, which makes the error its own
                time.sleep(_LOOK_SECONDS)
            else:
                return True
    finally:
        connection.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")


_SCRIPTS: Final = Path(__file__).parent / "migrations"
_ADVISORY_LOCK: Final = 0x66726175  # "frau"; any number that is used for nothing else will do
_ALEMBIC: Final = threading.Lock()
"""Its operations are globals: two threads' migrations would run in one database."""

_log = logging.getLogger(__name__)


def migrate(engine: Engine) -> None:
    """Run the missing migrations, all in one transaction; of several processes that start at once, one runs them.

    SQLite's write lock and PostgreSQL's advisory lock keep the others waiting; they then find nothing to do.

    Raises
    ------
    InvalidInput
        When the database is newer than this software, or holds something else.
    Unavailable
        When it cannot be reached.
    """
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    with translated(engine.url), engine.execution_options(immediate=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL statement_timeout = '5min'")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
        if not _up_to_date(connection, scripts):
            config.attributes["connection"] = connection
            with _ALEMBIC, _blamed_on_schema(engine):
                command.upgrade(config, "head")


@contextmanager
def _blamed_on_schema(engine: Engine) -> Iterator[None]:
    """What the database refuses to run will not run later either; all else may be a database that is away."""
    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", None)
        if not isinstance(error, ProgrammingError) and code != sqlite3.SQLITE_ERROR:
            raise
        refused = str(error.orig).splitlines()[0]
        raise InvalidInput(
            f"The decision database {shown(engine.url)} cannot be brought to this software's schema: {refused}.",
            "Point FRAUD_DATABASE_URL at an empty database that the gateway owns, or at one that it made.",
        ) from error


def _up_to_date(connection: Connection, scripts: ScriptDirectory) -> bool:
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise InvalidInput(
            f"The decision database has schema {current}, which this software does not know.",
            "Run the newer release that made it, or point FRAUD_DATABASE_URL elsewhere.",
        )
    return current == scripts.get_current_head()
