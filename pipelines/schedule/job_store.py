"""APScheduler's job store with text in it instead of pickles: who may write to a database may not run code here."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from apscheduler.job import Job
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.util import datetime_to_utc_timestamp
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from pipelines.schedule.cron import cron_trigger
from pipelines.schedule.database import ScheduleDatabase

TABLE: Final = "schedule_jobs"


class PlainJobStore(SQLAlchemyJobStore):
    """Keeps of a job its name, its cron line and when it is due next; all else stands in the code.

    Parameters
    ----------
    database : ScheduleDatabase
    due : callable
        What every job does, given its name.
    late_seconds : int
        How much later than planned a job is still done.
    """

    def __init__(self, database: ScheduleDatabase, due: Callable[[str], None], late_seconds: int) -> None:
        super().__init__(engine=database.engine, tablename=TABLE)
        self._database = database
        self._due = due
        self._late_seconds = late_seconds

    def job(self, name: str, cron: str, next_run_time: datetime | None) -> Job:
        """A job as APScheduler knows it: done once however often it was missed."""
        job = Job.__new__(Job)
        state = {
            "id": name,
            "name": cron,
            "func": self._due,
            "func_ref": None,
            "args": [name],
            "kwargs": {},
            "trigger": cron_trigger(cron),
            "executor": "default",
            "misfire_grace_time": self._late_seconds,
            "coalesce": True,
            "max_instances": 1,
            "next_run_time": next_run_time,
            "_scheduler": self._scheduler,
            "_jobstore_alias": self._alias,
        }
        for attribute, value in state.items():
            setattr(job, attribute, value)
        return job

    def create(self) -> None:
        """Make the table where it is missing."""
        self._database.write_once(lambda connection: self.jobs_t.create(connection, checkfirst=True))

    def next_time(self, name: str) -> datetime | None:
        """When a job is due next; None where there is no such job."""
        chosen = select(self.jobs_t.c.next_run_time).where(self.jobs_t.c.id == name)
        found = self._database.write(lambda connection: connection.scalar(chosen))
        return None if found is None else datetime.fromtimestamp(found, UTC)

    def put(self, job: Job) -> None:
        """Keep a job, in the place of one of that name."""
        try:
            self.add_job(job)
        except ConflictingIdError:
            self.update_job(job)

    def add_job(self, job: Job) -> None:
        """Keep a new job."""
        try:
            self._database.write(lambda connection: connection.execute(self.jobs_t.insert().values(_row(job))))
        except IntegrityError:
            raise ConflictingIdError(job.id) from None

    def update_job(self, job: Job) -> None:
        """Keep what has changed, the next time above all."""

        def update(connection: Connection) -> int:
            return connection.execute(self.jobs_t.update().values(_row(job)).where(self.jobs_t.c.id == job.id)).rowcount

        if not self._database.write(update):
            raise JobLookupError(job.id)

    def shutdown(self) -> None:
        """Leave the engine to its owner."""

    def _reconstitute_job(self, job_state: bytes) -> Job:
        kept: dict[str, Any] = json.loads(job_state)
        due = kept["next_run_time"]
        return self.job(kept["id"], kept["cron"], None if due is None else datetime.fromisoformat(due))


def _row(job: Job) -> dict[str, Any]:
    due = job.next_run_time
    state = {"id": job.id, "cron": job.name, "next_run_time": None if due is None else due.isoformat()}
    return {
        "id": job.id,
        "next_run_time": datetime_to_utc_timestamp(due),
        "job_state": json.dumps(state).encode(),
    }
