"""A lease in the decision database: one retraining at a time on all machines, renewed while its holder lives."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

from ml_project.errors import FraudError, LostRace, Unavailable
from stores.decisions import DecisionStore

_BEATS: Final = 4
"""Renewals within the time of a lease."""

_log = logging.getLogger(__name__)


class Lease:
    """A lease that a thread renews.

    Parameters
    ----------
    store : DecisionStore
    name, holder : str
        What is held, and the holder as other processes read it.
    seconds : float
        How long it lasts without renewal.
    """

    def __init__(self, store: DecisionStore, name: str, holder: str, seconds: float) -> None:
        self._store = store
        self._name, self._holder, self._seconds = name, holder, seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {name}", daemon=True)

    def start(self) -> None:
        """Renew it from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Give it back; while the database is unreachable, it runs out instead."""
        self._ended.set()
        self._thread.join()
        try:
            self._store.give_lease_back(self._name, self._holder)
        except FraudError as error:
            _log.warning("the lease %s was not given back and runs out in %g s: %s", self._name, self._seconds, error)

    def require(self) -> None:
        """Check that this process still holds it; called before every step with effects outside.

        Raises
        ------
        LostRace
            When this process did not renew it in time (suspended, cut off) and another has taken over.
        Unavailable
            When the database does not answer.
        """
        if not self._store.keep_lease(self._name, self._holder, self._seconds):
            raise LostRace(
                f"Another process has taken over: this one gave no sign of life for {self._seconds:g} s.",
                "Nothing was promoted here; see the newest run in MLflow.",
            )

    def _beat(self) -> None:
        while not self._ended.wait(self._seconds / _BEATS):
            try:
                if not self._store.keep_lease(self._name, self._holder, self._seconds):
                    _log.warning("the lease %s was lost; this process stops before its next step", self._name)
                    return
            except Unavailable as error:
                _log.warning("no sign of life for the lease %s: %s", self._name, error)


@contextmanager
def hold_lease(store: DecisionStore, name: str, who: str, seconds: float) -> Iterator[Lease]:
    """Hold a lease for the block.

    Raises
    ------
    LostRace
        When another process holds it.
    """
    holder = f"{who[:80]} on {socket.gethostname()[:80]}, process {os.getpid()}, {uuid4().hex[:8]}"
    standing = store.take_lease(name, holder, seconds)
    if standing.holder != holder:
        raise LostRace(
            f"Another retraining is running, by {standing.holder}, since {standing.since:%Y-%m-%d %H:%M:%S} UTC.",
            f"Wait for it. If that process is gone, its lease runs out in {standing.seconds:.0f} s: run it again then.",
        )
    lease = Lease(store, name, holder, seconds)
    lease.start()
    try:
        yield lease
    finally:
        lease.stop()
