"""Notices that the database is back, and brings the spool home."""

import logging
import threading

from ml_project.errors import Unavailable
from stores.decisions.spool import Spool
from stores.decisions.store import DecisionStore

_JOIN_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Recovery:
    """A thread that asks for the database every ``retry_seconds`` while it is away, and replays whatever is spooled.

    Nobody else waits for a database that does not answer: as long as `away` holds, decisions go straight to the spool.
    Files that an earlier process left are replayed at the start.
    """

    def __init__(self, store: DecisionStore, spool: Spool, retry_seconds: float) -> None:
        self._store = store
        self._spool = spool
        self._retry_seconds = retry_seconds
        self._away, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool-replayer", daemon=True)
        self._thread.start()

    @property
    def away(self) -> bool:
        """The database did not answer when it was last asked."""
        return self._away.is_set()

    def lost(self, error: Unavailable) -> None:
        """Tell that the database has just failed."""
        if not self._away.is_set():
            self._away.set()
            _log.warning("decisions go to the spool: %s", error)

    def close(self) -> None:
        """End after the round in progress; what it leaves, the next process replays."""
        self._closing.set()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                self._look()
            except Unavailable as error:
                self.lost(error)
            except Exception:  # the spool stays as it is, and the next round tries again
                _log.exception("the spool cannot be replayed")
            if self._closing.wait(self._retry_seconds):
                return

    def _look(self) -> None:
        if not self._away.is_set() and not self._spool.size():
            return
        self._store.ping()
        # A full disk answers a ping: only a commit proves that the database is back, where there is one to make.
        self._spool.replay(self._store, self._back)
        self._back()

    def _back(self) -> None:
        if self._away.is_set():
            self._away.clear()
            _log.info("the decision database is back")
