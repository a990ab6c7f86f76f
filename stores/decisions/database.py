"""Opening the decision database: durable settings for SQLite and PostgreSQL, and the schema of this software.

`open_store` is what a process calls; `open_engine` and `migrate` are its two halves, for a gateway that starts while
the database is unreachable and migrates it later.
"""

import errno
import logging
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
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
from stores.sql import is_postgres, postgres_engine, reason, shown, time_allowed, translated

_REMEDY: Final = "Check FRAUD_DATABASE_URL and that the database runs."
_BUSY_SECONDS: Final = 4
"""How long to wait for another process's write to SQLite before the database counts as away."""

_WRITE_SECONDS: Final = 5
"""How long PostgreSQL may take over a statement that writes: so long a prediction waits before it goes to the spool."""

_READ_SECONDS: Final = 10
"""How long a reader's statement may take, and on SQLite all of one question."""

READERS: Final = 4
"""Connections for reading: what is slow to find keeps other readers waiting, and no writer."""

_LOOK_SECONDS: Final = 0.001
_LOOKS_MILLISECONDS: Final = 100
"""How long SQLite looks by itself, ever less often, for the end of another process's write."""


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
        Return the store even while the database is unreachable, with a warning; call `migrate` once it is back.

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
        _log.warning("the decision database is unreachable: %s", error)
    except BaseException:
        engine.dispose()
        raise
    return DecisionStore(engine, open_engine(url, reading=True))


def open_engine(url: str, *, reading: bool = False) -> Engine:
    """An engine whose COMMIT means that the data is on disk, and that gives up on a database that hangs.

    Parameters
    ----------
    url : str
        ``sqlite:///path`` (the file is made where it is missing) or ``postgresql://user:password@host/name``.
    reading : bool
        For readers: few connections, each with a limit on the time that a question takes.

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
        return _postgres(parsed, reading)
    if parsed.drivername in ("sqlite", "sqlite+pysqlite") and parsed.database not in (None, "", ":memory:"):
        return _sqlite(Path(str(parsed.database)), reading)
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


_READING: Final[dict[str, Any]] = {"pool_size": READERS, "max_overflow": 0, "pool_timeout": _READ_SECONDS}


def _postgres(url: URL, reading: bool) -> Engine:
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    try:
        make_conninfo("", **{name: str(value) for name, value in url.query.items()})
    except ProgrammingError as error:
        cause = f"FRAUD_DATABASE_URL {shown(url)} has an {reason(error)}"
        raise InvalidInput(f"{cause}.", "Write postgresql://user:password@host/name.") from None
    return postgres_engine(url, _READ_SECONDS, **_READING) if reading else postgres_engine(url, _WRITE_SECONDS)


def _sqlite(path: Path, reading: bool) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        for each in (path, path.parent):  # SQLite keeps further files beside it
            if not os.access(each, os.R_OK | os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise Unavailable(f"Cannot write {path}: {error.strerror}.", _REMEDY) from error

    place = _place(path)

    def connect() -> sqlite3.Connection:
        place.refuse_mixture()
        # Mode rw: a file that vanished must not be replaced by an empty one.
        uri = f"file:{quote(str(path))}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)

    _require_database(path, connect)
    options = _READING if reading else {"pool_timeout": 3}
    engine = create_engine(URL.create("sqlite", database=str(path)), creator=connect, **options)

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        if not reading:  # who writes waits in `_begin_to_write`
            connection.execute(f"PRAGMA busy_timeout={_LOOKS_MILLISECONDS}")
        record.info["inode"] = place.note()

    @event.listens_for(engine, "checkout")
    def _same_file(_connection: Any, record: Any, _proxy: Any) -> None:
        # An open connection goes on writing to a file that was moved or deleted, where it would be lost.
        try:
            inode = path.stat().st_ino
        except OSError as error:
            raise DisconnectionError(f"{path}: {error.strerror}") from error
        if inode != record.info["inode"]:
            raise DisconnectionError(f"{path} was replaced")
        if place.log is None:  # it comes with the first transaction
            place.note()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that will write says so at once: a reader cannot become the writer once another has written.
        options = connection.get_execution_options()
        if options.get("immediate", False):
            _begin_to_write(connection, options.get("patience", _BUSY_SECONDS))
            return
        if reading:
            driver: Any = connection.connection.driver_connection
            end = math.inf if options.get("unhurried", False) else time.monotonic() + _READ_SECONDS
            driver.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        connection.exec_driver_sql("BEGIN")

    return engine


def _require_database(path: Path, connect: Callable[[], sqlite3.Connection]) -> None:
    """Refuse a file of another kind.

    By SQLite, never by opening the file: closing it again would take away the locks that this process's connections
    hold on it, and the next process to leave would delete the write-ahead log under them.
    """
    try:
        with closing(connect()) as connection:
            connection.execute("PRAGMA busy_timeout=0")
            connection.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            message = f"FRAUD_DATABASE_URL names {path}, which is not a SQLite database."
            raise InvalidInput(message, "Name another file.") from error
        # what else is wrong is said where the connection is used


class _Place:
    """Where SQLite's file lies, and which file and write-ahead log this process found there last.

    Attributes
    ----------
    log : int or None
        Inode of the log.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._log_path = path, path.with_name(f"{path.name}-wal")
        self._file: int | None = None
        self.log: int | None = None

    def note(self) -> int:
        """Remember what is there now; the file's inode."""
        self._file, self.log = self._path.stat().st_ino, _inode(self._log_path)
        return self._file

    def refuse_mixture(self) -> None:
        """Check that a file that took the other's place, such as a backup, did not come to lie beside the other's log.

        SQLite would read the two as one database, and ruin it.

        Raises
        ------
        sqlite3.OperationalError
        """
        replaced = _inode(self._path) not in (None, self._file)
        if replaced and self.log is not None and self.log == _inode(self._log_path):
            raise sqlite3.OperationalError(
                f"it was replaced, and {self._log_path.name} is the former one's: stop gateways, delete it and *-shm"
            )


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


@cache
def _place(path: Path) -> _Place:
    """One for all engines of this process: readers may be the first to notice."""
    return _Place(path)


_STEPS: Final = 20_000
"""Steps of SQLite's machine, a fraction of a millisecond, between two looks at the clock."""


def _begin_to_write(connection: Connection, patience: float) -> None:
    """Begin as soon as no other process writes, if that is within so many seconds.

    Left to itself, SQLite would look every 100 ms only, so one that commits all the time would lock the others out.
    """
    driver: Any = connection.connection.driver_connection
    deadline = time.monotonic() + patience
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                break
            time.sleep(_LOOK_SECONDS)
        else:
            return
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # once more by SQLAlchemy, which makes the error its own


_SCRIPTS: Final = Path(__file__).parent / "migrations"
_ADVISORY_LOCK: Final = 0x66726175  # "frau"; any number that is used for nothing else will do
_MIGRATION_SECONDS: Final = 300.0
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
        if _up_to_date(connection, scripts):
            return
        with time_allowed(connection, _MIGRATION_SECONDS):
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            if not _up_to_date(connection, scripts):
                config.attributes["connection"] = connection
                with _ALEMBIC, _blamed_on_schema(engine):
                    command.upgrade(config, "head")


@contextmanager
def _blamed_on_schema(engine: Engine) -> Iterator[None]:
    """What the database refuses to run will not run later either; all else may be a database that is unreachable."""
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
