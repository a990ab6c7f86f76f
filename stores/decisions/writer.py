"""The gateway's way into the store: concurrent decisions share one commit, or go to the spool without a database.

`Recovery` notices that the database is back and replays the spool.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final

from ml_project.errors import Unavailable
from stores.decisions.database import migrate
from stores.decisions.records import Conflict, DecisionRecord, Stored
from stores.decisions.segments import Chunk
from stores.decisions.spool import Spool
from stores.decisions.store import DecisionStore
from stores.decisions.writes import SegmentStored
from stores.sql import Busy, Locked

_REPLAYER_JOIN_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class Recovery:
    """Asks for the database every ``retry_seconds`` while it is unreachable, and replays whatever is spooled: a thread.

    No other thread waits for a database that does not answer: while `away` holds, decisions go straight to the spool.
    Files that an earlier process left are replayed after `start`.
    """

    def __init__(self, store: DecisionStore, spool: Spool, retry_seconds: float) -> None:
        self._store = store
        self._spool = spool
        self._retry_seconds = retry_seconds
        self._away, self._closing = store.outage, threading.Event()
        self._told = ""
        self._thread = threading.Thread(target=self._run, name="spool-replayer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._spool.recall()
        self._thread.start()

    @property
    def away(self) -> bool:
        """The database did not answer when it was last asked."""
        return self._away.is_set()

    def lost(self, error: Unavailable) -> None:
        """Note that the database has just failed."""
        if not self._away.is_set():
            self._away.set()
            _log.warning("decisions go to the spool: %s", error)

    def close(self) -> None:
        """End after the round in progress; what it leaves, the next process replays."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_REPLAYER_JOIN_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                self._look()
            except (Busy, Locked) as error:  # predictions may find a way in all the same
                _log.info("the spool waits: %s", error)
            except Unavailable as error:
                self.lost(error)
            except Exception as error:  # the spool stays as it is, and the next round tries again
                if repr(error) != self._told:
                    _log.exception("the spool cannot be replayed")
                self._told = repr(error)
            if self._closing.wait(self._retry_seconds):
                return

    def _look(self) -> None:
        if not self._away.is_set() and not self._spool.size():
            return
        if self._away.is_set():
            migrate(self._store.engine)  # what came back may be an older backup
        self._store.ping()
        # A full disk answers a ping: only a commit proves that the database is back, where there is one to make.
        self._spool.replay(self._store, self._back)
        self._back()

    def _back(self) -> None:
        if self._away.is_set():
            self._away.clear()
            _log.info("the decision database is back")


GROUP: Final = 512
"""Most decisions in one commit."""

_JOIN_SECONDS: Final = 15.0
Outcome = Stored | Exception
"""What became of a decision: kept, or why not."""

_Waiting = tuple[Sequence[DecisionRecord], Callable[[Sequence[Outcome]], None]]


class GroupWriter:
    """Keeps decisions, in the database or else in the spool, and says which.

    A thread commits whatever waits as one group: no artificial delay, and the busier it gets, the larger the groups.
    It runs from `start` to `close`; what is submitted before waits for it.

    Parameters
    ----------
    store : DecisionStore
    spool : Spool
    retry_seconds : float
        See `Recovery`.
    capacity : int
        Decisions that may wait; the next ones get `Busy`.
    """

    def __init__(self, store: DecisionStore, spool: Spool, retry_seconds: float = 1.0, capacity: int = 10_000) -> None:
        self._store = store
        self._spool = spool
        # A SimpleQueue wakes its reader in two thirds of a Queue's time; its bound is kept by `submit`.
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._capacity = capacity
        # Submitters count under the lock; the thread counts without it, or, just woken, it would wait for them.
        self._submitted = self._taken = 0
        self._recovery = Recovery(store, spool, retry_seconds)
        self._closing = False
        self._entry = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="decision-writer", daemon=True)

    def start(self) -> None:
        """Begin to commit what waits, and to replay what is spooled."""
        self._recovery.start()
        self._thread.start()

    @property
    def database_away(self) -> bool:
        """Decisions go to the spool at present."""
        return self._recovery.away

    @property
    def waiting(self) -> int:
        """Decisions that wait for a commit."""
        return self._submitted - self._taken

    def submit(self, records: Sequence[DecisionRecord], done: Callable[[Sequence[Outcome]], None]) -> None:
        """Keep decisions in one commit; ``done`` is told, on the writer's thread, when they are on disk.

        Instead of being kept, a decision comes to a `Conflict` for a transaction_id taken by another payload, or to
        `SpoolFull` (503) when it could be kept nowhere.

        Raises
        ------
        Busy
            When too many wait, or after `close`.
        """
        with self._entry:  # so that nothing gets in behind the end mark of `close`
            if self._closing:
                raise Busy("The gateway is shutting down.", "Try another gateway.")
            if self.waiting >= self._capacity:
                raise Busy("Too many decisions wait for the database.", "Try again later.")
            self._submitted += len(records)
            self._waiting.put((records, done))

    def keep_segment(self, chunk: Chunk) -> SegmentStored:
        """Keep a bulk chunk on the caller's own thread; returns when it is on disk.

        Raises
        ------
        Busy
            When too many others write. In the spool, its transaction_ids would not be compared with theirs.
        SpoolFull
            When it could be kept nowhere.
        """
        if not self._recovery.away:
            try:
                return self._store.add_segment(chunk)
            except Busy:
                raise
            except Unavailable as error:
                self._recovery.lost(error)
        self._spool.append([chunk])
        return SegmentStored(chunk.prediction_ids, {}, {}, kept="spool")

    def close(self) -> None:
        """Take nothing more, keep all that waits, and end; does little before `start`."""
        with self._entry:
            if self._closing:
                return
            self._closing = True
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)
        self._recovery.close()
        self._spool.close()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group, size = [first], len(first[0])
            while size < GROUP and not self._waiting.empty():
                following = self._waiting.get_nowait()
                if following is None:  # the end mark: nothing can stand behind it
                    self._waiting.put(None)
                    break
                group.append(following)
                size += len(following[0])
            self._taken += size
            outcomes = self._kept([record for records, _done in group for record in records])
            for records, done in group:
                done(outcomes[: len(records)])
                outcomes = outcomes[len(records) :]

    def _kept(self, records: list[DecisionRecord]) -> Sequence[Outcome]:
        try:
            return self._stored(records)
        except Exception as error:
            if len(records) == 1 or isinstance(error, Unavailable):
                return [error] * len(records)
            # one bad record must not take the others with it
            _log.exception("a group of %d decisions failed; trying them one by one", len(records))
            return [outcome for record in records for outcome in self._kept([record])]

    def _stored(self, records: list[DecisionRecord]) -> Sequence[Stored | Conflict]:
        if not self._recovery.away:
            try:
                return self._store.add(records)
            except Busy:
                raise
            except Unavailable as error:
                self._recovery.lost(error)
        self._spool.append(records)
        return [Stored(record, kept="spool") for record in records]
