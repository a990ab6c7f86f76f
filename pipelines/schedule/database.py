"""The scheduler's database: SQLite or PostgreSQL, waited for while it is away, and held by one scheduler at a time."""

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError

from ml_project.errors import InvalidInput, LostRace, Unavailable
from pipelines.console import error_console
from stores.error_text import connection_fault, masked
from stores.sql import ENGINE_OPTIONS, is_postgres, with_driver

T = TypeVar("T")

_PAUSE_SECONDS: Final = 2.0
_LOCK: Final = 6_006_031_988
"""Of PostgreSQL's advisory locks the one that a scheduler holds."""


class ScheduleDatabase:
    """Transactions that are tried again until the database is back, or the scheduler ends.

    Parameters
    ----------
    url : str
        ``sqlite:///path`` or ``postgresql://user:password@host/name``.

    Raises
    ------
    InvalidInput
        When the URL is of another kind.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            known = is_postgres(parsed) or parsed.drivername == "sqlite"
        except (ArgumentError, ValueError):  # the message would hold the URL, and with it the password
            known = False
        if not known:
            raise InvalidInput("FRAUD_SCHEDULE_URL cannot be used.", "Write sqlite:///path or postgresql://...")
        self._name = masked(url)
        self._closing = threading.Event()
        if is_postgres(parsed):
            self.engine: Engine = create_engine(with_driver(parsed), **ENGINE_OPTIONS)
        else:
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(parsed, connect_args={"timeout": 10})
            event.listen(self.engine, "connect", _durable)

    def write(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` returns, committed.

        Raises
        ------
        Unavailable
            When the scheduler ends while the database is away.
        """
        told = False
        while True:
            try:
                return self.write_once(work)
            except Unavailable as error:
                if self._closing.wait(_PAUSE_SECONDS):
                    raise
                if not told:
                    error_console.print(f"[bold yellow]warning:[/bold yellow] {error} Trying again.")
                told = True

    def write_once(self, work: Callable[[Connection], T]) -> T:
        """The same without patience."""
        try:
            with self.engine.begin() as connection:
                return work(connection)
        except (OperationalError, InterfaceError) as error:
            reason = connection_fault(str(error)) or masked(str(error.orig).splitlines()[0])
            raise Unavailable(
                f"The schedule in {self._name} cannot be used: {reason}.",
                "Check FRAUD_SCHEDULE_URL and that the database runs.",
            ) from error

    def give_up(self) -> None:
        """Wait for it no longer."""
        self._closing.set()

    @contextmanager
    def held(self, state_dir: Path) -> Iterator[None]:
        """Hold it; with a second scheduler everything would be done twice.

        Raises
        ------
        LostRace
            When another scheduler has it.
        """
        taken = LostRace(f"Another scheduler runs on {self._name}.", "Stop it first; one is enough.")
        state_dir.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            lock = stack.enter_context((state_dir / "schedule.lock").open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise taken from error
            stack.callback(self.engine.dispose)
            if is_postgres(self.engine.url):
                self.write_once(lambda _connection: None)
                connection = stack.enter_context(self.engine.connect())
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                if not _locked(connection):
                    raise taken
            yield


def _locked(connection: Connection) -> bool:
    """A predecessor that was killed a moment ago may still be known to the server."""
    for _try in range(3):
        if connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}):
            return True
        time.sleep(1)
    return False


def _durable(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
