"""Brings a database to the schema of this software."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, ProgrammingError

from ml_project.errors import InvalidInput
from stores.decisions.engine import shown, translated

_SCRIPTS: Final = Path(__file__).parent / "migrations"
_ADVISORY_LOCK: Final = 0x66726175  # "frau"; any number that nobody else uses will do
_ALEMBIC: Final = threading.Lock()
"""Its operations are globals: two threads' migrations would run in one database."""


def migrate(engine: Engine) -> None:
    """Run the missing migrations, all in one transaction; of several processes that start at once, one does it.

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
    with translated(engine), engine.execution_options(immediate=True).begin() as connection:
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
        reason = str(error.orig).splitlines()[0]
        raise InvalidInput(
            f"The decision database {shown(engine.url)} cannot be brought to this software's schema: {reason}.",
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
