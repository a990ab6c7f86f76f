"""Follows the registry: notices a new live version, loads it beside the old one, and swaps when it is fit to answer.

A daemon thread rather than a task: the MLflow client blocks, for half a minute where a server does not answer, and a
shutdown must not wait for it.
"""

import logging
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ml_project.errors import FraudError, InvalidBundle, Unavailable
from ml_project.reasons import Explainer
from serving.live_model import LiveModel, ModelSlot, Trouble, warm_up
from serving.model_source import ModelSource

if TYPE_CHECKING:
    from stores.released import LiveVersion

POLL_WITHOUT_MODEL_SECONDS: Final = 1.0
RETRY_BAD_BUNDLE_POLLS: Final = 6
"""A bundle that failed its checks is fetched again after so many looks; another version is tried at once."""

_JOIN_SECONDS, _JITTER = 2.0, 0.2
_LEAST_SECONDS: Final = 0.2
"""However often somebody wants a look, they are this far apart."""

_NOISE = re.compile(r"(?<=://)[^/@\s]+(?=@)|\b0x[0-9a-f]+\b")
"""Credentials in addresses, which nobody may read, and object addresses, which make equal messages differ."""

_log = logging.getLogger(__name__)


def without_noise(text: str) -> str:
    """A message without `_NOISE`."""
    return _NOISE.sub("***", text)


@dataclass(frozen=True, slots=True)
class _BadBundle:
    digest: str
    message: str
    retry_at: float


class Watcher:
    """Keeps a `ModelSlot` in step with what the registry names.

    Parameters
    ----------
    connect : callable
        Makes the source on the watcher's own thread; called again until it succeeds.
    slot : ModelSlot
        Where the live model and trouble are put.
    poll_seconds : float
        Mean time between two looks.
    threads : int
        Cores for batches; 0 takes all.
    at_once : callable, optional
        Makes a source that is there before the other can be; what it names answers until the other was asked.
    """

    def __init__(
        self,
        connect: Callable[[], ModelSource],
        slot: ModelSlot,
        poll_seconds: float,
        threads: int,
        at_once: Callable[[], ModelSource] | None = None,
    ) -> None:
        self._connect = connect
        self._at_once = at_once
        self._source: ModelSource | None = None
        self._slot = slot
        self._poll_seconds = poll_seconds
        self._threads = threads
        self._bad: _BadBundle | None = None
        self._registry_said: tuple[str, datetime] | None = None
        self._card_at = 0.0
        self._stopping, self._wanted = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-watcher", daemon=True)

    @property
    def source(self) -> ModelSource | None:
        """Where models come from; None as long as it could not be made."""
        return self._source

    def start(self) -> None:
        """Begin to watch; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the look in progress; one that hangs in the network is left behind."""
        self._stopping.set()
        self._wanted.set()
        self._thread.join(_JOIN_SECONDS)

    def look_now(self) -> None:
        """Do not wait for the next look; returns at once."""
        self._wanted.set()

    def check(self) -> None:
        """One look at the registry. Whatever fails, the old model stays and `ModelSlot.trouble` says why."""
        try:
            self._follow()
        except FraudError as error:
            self._report(str(error))
        except Exception as error:
            self._report(f"Unexpected {type(error).__name__}: {error}", error)

    def start_at_once(self) -> None:
        """Go live from the source that is there at once. Failing is no trouble yet: `check` decides."""
        if self._at_once is None:
            return
        try:
            source = self._at_once()
            live = source.current()
            if live is not None:
                self._swap(source, live)
                self._fetch_card(source)
        except Exception as error:
            # The registry may have good files of the very same version.
            self._bad = None
            _log.warning("no start before the registry was asked: %s", without_noise(str(error)))

    def _run(self) -> None:
        self.start_at_once()
        while not self._stopping.is_set():
            self._wanted.clear()  # before the look: what is wanted during it may come too late for it
            self.check()
            most = POLL_WITHOUT_MODEL_SECONDS if self._slot.current is None else self._poll_seconds
            seconds = min(most, self._poll_seconds)
            # Jitter keeps a fleet of gateways from asking in step; nothing secret about it.
            seconds *= random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
            if not self._stopping.wait(min(_LEAST_SECONDS, seconds)):
                self._wanted.wait(max(0.0, seconds - _LEAST_SECONDS))

    def _follow(self) -> None:
        if self._source is None:
            self._source = self._connect()
        live = self._source.current()
        if live is None:
            raise Unavailable("The registry names no Production version.", "Promote one.")
        if live.named_by == "registry":
            self._registry_said = live.digest, datetime.now(UTC)
        model = self._slot.current
        if model is None or (live.version, live.digest) != (model.live.version, model.live.digest):
            self._refuse_stale(live, model)
            self._refuse_bad(live)
            self._swap(self._source, live)
        elif live != model.live:
            self._slot.current = replace(model, live=live)
        self._fetch_card(self._source)
        if self._slot.trouble is not None:
            _log.info("model watch recovered")
            self._slot.trouble = None

    def _refuse_stale(self, live: "LiveVersion", model: LiveModel | None) -> None:
        """Without this, an outage of the registry would roll back to whatever was published last."""
        if model is None or live.release is None or self._registry_said is None:
            return
        digest, moment = self._registry_said
        if live.digest != digest and live.release.published_at <= moment:
            raise Unavailable(
                f"The registry is away, and the release pointer's version {live.version} is older than what it last "
                f"said; version {model.version} stays.",
                "Bring the MLflow server back, or publish a release.",
            )

    def _refuse_bad(self, live: "LiveVersion") -> None:
        if self._bad is not None and live.digest == self._bad.digest and time.monotonic() < self._bad.retry_at:
            raise InvalidBundle(self._bad.message)

    def _swap(self, source: ModelSource, live: "LiveVersion") -> None:
        started = time.perf_counter()
        try:
            scorer = source.load(live, self._threads)
            explainer = Explainer(scorer.bundle)
            warm_up(scorer)
        except InvalidBundle as error:
            message = f"Version {live.version} cannot go live: {error}"
            retry_seconds = RETRY_BAD_BUNDLE_POLLS * self._poll_seconds
            self._bad = _BadBundle(live.digest, message, time.monotonic() + retry_seconds)
            self._slot.swaps["refused"] += 1
            raise InvalidBundle(message) from error
        except Exception:
            self._slot.swaps["failed"] += 1
            raise
        self._slot.swaps["live"] += 1
        self._slot.current = LiveModel(scorer, explainer, live, datetime.now(UTC))
        self._card_at = 0.0
        load_ms = round((time.perf_counter() - started) * 1000, 1)
        fields = {"model_version": str(live.version), "named_by": live.named_by, "digest": live.digest}
        _log.info("model swapped", extra={"fields": fields | {"load_ms": load_ms}})

    def _fetch_card(self, source: ModelSource) -> None:
        """Once the version answers, as nobody waits for its card; one that is not there is asked for now and then."""
        model, now = self._slot.current, time.monotonic()
        if model is None or model.card is not None or now < self._card_at:
            return
        first, self._card_at = not self._card_at, now + RETRY_BAD_BUNDLE_POLLS * self._poll_seconds
        try:
            self._slot.current = replace(model, card=source.card(model.live))
        except Exception as error:
            if first:
                _log.warning("no model card of version %s: %s", model.version, without_noise(str(error)))

    def _report(self, text: str, unexpected: Exception | None = None) -> None:
        """Say it once: a server that is down for a night is one line, not thousands."""
        message = without_noise(text)
        if self._slot.trouble is not None and self._slot.trouble.message == message:
            return
        self._slot.trouble = Trouble(message, datetime.now(UTC))
        level = logging.WARNING if unexpected is None else logging.ERROR
        _log.log(level, "model watch: %s", message, exc_info=unexpected)
