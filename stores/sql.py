"""How SQLAlchemy is used here.

PostgreSQL's driver and limits on waiting, one clear error for a database fault, and many values as one parameter.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from select import POLLIN, poll
from typing import Any, Final

from sqlalchemy import (
    URL,
    BindParameter,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    String,
    bindparam,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DataError, DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ml_project.errors import InvalidInput, Unavailable
from stores.error_text import connection_fault, masked

DRIVER: Final = "postgresql+psycopg"

_SESSION: Final = "-c synchronous_commit=on -c statement_timeout="
_STATEMENT_SECONDS: Final = 10
_ANSWER_MARGIN_SECONDS: Final = 2.0
"""So much longer than the server may take this side waits: a server that lives says itself what went wrong."""

ENGINE_OPTIONS: Final[dict[str, Any]] = {
    "pool_pre_ping": True,  # a restart of the server costs one look, no error
    "pool_size": 5,
    "max_overflow": 5,
    "pool_timeout": 3,
    # A host that vanishes without a word is noticed in seconds, not in the kernel's 15 minutes.
    "connect_args": {
        "connect_timeout": 3,
        "options": f"{_SESSION}{_STATEMENT_SECONDS * 1000}",
        "tcp_user_timeout": 5000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    },
}
"""For `sqlalchemy.create_engine`: every PostgreSQL engine is made with these."""


class Busy(Unavailable):
    """The database is there, but others are in the way; asking again later may do."""


class Contended(Busy):
    """Another transaction was in the way, and this one was undone; it may be tried again at once."""


class Locked(Unavailable):
    """Another process is writing to the SQLite file, and went on for longer than this one may wait."""


class QueryTimeout(Unavailable):
    """A statement that took longer than it may, and was ended."""


def postgres_engine(url: URL, statement_seconds: int = _STATEMENT_SECONDS, **options: Any) -> Engine:
    """An engine that waits for nothing without end, whatever becomes of the server.

    A server that is alive ends a statement after ``statement_seconds``. One whose processes are frozen, or that waits
    for a standby at COMMIT, ends nothing: then this side closes the connection, two seconds later.

    Parameters
    ----------
    url : URL
    statement_seconds : int
    **options
        For `sqlalchemy.create_engine`, over `ENGINE_OPTIONS`.
    """
    connect_args = ENGINE_OPTIONS["connect_args"] | {"options": f"{_SESSION}{statement_seconds * 1000}"}
    own = {"connect_args": connect_args, "pool_pre_ping": False}
    engine = create_engine(with_driver(url), **ENGINE_OPTIONS | own | options)

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, arguments: Any, parameters: Any) -> Any:
        connection = _connection_class().connect(*arguments, **parameters)
        connection.answer_seconds = statement_seconds + _ANSWER_MARGIN_SECONDS
        return connection

    @event.listens_for(engine, "checkout")
    def _look(connection: Any, _record: Any, _proxy: Any) -> None:
        # Instead of a ping, which each prediction would wait for: where nothing was asked, there is nothing to read but
        # the end. A server that vanished without a word ends a connection by its missing keepalives.
        look = poll()
        look.register(connection.pgconn.socket, POLLIN)
        if look.poll(0):
            raise DisconnectionError("the server has closed the connection")

    return engine


@cache
def _connection_class() -> Any:
    """Made when first needed: a process without PostgreSQL does not load its driver."""
    from psycopg import Connection as Psycopg
    from psycopg import OperationalError
    from psycopg.pq import TransactionStatus

    class BoundedConnection(Psycopg[Any]):
        answer_seconds: float | None = None
        """How long to wait for any answer."""

        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                return super().wait(gen, interval, self.answer_seconds if timeout is None else timeout)
            except OperationalError:
                # the server still owes an answer, and nothing can be asked on this connection before it comes
                if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                    self.pgconn.finish()
                raise

    return BoundedConnection


@contextmanager
def driver_connection(engine: Engine) -> Iterator[Any]:
    """A connection as the driver has it, for statements that are transactions of their own.

    Raises what SQLAlchemy would raise, for `translated`.
    """
    with ExitStack() as stack, driver_errors(engine.dialect):
        pooled = engine.raw_connection()
        stack.callback(pooled.close)
        driver: Any = pooled.driver_connection
        if engine.dialect.name == "postgresql":
            driver.autocommit = True
            stack.callback(_no_autocommit, driver)
        yield driver


@contextmanager
def driver_errors(dialect: Dialect) -> Iterator[None]:
    """Raise a driver's errors as SQLAlchemy would: what a prediction waits for goes past it, which saves half."""
    errors = dialect.loaded_dbapi.Error
    try:
        yield
    except errors as error:
        raise DBAPIError.instance(None, None, error, errors, dialect=dialect) from error


def _no_autocommit(driver: Any) -> None:
    if not driver.closed:
        driver.autocommit = False


@contextmanager
def time_allowed(connection: Connection, seconds: float) -> Iterator[None]:
    """On PostgreSQL, let the statements of a transaction take longer than others may, for the block."""
    if connection.dialect.name != "postgresql":
        yield
        return
    driver: Any = connection.connection.driver_connection
    usual = driver.answer_seconds
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(seconds * 1000)}")
    driver.answer_seconds = seconds + _ANSWER_MARGIN_SECONDS
    try:
        yield
    finally:
        driver.answer_seconds = usual


def is_postgres(url: URL) -> bool:
    """Whether a URL names a PostgreSQL database that psycopg can open."""
    return url.drivername in ("postgres", "postgresql", DRIVER)


def with_driver(url: URL) -> URL:
    """The URL with psycopg as its driver: SQLAlchemy's default is another one."""
    return url.set(drivername=DRIVER)


def shown(url: URL) -> str:
    """A URL for messages: without its secrets, and without its query, which may hold more of them."""
    return masked(url.set(query={}).render_as_string(hide_password=False))


def reason(error: BaseException | None) -> str:
    """The first line of an error, for a message."""
    return (str(error) or type(error).__name__).splitlines()[0][:200].rstrip(".")


@contextmanager
def translated(url: URL, *, database: str = "decision database", setting: str = "FRAUD_DATABASE_URL") -> Iterator[None]:
    """Turn what SQLAlchemy raises for an absent or unwilling database into a `FraudError`.

    `IntegrityError` passes: it says that another writer was first (see `lost_race`), not that there is no database.
    The statement's parameters never enter a message: they are customers' data.

    Parameters
    ----------
    url : URL
        Of the engine.
    database, setting : str
        What the message calls the database, and the setting that names it.

    Raises
    ------
    InvalidInput
        When the database cannot hold a value.
    Contended
        When the database undid a transaction because of another: a deadlock, for one.
    Busy
        When this process has no free connection.
    QueryTimeout
        When a statement took too long.
    Locked
        When another process writes to the SQLite file.
    Unavailable
        For anything else that the driver or the pool raises.
    """
    try:
        yield
    except IntegrityError:
        raise
    except DataError as error:
        raise InvalidInput(f"The database cannot hold a value: {reason(error.orig)}") from error
    except PoolTimeout as error:
        raise Busy(f"Too many queries for the {database} at once.", "Try again later.") from error
    except (DBAPIError, DisconnectionError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        state = getattr(cause, "sqlstate", None)
        if state in _CONTENDED:
            raise Contended(f"The {database} is busy: {reason(cause)}.", "Try again.") from error
        if state == _QUERY_CANCELED or getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise QueryTimeout(
                f"The {database} took too long over a query: {reason(cause)}.",
                "Ask for less, such as a shorter time, or try again when there is less load.",
            ) from error
        missing = unavailable(url, cause, database=database, setting=setting)
        locked = getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
        raise Locked(missing.cause, missing.remedy) if locked else missing from error


_CONTENDED: Final = {"40001", "40P01"}  # serialization_failure, deadlock_detected
_QUERY_CANCELED: Final = "57014"
_UNIQUE_VIOLATION: Final = "23505"
_TAKEN: Final = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}


def lost_race(error: IntegrityError) -> bool:
    """Whether another writer has taken a key; any other violation would come again."""
    return (
        getattr(error.orig, "sqlstate", None) == _UNIQUE_VIOLATION
        or getattr(error.orig, "sqlite_errorcode", None) in _TAKEN
    )


def unavailable(url: URL, cause: BaseException | None, *, database: str, setting: str) -> Unavailable:
    """The one message for a database that is unreachable or unwilling; see `translated`."""
    # an error with an SQLSTATE comes from a server that was reached, such as "canceling statement due to timeout"
    lost = None if getattr(cause, "sqlstate", None) else connection_fault(str(cause))
    why = lost or masked(reason(cause))
    return Unavailable(
        f"The {database} {shown(url)} does not answer as it should: {why}.",
        f"Check {setting} and that the database runs.",
    )


LISTED: Final = "listed"


def one_of(connection: Connection, column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """``column IN values`` with one parameter for all of them: no limit on their number, one cached statement."""
    dialect = connection.dialect.name
    return _among(dialect, column, bindparam(None, listed(dialect, values), _type(dialect)))


def among(dialect: str, column: ColumnElement[Any]) -> ColumnElement[bool]:
    """The same for a statement that is built once: its parameter `LISTED` takes what `listed` makes of the values."""
    return _among(dialect, column, bindparam(LISTED, type_=_type(dialect)))


def listed(dialect: str, values: Sequence[str]) -> str | list[str]:
    """Values as one parameter."""
    return json.dumps(values) if dialect == "sqlite" else list(values)


def _among(dialect: str, column: ColumnElement[Any], values: BindParameter[Any]) -> ColumnElement[bool]:
    if dialect == "sqlite":
        return column.in_(select(func.json_each(values).table_valued("value").c.value))
    # Not "= ANY(values)", which PostgreSQL may compare one by one with every row: seconds for 10,000 values.
    return column.in_(select(func.unnest(values)))


def _type(dialect: str) -> Any:
    return String() if dialect == "sqlite" else ARRAY(String)
