"""The scheduler's database: a queue of runs that survives the scheduler, and the history of those that ended.

SQLite or PostgreSQL. While the database is unreachable, it is waited for; one scheduler at a time holds it.
"""

import fcntl
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Unicode,
    create_engine,
    delete,
    event,
    insert,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.exc import ArgumentError

from ml_project.errors import InvalidInput, LostRace, Unavailable
from pipelines.console import error_console
from stores.decisions.schema import UtcDateTime
from stores.error_text import masked
from stores.sql import ENGINE_OPTIONS, is_postgres, translated, with_driver

T = TypeVar("T")

_PAUSE_SECONDS: Final = 2.0
_LOCK: Final = 6_006_031_988
"""The number of the advisory lock that a scheduler holds in PostgreSQL."""

_METADATA: Final = MetaData()
schedule_runs: Final = Table(
    "schedule_runs",
    _METADATA,
    Column("run_id", Integer, primary_key=True),
    Column("job", String(20), nullable=False),
    Column("reason", String(20), nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("exit_code", Integer),
)
schedule_jobs: Final = Table(
    "schedule_jobs",
    _METADATA,
    Column("id", Unicode(191), primary_key=True),
    Column("next_run_time", Float(25), index=True),
    Column("job_state", LargeBinary, nullable=False),
)
"""The table of earlier releases. ``job_state`` is JSON, so that reading it runs no code."""


class ScheduleDatabase:
    """Runs transactions, and tries them again while the database is unreachable.

    Parameters
    ----------
    url : str
        ``sqlite:///path`` or ``postgresql://user:password@host/name``.

    Raises
    ------
    InvalidInput
        When the URL is of neither kind.
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
        """The result of ``work``, committed.

        Raises
        ------
        Unavailable
            When the scheduler ends while the database is unreachable.
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
        """As `write`, but a database that is unreachable is an error at once."""
        with (
            translated(self.engine.url, database="schedule", setting="FRAUD_SCHEDULE_URL"),
            self.engine.begin() as connection,
        ):
            return work(connection)

    def give_up(self) -> None:
        """Wait for the database no longer."""
        self._closing.set()

    @contextmanager
    def hold(self, state_dir: Path) -> Iterator[None]:
        """Hold the database for the block; with a second scheduler every job would run twice.

        Raises
        ------
        LostRace
            When another scheduler has it.
        """
        taken = LostRace(f"Another scheduler is using {self._name}.", "Stop it first; one is enough.")
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
                if not _take_lock(connection):
                    raise taken
            yield


def _take_lock(connection: Connection) -> bool:
    """Take the lock; tried repeatedly, as the server may not know yet that the last scheduler was killed."""
    for _try in range(3):
        if connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}):
            return True
        time.sleep(1)
    return False


def _durable(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


@dataclass(frozen=True)
class PlannedJob:
    """A job, the cron line by which it was planned, and when it is due next."""

    name: str
    cron: str
    due_at: datetime


@dataclass(frozen=True)
class RunRequest:
    """A run that is to be done, and why."""

    job: str
    reason: str


@dataclass(frozen=True)
class ScheduledRun:
    """A run that has begun."""

    run_id: int
    asked: RunRequest
    started_at: datetime


class RunQueue:
    """When jobs are due, which runs wait, and how they ended. A method returns once its change is on the disk."""

    def __init__(self, database: ScheduleDatabase) -> None:
        self._database = database
        database.write_once(_METADATA.create_all)

    def jobs(self) -> dict[str, PlannedJob]:
        """The planned jobs by name."""

        def read(connection: Connection) -> list[bytes]:
            return list(connection.scalars(select(schedule_jobs.c.job_state)))

        states = [json.loads(state) for state in self._database.write(read)]
        return {
            state["id"]: PlannedJob(state["id"], state["cron"], datetime.fromisoformat(state["next_run_time"]))
            for state in states
            if state["next_run_time"] is not None
        }

    def plan(self, job: PlannedJob) -> None:
        """Keep when a job is due next, in place of what was kept of it."""
        self._database.write(lambda connection: _plan(connection, job))

    def forget(self, name: str) -> None:
        """Plan a job no longer."""
        gone = delete(schedule_jobs).where(schedule_jobs.c.id == name)
        self._database.write(lambda connection: connection.execute(gone))

    def ask(self, asked: RunRequest, then: PlannedJob | None = None) -> bool:
        """Ask for a run and, in the same transaction, plan the job anew; False where the same run waits already."""

        def ask(connection: Connection) -> bool:
            if then is not None:
                _plan(connection, then)
            return _ask(connection, asked)

        return self._database.write(ask)

    def resume(self) -> list[RunRequest]:
        """Let the runs that an earlier scheduler began and did not end wait again; returns them."""
        columns = schedule_runs.c
        cut_short = columns.ended_at.is_(None) & columns.started_at.is_not(None)

        def resume(connection: Connection) -> list[RunRequest]:
            found = connection.execute(select(columns.job, columns.reason).where(cut_short)).all()
            connection.execute(update(schedule_runs).where(cut_short).values(started_at=None))
            return [RunRequest(row.job, row.reason) for row in found]

        return self._database.write(resume)

    def take(self, job: str) -> ScheduledRun | None:
        """Begin the oldest run of a job that has not ended."""
        columns = schedule_runs.c
        oldest = select(columns.run_id, columns.reason).where(columns.job == job, columns.ended_at.is_(None))

        def take(connection: Connection) -> ScheduledRun | None:
            row = connection.execute(oldest.order_by(columns.run_id).limit(1)).one_or_none()
            if row is None:
                return None
            now = datetime.now(UTC)
            connection.execute(update(schedule_runs).where(columns.run_id == row.run_id).values(started_at=now))
            return ScheduledRun(row.run_id, RunRequest(job, row.reason), now)

        return self._database.write(take)

    def end(self, run: ScheduledRun, exit_code: int, then: RunRequest | None = None) -> datetime:
        """Keep how a run ended and, in the same transaction, ask for the run that follows it."""
        now = datetime.now(UTC)
        ended = update(schedule_runs).where(schedule_runs.c.run_id == run.run_id)

        def end(connection: Connection) -> None:
            connection.execute(ended.values(ended_at=now, exit_code=exit_code))
            if then is not None:
                _ask(connection, then)

        self._database.write(end)
        return now


def _ask(connection: Connection, asked: RunRequest) -> bool:
    columns = schedule_runs.c
    waiting = select(columns.run_id).where(
        columns.job == asked.job, columns.reason == asked.reason, columns.started_at.is_(None)
    )
    if connection.execute(waiting.limit(1)).one_or_none() is not None:
        return False
    connection.execute(insert(schedule_runs).values(**vars(asked), asked_at=datetime.now(UTC)))
    return True


def _plan(connection: Connection, job: PlannedJob) -> None:
    state = {"id": job.name, "cron": job.cron, "next_run_time": job.due_at.isoformat()}
    connection.execute(delete(schedule_jobs).where(schedule_jobs.c.id == job.name))
    connection.execute(
        insert(schedule_jobs).values(
            id=job.name, next_run_time=job.due_at.timestamp(), job_state=json.dumps(state).encode()
        )
    )
