"""The keys in memory: no request waits for the database, and a database that is away locks nobody out."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ml_project.errors import Unavailable

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """What is known about a key; never the key itself."""

    name: str
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None
    sha256: bytes


class KeyCopy:
    """All keys by their hash, read again when older than ``seconds``: by a thread once started, else by who asks.

    Keys are few, so that all of them are read at once; guesses then cost the database nothing.
    """

    def __init__(self, read: Callable[[], list[Key]], seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._keys: dict[bytes, Key] | None = None
        self._read_at = 0.0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key-reader", daemon=True)

    def start(self) -> None:
        """Read from now on in the background; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(self._seconds)

    def current(self) -> dict[bytes, Key]:
        """The keys.

        Raises
        ------
        Unavailable
            When they could never be read.
        """
        copy = self._keys
        if copy is None or (not self._thread.is_alive() and time.monotonic() - self._read_at > self._seconds):
            copy = self.refresh()
        return copy

    def refresh(self) -> dict[bytes, Key]:
        """Read now. The last copy stays while the database is away: decisions must go on into the spool.

        Raises
        ------
        Unavailable
            When there is no last copy.
        """
        with self._lock:
            try:
                self._keys = {key.sha256: key for key in self._read()}
            except Unavailable as error:
                if self._keys is None:
                    raise
                _log.warning("the API keys cannot be read, the last ones stay in force: %s", error)
            self._read_at = time.monotonic()
            return self._keys

    def _run(self) -> None:
        while not self._closing.wait(self._seconds):
            try:
                self.refresh()
            except Exception:  # a thread that ended would leave revoked keys in force
                _log.exception("the API keys cannot be read")
