"""What was due and what became of it: a queue that outlasts the scheduler, and its history."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, insert, select, update

from pipelines.schedule.database import ScheduleDatabase
from stores.decisions.schema import UtcDateTime

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


@dataclass(frozen=True)
class Asked:
    """A run that is to be done, and why."""

    job: str
    reason: str


@dataclass(frozen=True)
class ScheduledRun:
    """A run that was begun."""

    run_id: int
    asked: Asked
    started_at: datetime


class Runs:
    """The queue; everything that returns is on the disk."""

    def __init__(self, database: ScheduleDatabase) -> None:
        self._database = database
        database.write_once(_METADATA.create_all)

    def resume(self) -> list[Asked]:
        """Let what a predecessor began and did not end wait again, and say what that is."""
        columns = schedule_runs.c
        cut_short = columns.ended_at.is_(None) & columns.started_at.is_not(None)

        def resume(connection: Connection) -> list[Asked]:
            found = connection.execute(select(columns.job, columns.reason).where(cut_short)).all()
            connection.execute(update(schedule_runs).where(cut_short).values(started_at=None))
            return [Asked(row.job, row.reason) for row in found]

        return self._database.write(resume)

    def ask(self, asked: Asked) -> bool:
        """Ask for a run; False where the same one waits already."""
        return self._database.write(lambda connection: _ask(connection, asked))

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
            return ScheduledRun(row.run_id, Asked(job, row.reason), now)

        return self._database.write(take)

    def end(self, run: ScheduledRun, exit_code: int, then: Asked | None = None) -> datetime:
        """Say how it ended and, in the same transaction, ask for what follows."""
        now = datetime.now(UTC)
        ended = update(schedule_runs).where(schedule_runs.c.run_id == run.run_id)

        def end(connection: Connection) -> None:
            connection.execute(ended.values(ended_at=now, exit_code=exit_code))
            if then is not None:
                _ask(connection, then)

        self._database.write(end)
        return now


def _ask(connection: Connection, asked: Asked) -> bool:
    columns = schedule_runs.c
    waiting = select(columns.run_id).where(
        columns.job == asked.job, columns.reason == asked.reason, columns.started_at.is_(None)
    )
    if connection.execute(waiting.limit(1)).one_or_none() is not None:
        return False
    connection.execute(insert(schedule_runs).values(**vars(asked), asked_at=datetime.now(UTC)))
    return True
