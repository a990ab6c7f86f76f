"""Several workers behind one listening socket: started, started again when they die, and stopped together.

uvicorn's own supervisor restarts a dying worker at once and without end, waits without limit for workers that should
stop, and its workers outlive a parent that was killed.

Each worker has a pipe to its parent. Over it a worker reports that it has started, and that all should look at the
registry; the parent passes the latter on to all. A closed pipe means that the parent was killed: the worker then ends
as on SIGTERM.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final

from serving.process import DONE, END_SECONDS, FAILED, INTERRUPTED, stop_on_signals
from serving.settings import GatewaySettings
from serving.telemetry.multiprocess import SharedMetrics, metrics_folder
from serving.telemetry.request import configure_logging

STOP_SECONDS: Final = END_SECONDS + 0.5
"""Workers cut themselves off a little earlier."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before a worker that died is started again; each time twice as long as before."""

STEADY_SECONDS: Final = 60.0
"""A worker that lived this long is not one that dies again and again."""

_log = logging.getLogger("serving")


@dataclass
class _Worker:
    process: SpawnProcess
    line: Connection
    began: float


class Workers:
    """Keeps as many workers as the settings say.

    The first one is started alone: if it cannot serve, the others could not either, and its message is shown once.
    """

    def __init__(self, settings: GatewaySettings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._running: dict[int, _Worker] = {}
        self._due = {0: 0.0}
        self._pauses = dict.fromkeys(range(settings.workers), FIRST_PAUSE)
        self._served = False

    def run(self) -> int:
        """Until SIGTERM (exit code 0), Ctrl-C (130) or a first worker that cannot start (its exit code)."""
        code = DONE
        with metrics_folder(self._settings.gateway_dir) as folder:
            try:
                code = self._keep(folder, time.monotonic())
            except SystemExit as ended:  # a signal's, see `serving.process`
                code = INTERRUPTED if ended.code == INTERRUPTED else DONE
            finally:
                all_ended = self._stop()
        return code if all_ended else FAILED

    def _keep(self, folder: Path, started: float) -> int:
        while True:
            for number in [number for number, due in self._due.items() if due <= time.monotonic()]:
                self._start(SharedMetrics(folder, number, self._served, started))
            pause = min(self._due.values()) - time.monotonic() if self._due else None
            lines = [worker.line for worker in self._running.values()]
            ready = wait([*lines, *(worker.process.sentinel for worker in self._running.values())], pause)
            for number, worker in list(self._running.items()):
                if worker.line in ready:
                    self._hear(worker)
                if worker.process.sentinel in ready:
                    code = self._ended(number, worker)
                    if not self._served:
                        return code if code > 0 else FAILED

    def _start(self, shared: SharedMetrics) -> None:
        shared.prepare()
        parent_end, worker_end = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=run_worker, args=(self._settings, self._listener, shared, worker_end), name=f"worker-{shared.worker}"
        )
        resource_tracker.ensure_running()  # else its start would release the signals
        with _signals_held():
            process.start()
            worker_end.close()
            self._running[shared.worker] = _Worker(process, parent_end, time.monotonic())
            del self._due[shared.worker]

    def _hear(self, worker: _Worker) -> None:
        try:
            message = worker.line.recv()
        except (EOFError, OSError):  # it has died, which its sentinel shows too
            return
        if message == STARTED and not self._served:
            self._served = True
            self._due.update(dict.fromkeys(range(1, self._settings.workers), 0.0))
        if message == LOOK:
            for each in self._running.values():
                try:
                    each.line.send(LOOK)
                except OSError:
                    continue  # its successor will look anyway

    def _ended(self, number: int, worker: _Worker) -> int:
        worker.process.join()
        worker.line.close()
        with _signals_held():
            del self._running[number]
        code = worker.process.exitcode or 0
        if self._served:
            if time.monotonic() - worker.began >= STEADY_SECONDS:
                self._pauses[number] = FIRST_PAUSE
            pause = self._pauses[number]
            self._due[number] = time.monotonic() + pause
            self._pauses[number] = min(2 * pause, LONGEST_PAUSE)
            _log.error("worker %d ended with %d; it is started again in %.1f s", number, code, pause)
        return code

    def _stop(self) -> bool:
        """Whether all ended by themselves."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        end = time.monotonic() + STOP_SECONDS
        processes = [worker.process for worker in self._running.values()]
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
        return all(process.exitcode in (DONE, INTERRUPTED) for process in processes)


@contextmanager
def _signals_held() -> Iterator[None]:
    """No signal comes in between; a process started in here begins without them too."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


STARTED: Final = "started"
LOOK: Final = "look"

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""Blocked by the parent until `run_worker` has set its handlers."""


def run_worker(settings: GatewaySettings, listener: socket.socket, shared: SharedMetrics, line: Connection) -> None:
    """What the process does, to its exit."""
    stop_on_signals(importing=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    from serving.server import serve  # not at import: the parent imports this module too

    stop_on_signals()
    configure_logging(settings.log_level, shared.worker)
    shared.join()
    sys.exit(serve(settings, lambda: listener, shared, _wired(line), lambda: line.send(STARTED)))


def _wired(line: Connection) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def wire(look: Callable[[], None]) -> Callable[[], None]:
        threading.Thread(target=_listen, args=(line, look), name="parent-listener", daemon=True).start()
        return lambda: line.send(LOOK)

    return wire


def _listen(line: Connection, look: Callable[[], None]) -> None:
    try:
        while True:
            line.recv()
            look()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)
