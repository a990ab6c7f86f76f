"""How SQLAlchemy is used here.

PostgreSQL's driver and limits on waiting, one clear error for a database fault, and many values as one parameter.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import URL, BindParameter, ColumnElement, Connection, String, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DataError, DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ml_project.errors import InvalidInput, Unavailable
from stores.error_text import connection_fault, masked

DRIVER: Final = "postgresql+psycopg"

ENGINE_OPTIONS: Final[dict[str, Any]] = {
    "pool_pre_ping": True,  # a restart of the server costs one look, no error
    "pool_size": 5,
    "max_overflow": 5,
    "pool_timeout": 3,
    # A host that vanishes without a word is noticed in seconds, not in the kernel's 15 minutes.
    "connect_args": {
        "connect_timeout": 3,
        "options": "-c statement_timeout=10000 -c synchronous_commit=on",
        "tcp_user_timeout": 5000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    },
}
"""For `sqlalchemy.create_engine`: every PostgreSQL engine is made with these."""


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

    `IntegrityError` passes: it says that another writer was first, not that the database is away. The statement's
    parameters never enter a message: they are customers' data.

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
    Unavailable
        For anything else that the driver or the pool raises.
    """
    try:
        yield
    except IntegrityError:
        raise
    except DataError as error:
        raise InvalidInput(f"The database cannot hold a value: {reason(error.orig)}") from error
    except (DBAPIError, PoolTimeout, DisconnectionError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise unavailable(url, cause, database=database, setting=setting) from error


def unavailable(url: URL, cause: BaseException | None, *, database: str, setting: str) -> Unavailable:
    """The one message for a database that is away or unwilling; see `translated`."""
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
