"""The way to the database: durable settings for SQLite and PostgreSQL, and one error for all that keeps it away."""

import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ml_project.errors import FraudError, InvalidInput, Unavailable
from stores.masking import masked
from stores.postgres import ENGINE_OPTIONS, is_postgres, with_driver

_REMEDY: Final = "Check FRAUD_DATABASE_URL and that the database runs."
_BUSY_SECONDS: Final = 2
"""How long to wait for another process's write before giving up."""

_LOOK_SECONDS: Final = 0.001

_SQLITE: Final = b"SQLite format 3\0"
"""What every database begins with that is not empty."""


def open_engine(url: str) -> Engine:
    """An engine whose COMMIT means that the data is on disk.

    Parameters
    ----------
    url : str
        ``sqlite:///path`` (the file is made where it is missing) or ``postgresql://user:password@host/name``.

    Raises
    ------
    InvalidInput
        When the URL is of another kind, or names a file that is no SQLite database.
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


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Turn whatever the driver raises for an absent or unwilling database into `Unavailable`.

    `IntegrityError` passes: it says that somebody else was first, not that the database is away. Parameters of the
    statement never enter a message: they are customers' data.
    """
    try:
        yield
    except IntegrityError:
        raise
    except DataError as error:
        raise InvalidInput(f"The database cannot hold a value: {_reason(error.orig)}") from error
    except DBAPIError as error:
        raise _unavailable(engine.url, error.orig) from error
    except (PoolTimeout, DisconnectionError) as error:
        raise _unavailable(engine.url, error) from error


def _unavailable(url: URL, error: BaseException | None) -> FraudError:
    return Unavailable(f"The decision database {shown(url)} does not answer as it should: {_reason(error)}.", _REMEDY)


def shown(url: URL) -> str:
    """A URL without its secrets, and without its query: nobody knows what stands there."""
    return masked(url.set(query={}).render_as_string(hide_password=False))


def _reason(error: BaseException | None) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200].rstrip(".")


def _postgres(url: URL) -> Engine:
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    try:
        make_conninfo("", **{name: str(value) for name, value in url.query.items()})
    except ProgrammingError as error:
        cause = f"FRAUD_DATABASE_URL {shown(url)} has an {_reason(error)}"
        raise InvalidInput(f"{cause}.", "Write postgresql://user:password@host/name.") from None
    return create_engine(with_driver(url), **ENGINE_OPTIONS)


def _sqlite(path: Path) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with path.open("r+b") as file:
            begins = file.read(len(_SQLITE))
        if not os.access(path.parent, os.W_OK):  # SQLite keeps files of its own beside it
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise Unavailable(f"Cannot write {path}: {error.strerror}.", _REMEDY) from error
    if begins not in (b"", _SQLITE):
        raise InvalidInput(f"FRAUD_DATABASE_URL names {path}, which is no SQLite database.", "Name another file.")

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
        # An open connection goes on writing to a file that was moved or deleted, and nobody would find it there.
        try:
            inode = path.stat().st_ino
        except OSError as error:
            raise DisconnectionError(f"{path}: {error.strerror}") from error
        if inode != record.info["inode"]:
            raise DisconnectionError(f"{path} was replaced")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Who will write says so at once: a reader cannot become the writer once another has written.
        immediate = connection.get_execution_options().get("immediate", False)
        if not immediate or not _begun_at_once(connection.connection.driver_connection):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _begun_at_once(connection: Any) -> bool:
    """Begin to write as soon as no other process does, if that is within `_BUSY_SECONDS`.

    SQLite itself soon looks every 100 ms only, and whoever commits all the time would not let the others through.
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
