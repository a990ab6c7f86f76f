"""One of several workers: a process that its parent started, and a line to it.

Over the line a worker tells that it has started, and that the registry is to be asked; the parent passes the latter on
to all. A line that is cut means that the parent was killed: the worker then ends like on SIGTERM.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Final

from serving.exits import INTERRUPTED, stop_on_signals
from serving.logs import configure_logging
from serving.settings import GatewaySettings
from serving.shared_metrics import SharedMetrics

STARTED: Final = "started"
LOOK: Final = "look"

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""Held back by the parent until `run_worker` knows what to do on them."""


def run_worker(settings: GatewaySettings, listener: socket.socket, shared: SharedMetrics, line: Connection) -> None:
    """What the process does, to its exit."""
    stop_on_signals()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        from serving.process import serve  # not at import: the parent imports this module too

        configure_logging(settings.log_level, shared.worker)
        shared.join()
        sys.exit(serve(settings, lambda: listener, shared, _wired(line), lambda: line.send(STARTED)))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


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
