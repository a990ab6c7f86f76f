"""Follows the alias Challenger: the version that scores in the shadow of the one that answers.

A daemon thread for the reasons of `serving.watcher`. Whatever fails is said and nothing more: nobody waits for a
challenger.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ml_project.errors import FraudError, InvalidBundle
from ml_project.scorer import Scorer
from serving.live_model import ModelSlot, Trouble, warm_up
from serving.model_source import BundleSource
from serving.watcher import RETRY_BAD_BUNDLE_POLLS, without_noise

if TYPE_CHECKING:
    from stores.released import LiveVersion

_JOIN_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Challenger:
    """A checked scorer and the version that it belongs to."""

    scorer: Scorer
    live: "LiveVersion"

    @property
    def version(self) -> str:
        """The registry's version number."""
        return str(self.live.version)


class ChallengerWatcher:
    """Keeps `current` in step with the registry.

    Parameters
    ----------
    connect : callable
        Makes the source on the watcher's own thread; called again until it succeeds.
    champion : ModelSlot
        What answers: a challenger that was promoted need not be held twice.
    poll_seconds : float

    Attributes
    ----------
    current : Challenger or None
    trouble : Trouble or None
        Why there is none, or not the one that the registry names.
    """

    def __init__(self, connect: Callable[[], BundleSource], champion: ModelSlot, poll_seconds: float) -> None:
        self.current: Challenger | None = None
        self.trouble: Trouble | None = None
        self._connect = connect
        self._source: BundleSource | None = None
        self._champion = champion
        self._poll_seconds = poll_seconds
        self._bad: tuple[str, float, InvalidBundle] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="challenger-watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the look in progress; one that hangs in the network is left behind."""
        self._stopping.set()
        self._thread.join(_JOIN_SECONDS)

    def check(self) -> None:
        """One look at the registry; while it is away, the challenger that it last named goes on."""
        try:
            self._follow()
            self.trouble = None
        except Exception as error:
            message = without_noise(str(error) or type(error).__name__)
            if self.trouble is None or self.trouble.message != message:
                self.trouble = Trouble(message, datetime.now(UTC))
                unexpected = None if isinstance(error, FraudError) else error
                _log.warning("no new challenger: %s", message, exc_info=unexpected)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.check()
            self._stopping.wait(self._poll_seconds)

    def _follow(self) -> None:
        if self._source is None:
            self._source = self._connect()
        live = self._source.current()
        if live is None or self._answers(live):
            self._become(None)
            return
        if self.current is not None and (live.version, live.digest) == (
            self.current.live.version,
            self.current.live.digest,
        ):
            return
        self._become(None)  # before the next is loaded: two models in memory, not three
        if self._bad is not None and self._bad[0] == live.digest and time.monotonic() < self._bad[1]:
            raise self._bad[2]
        try:
            scorer = self._source.load(live, 1)
            warm_up(scorer)
        except InvalidBundle as error:
            self._bad = live.digest, time.monotonic() + RETRY_BAD_BUNDLE_POLLS * self._poll_seconds, error
            raise
        self._become(Challenger(scorer, live))

    def _answers(self, live: "LiveVersion") -> bool:
        champion = self._champion.current
        return champion is not None and champion.live.digest == live.digest

    def _become(self, challenger: Challenger | None) -> None:
        if challenger is None and self.current is None:
            return
        self.current = challenger
        _log.info("challenger is version %s", challenger.version if challenger else "none")
