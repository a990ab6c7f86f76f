"""Does the runs of one job in order, each as a child process, so that a crash does not end the scheduler."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pipelines.console import error_console
from pipelines.processes import stop_orphan
from pipelines.schedule.queue import RunQueue, RunRequest, ScheduledRun

INTERRUPTED: Final = 130
BUSY: Final = 3
"""Another process holds the lock: a retraining by hand, or one that was killed and whose lease has yet to end."""

_TRIES, _BUSY_SECONDS = 5, 30.0
_NOT_STARTED: Final = 126
_ORPHAN_SECONDS: Final = 20.0


class Worker(threading.Thread):
    """A thread that takes runs from the queue.

    Parameters
    ----------
    job : str
    runs : RunQueue
    command : callable
        The program and arguments of a run.
    pid_file : Path
        Holds the child's process id while it runs, so that the next scheduler finds a child that outlived this one.
    ended : callable
        Called with each run that has ended and its exit code; it keeps both in the queue.
    busy_seconds : float
        Pause before a run is tried again that found the lock taken.
    """

    def __init__(
        self,
        job: str,
        runs: RunQueue,
        command: Callable[[RunRequest], Sequence[str]],
        pid_file: Path,
        ended: Callable[[ScheduledRun, int], None],
        busy_seconds: float = _BUSY_SECONDS,
    ) -> None:
        super().__init__(name=f"{job}-worker", daemon=True)
        self._job, self._runs, self._command, self._pid_file, self._ended = job, runs, command, pid_file, ended
        self._asked = threading.Event()
        self._busy_seconds = busy_seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self.failure: Exception | None = None

    def wake(self) -> None:
        """Make it look at the queue."""
        self._asked.set()

    def stop(self) -> None:
        """Start nothing more, and ask the child to end; the next scheduler continues its work."""
        with self._lock:
            self._stopping.set()
            self._signal(signal.SIGTERM)
        self._asked.set()

    def kill(self) -> None:
        """End the child now."""
        with self._lock:
            self._signal(signal.SIGKILL)

    def run(self) -> None:
        """Do runs until `stop`."""
        try:
            while not self._stopping.is_set():
                run = self._runs.take(self._job)
                if run is None:
                    self._asked.wait()
                    self._asked.clear()
                    continue
                code = self._execute_with_retries(run)
                if code is not None:
                    self._ended(run, code)
        except Exception as error:  # the main thread ends the scheduler with it
            self.failure = error

    def _execute_with_retries(self, run: ScheduledRun) -> int | None:
        code = self._execute(run)
        for _ in range(_TRIES - 1):
            if code != BUSY:
                break
            if self._stopping.wait(self._busy_seconds):
                return None
            code = self._execute(run)
        return code

    def _execute(self, run: ScheduledRun) -> int | None:
        """The exit code of a run; None where the end of this scheduler cut it short."""
        command = list(self._command(run.asked))
        # a scheduler that was killed leaves its child behind; the run begins again under this one
        stop_orphan(self._pid_file, command, _ORPHAN_SECONDS)
        with self._lock:
            if self._stopping.is_set():
                return None
            try:
                # a separate session, so that Ctrl-C reaches the child once, through this process
                self._process = subprocess.Popen(  # noqa: S603 - our own command
                    command, stdin=subprocess.DEVNULL, start_new_session=True
                )
            except OSError as error:
                error_console.print(f"[bold red]error:[/bold red] {self._job} could not be started: {error}")
                return _NOT_STARTED
            self._pid_file.write_text(str(self._process.pid))
        code = self._process.wait()
        with self._lock:
            self._process = None
            self._pid_file.unlink(missing_ok=True)
        return None if self._stopping.is_set() and (code < 0 or code == INTERRUPTED) else code

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
