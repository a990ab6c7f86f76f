"""Follows an alias of the registry: notices a new version, loads it while the old one answers, then swaps them.

There is one follower for Production, whose version answers, and one for Challenger, whose version is scored in its
shadow. Each is a daemon thread rather than a task: the MLflow client blocks, for half a minute where a server does not
answer, and a shutdown must not wait for it.
"""

import logging
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

from ml_project.contract import Contract
from ml_project.errors import FraudError, InvalidBundle, Unavailable
from ml_project.reasons import Explainer
from serving.live_model import BundleSource, LiveModel, ModelSlot, ModelSource, Trouble, warm_up

if TYPE_CHECKING:
    from stores.released import LiveVersion

POLL_WITHOUT_MODEL_SECONDS: Final = 1.0
RETRY_BAD_BUNDLE_POLLS: Final = 6
"""A bundle that failed its checks is fetched again after so many looks; another version is tried at once."""

_JOIN_SECONDS, _JITTER = 2.0, 0.2
_LEAST_SECONDS: Final = 0.2
"""Looks are at least this far apart, however often one is requested."""

_NAMED: Final = 5
"""Faults of a contract that a message names."""

_NOISE = re.compile(r"(?<=://)[^/@\s]+(?=@)|\b0x[0-9a-f]+\b")
"""Credentials in addresses, which must not be shown, and object addresses, which make equal messages differ."""

_log = logging.getLogger(__name__)


def without_noise(text: str) -> str:
    """A message without `_NOISE`."""
    return _NOISE.sub("***", text)


@dataclass(frozen=True, slots=True)
class _BadBundle:
    live: "LiveVersion"
    message: str
    retry_at: float

    def of(self, live: "LiveVersion") -> bool:
        """Whether nothing has changed since."""
        return (self.live.digest, self.live.signature) == (live.digest, live.signature)


class ModelFollower:
    """Keeps a `ModelSlot` in step with what an alias names: Production, or Challenger where a champion is given.

    A challenger may be missing, is dropped once it was promoted, and has no card. While the next one is loaded, the old
    one is dropped already, so that there are never three models in memory.

    Parameters
    ----------
    connect : callable
        Makes the source on the follower's own thread; called again until it succeeds.
    slot : ModelSlot
        Where the model and trouble are put.
    contract : Contract
        What the gateway is for: a version that scores other transactions does not go live.
    poll_seconds : float
        Mean time between two looks.
    threads : int
        Cores for batches; 0 takes all.
    at_once : callable, optional
        Makes a source that is available sooner; the version it names answers until the registry has been reached.
    champion : ModelSlot, optional
        For the follower of Challenger: the slot of the version that answers.
    """

    def __init__(
        self,
        connect: Callable[[], BundleSource],
        slot: ModelSlot,
        contract: Contract,
        poll_seconds: float,
        threads: int,
        at_once: Callable[[], ModelSource] | None = None,
        champion: ModelSlot | None = None,
    ) -> None:
        self.slot = slot
        self._contract = contract
        self._connect = connect
        self._at_once = at_once
        self._source: ModelSource | None = None
        self._champion = champion
        self._poll_seconds = poll_seconds
        self._threads = threads
        self._random = random.Random()  # noqa: S311 - of this thread alone: it leaves what others seeded as it is
        self._bad: _BadBundle | None = None
        self._registry_named: tuple[str, datetime] | None = None
        self._card_at = 0.0
        self._stopping, self._wanted = threading.Event(), threading.Event()
        name = "model-follower" if champion is None else "challenger-follower"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def source(self) -> ModelSource | None:
        """Where models come from; None as long as it could not be made."""
        return self._source

    def start(self) -> None:
        """Begin to follow; returns at once."""
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
        """Go live from the source that is available at once. A failure is not trouble yet: `check` decides."""
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
            _log.warning("no model before the registry answers: %s", without_noise(str(error)))

    def _run(self) -> None:
        self.start_at_once()
        while not self._stopping.is_set():
            self._wanted.clear()  # before the look: what is wanted during it may come too late for it
            self.check()
            seconds = self._poll_seconds
            if self.slot.current is None and self._champion is None:
                seconds = min(seconds, POLL_WITHOUT_MODEL_SECONDS)
            # Jitter keeps a fleet of gateways from asking in step; it need not be secure.
            seconds *= self._random.uniform(1 - _JITTER, 1 + _JITTER)
            if not self._stopping.wait(min(_LEAST_SECONDS, seconds)):
                self._wanted.wait(max(0.0, seconds - _LEAST_SECONDS))

    def _follow(self) -> None:
        if self._source is None:
            # only Production's source has a card and promotions, and only its follower uses them
            self._source = cast(ModelSource, self._connect())
        live = self._source.current()
        if self._champion is None:
            self._follow_production(self._source, live)
        else:
            self._follow_challenger(self._source, live, self._champion.current)
        if live is not None and live.registry_fault is not None:
            self._report(f"{live.registry_fault} The release pointer stands in.")
        elif self.slot.trouble is not None:
            _log.info("model watch recovered" if self._champion is None else "challenger watch recovered")
            self.slot.trouble = None

    def _follow_production(self, source: ModelSource, live: "LiveVersion | None") -> None:
        if live is None:
            raise Unavailable("The registry names no Production version.", "Promote one.")
        if live.named_by == "registry":
            self._registry_named = live.digest, datetime.now(UTC)
        model = self.slot.current
        if not _is(model, live):
            self._refuse_stale(live, model)
            self._refuse_bad(live)
            self._swap(source, live)
        elif model is not None and live != model.live:
            self.slot.current = replace(model, live=live)
        self._fetch_card(source)

    def _follow_challenger(self, source: ModelSource, live: "LiveVersion | None", champion: LiveModel | None) -> None:
        if _is(self.slot.current, live) and not _answers(champion, live):
            return
        if self.slot.current is not None:
            _log.info("there is no challenger any more")
        self.slot.current = None
        if live is not None and not _answers(champion, live):
            self._refuse_bad(live)
            self._swap(source, live)

    def _refuse_stale(self, live: "LiveVersion", model: LiveModel | None) -> None:
        """Without this, an outage of the registry would roll back to whatever was published last."""
        if model is None or live.release is None or self._registry_named is None:
            return
        digest, moment = self._registry_named
        if live.digest != digest and live.release.published_at <= moment:
            raise Unavailable(
                f"The registry is unreachable, and the release pointer's version {live.version} is older than the one "
                f"that it last named; version {model.version} stays live.",
                "Bring the MLflow server back, or publish a release.",
            )

    def _refuse_bad(self, live: "LiveVersion") -> None:
        if self._bad is not None and self._bad.of(live) and time.monotonic() < self._bad.retry_at:
            raise InvalidBundle(self._bad.message)

    def _swap(self, source: ModelSource, live: "LiveVersion") -> None:
        started = time.perf_counter()
        try:
            scorer = source.load(live, self._threads)
            self._require_contract(scorer.contract)
            explainer = Explainer(scorer.bundle)
            warm_up(scorer)
        except InvalidBundle as error:
            message = f"Version {live.version} cannot go live: {error}" if self._champion is None else str(error)
            retry_seconds = RETRY_BAD_BUNDLE_POLLS * self._poll_seconds
            self._bad = _BadBundle(live, message, time.monotonic() + retry_seconds)
            self.slot.swaps["refused"] += 1
            raise InvalidBundle(message) from error
        except Exception:
            self.slot.swaps["failed"] += 1
            raise
        self.slot.swaps["live"] += 1
        self.slot.current = LiveModel(scorer, explainer, live, datetime.now(UTC))
        self._card_at = 0.0
        load_ms = round((time.perf_counter() - started) * 1000, 1)
        fields = {"model_version": str(live.version), "named_by": live.named_by, "digest": live.digest}
        event = "model swapped" if self._champion is None else f"challenger is version {live.version}"
        _log.info(event, extra={"fields": fields | {"load_ms": load_ms}})

    def _require_contract(self, contract: Contract) -> None:
        if not contract.reads_as(self._contract):
            why = "; ".join(contract.refuses_of(self._contract)[:_NAMED])
            raise InvalidBundle(
                f"It scores transactions of the contract {contract}; this gateway is for {self._contract}: {why}.",
                "Set FRAUD_CONTRACT to its contract, or promote a version of this one.",
            )

    def _fetch_card(self, source: ModelSource) -> None:
        """Fetch the live version's card, after the swap as no answer needs it; a missing one is tried again later."""
        model, now = self.slot.current, time.monotonic()
        if model is None or model.card is not None or now < self._card_at:
            return
        first, self._card_at = not self._card_at, now + RETRY_BAD_BUNDLE_POLLS * self._poll_seconds
        try:
            self.slot.current = replace(model, card=source.card(model.live))
        except Exception as error:
            if first:
                _log.warning("no model card of version %s: %s", model.version, without_noise(str(error)))

    def _report(self, text: str, unexpected: Exception | None = None) -> None:
        """Log it once: a server that is down for a night is one line, not thousands."""
        message = without_noise(text)
        if self.slot.trouble is not None and self.slot.trouble.message == message:
            return
        self.slot.trouble = Trouble(message, datetime.now(UTC))
        level = logging.WARNING if unexpected is None else logging.ERROR
        subject = "model watch" if self._champion is None else "no new challenger"
        _log.log(level, "%s: %s", subject, message, exc_info=unexpected)


def _is(model: LiveModel | None, live: "LiveVersion | None") -> bool:
    return (
        model is not None
        and live is not None
        and (model.live.version, model.live.digest) == (live.version, live.digest)
    )


def _answers(champion: LiveModel | None, live: "LiveVersion | None") -> bool:
    return champion is not None and live is not None and champion.live.digest == live.digest
