"""The database behind a study: how it is reached, and one clear error when it is not."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ml_project.errors import InvalidInput, Unavailable
from stores.error_text import connection_fault, masked
from stores.sql import ENGINE_OPTIONS, is_postgres, with_driver

if TYPE_CHECKING:
    import optuna
    from sqlalchemy import URL

HEARTBEAT_SECONDS: Final = 30
MOST_RETRIES: Final = 3
"""A point that kills its worker that often is given up."""


@contextmanager
def storage_errors(storage_url: str) -> Iterator[None]:
    """Turn what SQLAlchemy and Optuna raise for a database that cannot be used into one clear error."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except RuntimeError as error:
        if "table schema" not in str(error):
            raise
        raise Unavailable(
            f"The Optuna study in {masked(storage_url)} has the schema of another Optuna version.",
            "Back it up and run `optuna storage upgrade --storage` with its address, or set another FRAUD_STUDY_URL.",
        ) from error
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = connection_fault(str(cause)) or masked(str(cause).splitlines()[0])
        raise Unavailable(
            f"The Optuna study in {masked(storage_url)} cannot be used: {reason}.",
            "Check FRAUD_STUDY_URL and that the database runs.",
        ) from error


def require_storage(storage_url: str) -> None:
    """Open a storage that is there already, or is a server's.

    Raises
    ------
    Unavailable
        When it cannot be reached, refuses us, or has another schema.
    """
    with storage_errors(storage_url):
        url, _ = connection(storage_url)
        if is_postgres(url) or (url.database and Path(url.database).is_file()):
            open_storage(storage_url).engine.dispose()


def open_storage(storage_url: str) -> "optuna.storages.RDBStorage":
    """Optuna's storage, its tables made where they are missing.

    Raises
    ------
    Unavailable
        As `require_storage` does.
    """
    import optuna

    with storage_errors(storage_url), warnings.catch_warnings():
        # heartbeats, which free the trials of a killed worker, are marked experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        url, options = connection(storage_url)
        return optuna.storages.RDBStorage(
            url.render_as_string(hide_password=False),
            engine_kwargs=options,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=4 * HEARTBEAT_SECONDS,
            heartbeat_stale_trial_callback=retry,
        )


def retry(study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> None:
    """Put the point of a trial whose worker died back in the queue."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=MOST_RETRIES)(study, trial)


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
