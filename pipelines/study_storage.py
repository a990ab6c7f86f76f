"""The database behind a study: how it is reached, and one clear error when it is not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ml_project.errors import InvalidInput, Unavailable
from stores.connections import connection_fault
from stores.masking import masked
from stores.postgres import ENGINE_OPTIONS, is_postgres, with_driver

if TYPE_CHECKING:
    from sqlalchemy import URL


@contextmanager
def storage_errors(storage_url: str) -> Iterator[None]:
    """Turn what SQLAlchemy and Optuna raise for a database that cannot be used into one clear error."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = connection_fault(str(cause)) or masked(str(cause).splitlines()[0])
        raise Unavailable(
            f"The Optuna study in {masked(storage_url)} cannot be used: {reason}.",
            "Check FRAUD_STUDY_URL and that the database runs.",
        ) from error


def require_storage(storage_url: str) -> None:
    """Connect to a PostgreSQL storage once.

    Raises
    ------
    Unavailable
        When it cannot be reached or refuses us.
    """
    from sqlalchemy import create_engine

    with storage_errors(storage_url):
        url, options = connection(storage_url)
        if is_postgres(url):
            engine = create_engine(url, **options)
            try:
                engine.connect().close()
            finally:
                engine.dispose()


def connection(storage_url: str) -> "tuple[URL, dict[str, Any]]":
    """Where to connect, and the options of its engine.

    Raises
    ------
    InvalidInput
        When it is not a URL.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(storage_url)
    except (ArgumentError, ValueError):  # the message would hold the URL, and with it the password
        raise InvalidInput("FRAUD_STUDY_URL is not a URL.", "Write sqlite:///path or postgresql://...") from None
    # several workers write in turns: SQLite lets one wait for another
    return (with_driver(url), ENGINE_OPTIONS) if is_postgres(url) else (url, {"connect_args": {"timeout": 60}})
