"""How long, and how large, the answers of other servers may be: MLflow's, the artifact store's, S3's.

The clients' own timeouts begin anew with every byte, and nothing bounds an answer's size: a server that sends one byte
a second, or never ends, would keep a gateway's follower for ever, or fill its memory. MLflow and boto3 both read
through urllib3's connections, whose answers are made here. A process that wants it calls `bound_answers` once.
"""

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any, Final
from weakref import WeakSet

from urllib3.connection import HTTPConnection

SLOWEST: Final = 500_000
"""Bytes a second that an answer's time is lengthened by: files take longer than words."""

LARGEST_FILE: Final = 96 * 1024**2
"""Bytes of an answer; more than the largest file of a bundle (`ml_project.bundle.LARGEST_FILE`), in any form."""

LARGEST_WORD: Final = 8 * 1024**2
"""Bytes of an answer that is taken into memory and parsed, which makes it many times as large."""

_BUFFER: Final = 64 * 1024
_seconds = float("inf")
_largest = threading.local()
_open: WeakSet[socket.socket] = WeakSet()
_abandoned = threading.Event()


def bound_answers(seconds: float) -> None:
    """Bound every answer that this process takes through urllib3.

    Parameters
    ----------
    seconds : float
        From an answer's first byte asked for to its last; `SLOWEST` adds to it what its size takes.
    """
    global _seconds
    _seconds = seconds
    HTTPConnection.response_class = _BoundedAnswer


def abandon_answers() -> None:
    """End all answers in progress, and every later one at once: the process is about to end, and nobody waits."""
    _abandoned.set()
    for connection in list(_open):
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue  # it was closed


@contextmanager
def only_words() -> Iterator[None]:
    """Hold the answers that this thread takes to `LARGEST_WORD`.

    MLflow fetches files on threads of its own, which this does not concern.
    """
    before = getattr(_largest, "bytes", LARGEST_FILE)
    _largest.bytes = LARGEST_WORD
    try:
        yield
    finally:
        _largest.bytes = before


class _BoundedAnswer(HTTPResponse):
    """An answer whose head and body are read from a `_BoundedStream`."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        stream = _BoundedStream(self.fp.detach(), sock)
        _open.add(sock)
        self.fp = io.BufferedReader(stream, _BUFFER)

    def begin(self) -> None:
        """Read the head. What is compressed is refused: nobody asked for it, and its size is not what it expands to."""
        super().begin()
        coding = self.getheader("Content-Encoding", "identity")
        if coding.strip().lower() not in ("", "identity"):
            raise OSError(f"the answer is compressed ({coding[:40]})")


class _BoundedStream(io.RawIOBase):
    """The bytes of an answer, until it is too large or takes too long."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        super().__init__()
        self._raw, self._socket = raw, sock
        self._silence = sock.gettimeout()
        self._largest = getattr(_largest, "bytes", LARGEST_FILE)
        self._taken = 0
        self._end = time.monotonic() + _seconds

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """What arrives next, at most.

        Raises
        ------
        OSError
            When the time is over, or it is too large; `stores.error_text` knows the words. No TimeoutError: urllib3
            would leave them out.
        """
        left = self._end + self._taken / SLOWEST - time.monotonic()
        too_long = OSError(f"the answer takes longer than {_seconds:g} s")
        if left <= 0 or _abandoned.is_set():
            raise too_long
        if self._silence is None or left < self._silence:
            self._socket.settimeout(left)
        try:
            count = self._raw.readinto(buffer)
        except TimeoutError:
            raise too_long from None
        self._taken += count or 0
        if self._taken > self._largest:
            raise OSError(f"the answer is larger than {self._largest} bytes")
        return count

    def close(self) -> None:
        """Close what is read from, too: the connection goes on."""
        if not self.closed:
            self._raw.close()
        super().close()
