"""The scheduler: cron lines say when a job is due, the queue keeps what is due, workers do it."""

import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Final

from cronsim import CronSim, CronSimError

from ml_project.errors import InvalidInput
from pipelines.console import console
from pipelines.schedule.queue import PlannedJob, RunQueue, RunRequest, ScheduleDatabase, ScheduledRun
from pipelines.schedule.worker import Worker
from pipelines.settings import PipelineSettings

RETRAIN: Final = "retrain"
MONITOR: Final = "monitor"
JOBS: Final = (RETRAIN, MONITOR)

USUAL_CRONS: Final = {RETRAIN: "0 3 * * 1", MONITOR: "15 0 * * *"}
"""Once a week, and once a day: what paid over 17 weeks of history (docs/adr/0022-weekly-retraining.md)."""

BREACH: Final = 4
"""Exit code of `monitor`."""

PIPELINES: Final = (sys.executable, "-m", "pipelines")
WORDS: Final = {0: "done", 1: "refused", 2: "could not be done", 3: "another process is doing it", BREACH: "breach"}

_LOOK_SECONDS: Final = 0.2
_LONGEST_PAUSE: Final = 30.0
"""Seconds until the clock is read again: a machine that slept, or whose clock was set, is noticed."""

_KILL_SECONDS: Final = 5.0

_FIELDS: Final = 5
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_REMEDY: Final = 'Write minute, hour, day, month and weekday in UTC, such as "0 3 * * *" or "30 */6 * * 1-5".'


class CronLine:
    """When a job is due, in UTC: a crontab line as Debian's cron reads it.

    Parameters
    ----------
    line : str
        Minute, hour, day, month and weekday. Ranges of weekdays may cross Sunday (``sat-mon``), which cron refuses.

    Raises
    ------
    InvalidInput
        When it is not a cron line, or names a time that never occurs.
    """

    def __init__(self, line: str) -> None:
        fields = line.split()
        if len(fields) != _FIELDS:
            raise InvalidInput(f"{line!r} is not a cron line: it has {len(fields)} fields instead of 5.", _REMEDY)
        fields[4] = ",".join(map(_across_sunday, fields[4].lower().split(",")))
        self._line = " ".join(fields)
        try:
            self.after(datetime.now(UTC))
        except CronSimError as error:
            fields[3] = "*"
            if _parses(" ".join(fields)) and _parses(f"* * * {line.split()[3]} *"):
                raise InvalidInput(f"{line!r} never occurs.", _REMEDY) from None
            raise InvalidInput(f"{line!r} is not a cron line: {str(error).lower()}.", _REMEDY) from None
        except StopIteration:
            raise InvalidInput(f"{line!r} never occurs.", _REMEDY) from None

    def after(self, moment: datetime) -> datetime:
        """The first time after a moment."""
        return next(CronSim(self._line, moment))

    def latest(self, moment: datetime) -> datetime:
        """The last time up to a moment, itself inside."""
        following = moment.replace(microsecond=0) + timedelta(seconds=1)
        return next(CronSim(self._line, following, reverse=True))


def _parses(line: str) -> bool:
    try:
        CronSim(line, datetime.now(UTC))
    except CronSimError:
        return False
    return True


def _across_sunday(part: str) -> str:
    """A range of weekdays that crosses Sunday as a list of days; anything else as it is."""
    span, _, step = part.partition("/")
    first, last = (_weekday(name) for name in span.partition("-")[::2])
    if first is None or last is None or first <= last or step == "0" or not (step or "1").isdecimal():
        return part
    days = range(first, last + len(_WEEKDAYS) + 1, int(step or 1))
    return ",".join(_WEEKDAYS[day % len(_WEEKDAYS)] for day in days)


def _weekday(name: str) -> int | None:
    if name in _WEEKDAYS:
        return _WEEKDAYS.index(name)
    return int(name) if name.isdecimal() and int(name) <= len(_WEEKDAYS) else None


class _Terminated(KeyboardInterrupt):
    """SIGTERM: an end that was ordered, and therefore not an error."""


class Scheduler:
    """Runs jobs by cron until it is stopped.

    Parameters
    ----------
    settings : PipelineSettings
    crons : dict of str to str
        Cron line by job, ``retrain`` and ``monitor``.
    program : sequence of str
        The program whose arguments are a job's name and options.

    Raises
    ------
    InvalidInput
        When a cron line is invalid.
    """

    def __init__(self, settings: PipelineSettings, crons: dict[str, str], program: Sequence[str] = PIPELINES) -> None:
        self._settings, self._program = settings, program
        self._lines = {name: CronLine(cron) for name, cron in crons.items()}
        self._crons = crons
        self._database = ScheduleDatabase(settings.schedule)
        self._late_seconds = max(1, round(settings.schedule_late_hours * 3600))
        self._jobs: dict[str, PlannedJob] = {}
        self._workers: dict[str, Worker] = {}
        self._stopping = threading.Event()
        self._broken: Exception | None = None

    def run(self) -> None:
        """Run until SIGTERM (returns) or Ctrl-C (`KeyboardInterrupt`); children are asked to stop, and waited for.

        Raises
        ------
        LostRace
            When another scheduler has the same database.
        Unavailable
            When the database cannot be used at the beginning, or goes away in the middle of a transaction.
        """
        before = signal.getsignal(signal.SIGTERM)
        try:
            signal.signal(signal.SIGTERM, _terminated)
            with self._database.hold(self._settings.state_dir):
                self._run()
        except _Terminated:
            pass
        finally:
            signal.signal(signal.SIGTERM, before)

    def _run(self) -> None:
        self._queue = RunQueue(self._database)
        for asked in self._queue.resume():
            _say(f"{asked.job} ({asked.reason}) was cut short and begins again")
        self._arrange()
        ticking = threading.Thread(target=self._tick, name="cron", daemon=True)
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

    def _arrange(self) -> None:
        """Plan the jobs: one whose line has not changed keeps its time, which it may have missed; others are new."""
        planned = self._queue.jobs()
        for name in planned.keys() - self._crons.keys():
            self._queue.forget(name)
        now = datetime.now(UTC)
        for name, cron in self._crons.items():
            job = planned.get(name)
            if job is None or job.cron != cron:
                job = PlannedJob(name, cron, self._lines[name].after(now))
                self._queue.plan(job)
            self._jobs[name] = job
            _say(f"{name} by {cron!r} (UTC), next {_moment(job.due_at)}")
        folder = self._settings.state_dir
        for name in JOBS:
            pid_file = folder / f"schedule-{name}.pid"
            self._workers[name] = Worker(name, self._queue, self._command, pid_file, self._record_end)

    def _tick(self) -> None:
        try:
            while not self._stopping.wait(self._pause()):
                now = datetime.now(UTC)
                for job in list(self._jobs.values()):
                    if job.due_at <= now:
                        self._due(job, now)
        except Exception as error:  # the main thread ends with it
            self._broken = error

    def _pause(self) -> float:
        """Seconds until a job is due, or the clock is read again."""
        now = datetime.now(UTC)
        pauses = [(job.due_at - now).total_seconds() for job in self._jobs.values()]
        return max(min([*pauses, _LONGEST_PAUSE]), 0.0)

    def _due(self, job: PlannedJob, now: datetime) -> None:
        """Ask for a run, once however often the job was missed, unless even the last time is too long ago."""
        line = self._lines[job.name]
        last = max(job.due_at, line.latest(now))
        following = PlannedJob(job.name, job.cron, line.after(last))
        self._jobs[job.name] = following
        if (now - last).total_seconds() > self._late_seconds:
            self._queue.plan(following)
            late = f"more than {self._settings.schedule_late_hours:g} h late"
            _say(f"{job.name} of {_moment(last)} was missed, {late}")
        elif self._queue.ask(RunRequest(job.name, "schedule"), following):
            self._workers[job.name].wake()
        else:
            _say(f"{job.name} was due, but its last run still waits")

    @property
    def _failure(self) -> Exception | None:
        return self._broken or next((each.failure for each in self._workers.values() if each.failure), None)

    def _close(self) -> None:
        self._stopping.set()
        for worker in self._workers.values():
            worker.stop()
        self._database.give_up()
        deadline = time.monotonic() + self._settings.schedule_stop_seconds
        try:
            for worker in self._workers.values():
                if worker.is_alive():
                    worker.join(max(0.0, deadline - time.monotonic()))
        finally:  # a second signal ends the waiting
            for worker in self._workers.values():
                worker.kill()
                if worker.is_alive():
                    worker.join(_KILL_SECONDS)

    def _command(self, asked: RunRequest) -> list[str]:
        return [*self._program, asked.job, *(["--reason", asked.reason] if asked.job == RETRAIN else [])]

    def _record_end(self, run: ScheduledRun, code: int) -> None:
        job, reason = run.asked.job, run.asked.reason
        breach = job == MONITOR and code == BREACH and self._settings.retrain_on_breach
        ended = self._queue.end(run, code, RunRequest(RETRAIN, "drift") if breach else None)
        words = WORDS.get(code, "crashed" if code < 0 else "failed")
        planned = self._jobs.get(job)
        _say(
            f"{job} ({reason}): {_moment(run.started_at)} to {_moment(ended)}, exit code {code} ({words}), "
            f"next {_moment(planned.due_at) if planned else 'never'}{'; retrain follows' if breach else ''}"
        )
        if breach:
            self._workers[RETRAIN].wake()


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _say(text: str) -> None:
    console.print(f"[dim]{_moment(datetime.now(UTC))}[/dim] schedule: {text}")
