"""Puts the scheduler together: APScheduler says when, the queue keeps what is due, workers do it."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from types import FrameType
from typing import Final

from apscheduler.events import EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.blocking import BlockingScheduler

from pipelines.console import console
from pipelines.schedule.cron import cron_trigger
from pipelines.schedule.database import ScheduleDatabase
from pipelines.schedule.job_store import PlainJobStore
from pipelines.schedule.runs import Asked, Runs, ScheduledRun
from pipelines.schedule.worker import Worker
from pipelines.settings import PipelineSettings

RETRAIN: Final = "retrain"
MONITOR: Final = "monitor"
JOBS: Final = (RETRAIN, MONITOR)

BREACH: Final = 4
"""Exit code of `monitor`."""

PIPELINES: Final = (sys.executable, "-m", "pipelines")
WORDS: Final = {0: "done", 1: "refused", 2: "could not be done", 3: "somebody else is at it", BREACH: "breach"}

_LOOK_SECONDS: Final = 0.2
_KILL_SECONDS: Final = 5.0


class _Terminated(KeyboardInterrupt):
    """SIGTERM: an end that was ordered, and so none that went wrong."""


class Schedule:
    """Jobs by cron until somebody ends it.

    Parameters
    ----------
    settings : PipelineSettings
    crons : dict of str to str
        Cron line by job, ``retrain`` and ``monitor``.
    program : sequence of str
        What a job's name and options follow.

    Raises
    ------
    InvalidInput
        For a cron line that is none.
    """

    def __init__(self, settings: PipelineSettings, crons: dict[str, str], program: Sequence[str] = PIPELINES) -> None:
        self._settings, self._crons, self._program = settings, crons, program
        for cron in crons.values():
            cron_trigger(cron)
        self._database = ScheduleDatabase(settings.schedule)
        self._store = PlainJobStore(self._database, self._due, max(1, round(settings.schedule_late_hours * 3600)))
        self._scheduler = BlockingScheduler(
            timezone="UTC", jobstores={"default": self._store}, executors={"default": DebugExecutor()}
        )
        self._scheduler.add_listener(self._missed, EVENT_JOB_MISSED)
        self._workers: dict[str, Worker] = {}
        self._broken: Exception | None = None

    def run(self) -> None:
        """Run until SIGTERM (returns) or Ctrl-C (`KeyboardInterrupt`); children are told, and waited for.

        Raises
        ------
        LostRace
            When another scheduler has the same database.
        Unavailable
            When the database cannot be used at the beginning, or goes away in the middle of a transaction.
        """
        logging.getLogger("apscheduler.executors").setLevel(logging.ERROR)  # what was missed is told below
        with self._database.held(self._settings.state_dir):
            self._runs = Runs(self._database)
            for asked in self._runs.resume():
                _say(f"{asked.job} ({asked.reason}) was cut short and begins again")
            self._arrange()
            ticking = threading.Thread(target=self._tick, name="cron", daemon=True)
            before = signal.signal(signal.SIGTERM, _terminated)
            try:
                for thread in (*self._workers.values(), ticking):
                    thread.start()
                while self._failure is None:
                    time.sleep(_LOOK_SECONDS)
                raise self._failure
            except _Terminated:
                _say("stopping")
            finally:
                self._close()
                signal.signal(signal.SIGTERM, before)

    def _arrange(self) -> None:
        """Keep jobs whose line is the same as before, with what they have missed; put the others in their place."""
        self._store.create()
        kept = {job.id: job for job in self._store.get_all_jobs()}
        for name, job in kept.items():
            if name not in self._crons:
                self._store.remove_job(job.id)
        now = datetime.now(UTC)
        for name, cron in self._crons.items():
            if name not in kept or kept[name].name != cron:
                self._store.put(self._store.job(name, cron, cron_trigger(cron).get_next_fire_time(None, now)))
            _say(f"{name} by {cron!r} (UTC), next {_moment(self._store.next_time(name))}")
        folder = self._settings.state_dir
        for name in JOBS:
            pid_file = folder / f"schedule-{name}.pid"
            self._workers[name] = Worker(name, self._runs, self._command, pid_file, self._ended)

    def _tick(self) -> None:
        try:
            self._scheduler.start()
        except Exception as error:  # the main thread ends with it
            self._broken = error

    @property
    def _failure(self) -> Exception | None:
        return self._broken or next((each.failure for each in self._workers.values() if each.failure), None)

    def _close(self) -> None:
        for worker in self._workers.values():
            worker.tell()
        self._database.give_up()
        deadline = time.monotonic() + self._settings.schedule_stop_seconds
        try:
            for worker in self._workers.values():
                if worker.is_alive():
                    worker.join(max(0.0, deadline - time.monotonic()))
        finally:  # a second signal is not to be kept waiting
            for worker in self._workers.values():
                worker.kill()
                if worker.is_alive():
                    worker.join(_KILL_SECONDS)
            if self._scheduler.running:
                self._scheduler.shutdown(wait=False)

    def _command(self, asked: Asked) -> list[str]:
        return [*self._program, asked.job, *(["--reason", asked.reason] if asked.job == RETRAIN else [])]

    def _due(self, name: str) -> None:
        if self._runs.ask(Asked(name, "schedule")):
            self._workers[name].wake()
        else:
            _say(f"{name} was due, and waits already")

    def _missed(self, event: JobExecutionEvent) -> None:
        late = f"more than {self._settings.schedule_late_hours:g} h late"
        _say(f"{event.job_id} of {_moment(event.scheduled_run_time)} was missed, {late}")

    def _ended(self, run: ScheduledRun, code: int) -> None:
        job, reason = run.asked.job, run.asked.reason
        breach = job == MONITOR and code == BREACH and self._settings.retrain_on_breach
        ended = self._runs.end(run, code, Asked(RETRAIN, "drift") if breach else None)
        words = WORDS.get(code, "crashed" if code < 0 else "failed")
        _say(
            f"{job} ({reason}): {_moment(run.started_at)} to {_moment(ended)}, exit code {code} ({words}), "
            f"next {_moment(self._store.next_time(job))}{'; retrain follows' if breach else ''}"
        )
        if breach:
            self._workers[RETRAIN].wake()


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


def _moment(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _say(text: str) -> None:
    console.print(f"[dim]{_moment(datetime.now(UTC))}[/dim] schedule: {text}")
