"""Ctrl-C and SIGTERM, held back while a database is at work.

Python raises `KeyboardInterrupt` between any two steps. In the middle of what SQLAlchemy or Optuna do, it leaves a
connection with its lock, for which the last thing to be written then waits in vain; or it is lost.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Holds them back for a block, but for the blocks in it that allow them; in the main thread only."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._waiting: list[int] = []

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """What comes meanwhile takes effect where it is allowed, at the latest at the end of the block."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        try:
            yield
        finally:
            self._restore()
            self._before = {}
        self._raise()

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """What waits takes effect at once, and so does what comes meanwhile."""
        if not self._before:
            yield
            return
        self._restore()
        try:
            self._raise()
            yield
        finally:
            for number in _SIGNALS:
                signal.signal(number, self._note)

    def take_effect(self) -> None:
        """What waits does so now."""
        with self.allowed():
            pass

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._waiting.append(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _raise(self) -> None:
        waiting, self._waiting = self._waiting, []
        for number in waiting:
            signal.raise_signal(number)
