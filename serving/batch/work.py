"""What one upload may cost: its rows, the time spent on it, and that its work ends with its client."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.errors import BodyTooLarge
from serving.transactions import Chunk


class WorkEnded(Exception):
    """The work goes on for nobody: its client has left, or the gateway ends."""


class Work:
    """Watches over the work on one upload.

    Parameters
    ----------
    max_rows : int
        Most rows, bad ones included.
    max_seconds : float
        Longest time that work may take; waiting for a slow reader of the answer does not count.
    """

    def __init__(self, max_rows: int, max_seconds: float) -> None:
        self.max_seconds = max_seconds
        self._max_rows = max_rows
        self._spent = 0.0
        self._since: float | None = None
        self._ended = False
        self._end_also: Callable[[], None] = lambda: None

    def bounded(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """One pass over the rows.

        Raises
        ------
        BodyTooLarge
            At the chunk that is one too many, or comes too late.
        WorkEnded
            When the work was ended.
        """
        rows = 0
        for chunk in chunks:
            rows += len(chunk.rows) + len({error["row"] for error in chunk.errors})
            if rows > self._max_rows:
                raise BodyTooLarge(f"The file has more than {self._max_rows} rows.", "Send it in parts.")
            self.check()
            yield chunk

    @contextmanager
    def counted(self) -> Iterator[None]:
        """The time in this context counts."""
        self._since = time.monotonic()
        try:
            self.check()
            yield
        finally:
            self._spent += time.monotonic() - self._since
            self._since = None

    def ends_with(self, end: Callable[[], None]) -> None:
        """What also has to be done to end the work, from any thread and at any time."""
        self._end_also = end
        if self._ended:
            end()

    @property
    def ended(self) -> bool:
        """Whether it was ended."""
        return self._ended

    def end(self) -> None:
        """End it, from any thread: it stops at its next chunk."""
        self._ended = True
        self._end_also()

    def check(self) -> None:
        """Return if the work may go on; see `bounded` for what is raised."""
        if self._ended:
            raise WorkEnded
        since = self._since
        spent = self._spent + (0.0 if since is None else time.monotonic() - since)
        if spent > self.max_seconds:
            raise BodyTooLarge(f"The file takes more than {self.max_seconds:g} seconds of work.", "Send it in parts.")
