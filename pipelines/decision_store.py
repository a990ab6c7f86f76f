"""The gateway's decision store, as the pipelines open it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from ml_project.errors import InvalidInput
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionStore, open_engine
from stores.decisions import migrate


@contextmanager
def decision_store(settings: PipelineSettings) -> Iterator[DecisionStore]:
    """The store of ``settings.decisions_url``, closed with the block.

    Raises
    ------
    InvalidInput
        When there is none.
    Unavailable
        When the database does not answer.
    """
    try:
        url = make_url(settings.decisions_url)
    except (ArgumentError, ValueError):
        url = None  # open_engine says what is wrong with it
    # Opening it would make an empty one, and say that there was no traffic.
    if url is not None and url.drivername.startswith("sqlite") and not Path(str(url.database)).is_file():
        raise InvalidInput(f"There is no decision database {url.database}.", "Set FRAUD_DATABASE_URL as the gateway's.")
    engine = open_engine(settings.decisions_url)
    try:
        migrate(engine)
        yield DecisionStore(engine)
    finally:
        engine.dispose()
