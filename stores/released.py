"""The live version by the release pointer alone: its bundle by digest, its gate result, and when it was promoted.

No MLflow in here, whose import takes seconds: a gateway goes live by this module first. `stores.production` asks the
registry.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

import ml_project
from ml_project.card import Card
from ml_project.errors import InvalidBundle, Unavailable
from ml_project.scorer import Scorer, load_scorer
from stores.bundle_trial import USUAL, Trial
from stores.moves import CHALLENGER, PRODUCTION, Entry, Record, Verdict
from stores.releases import Release, Releases

if TYPE_CHECKING:
    from stores.attestation import TrustedKeys

_log = logging.getLogger(__name__)

GATE_TAG: Final = "gate.passed"
FAILURES_TAG: Final = "gate.failures"
FORCED_TAG: Final = "gate.forced"
"""Who promoted it past a failed gate, and why. Never taken away."""

SIGNATURE_TAG: Final = "gate.signature"
"""What the promotion said of it last, signed; see `stores.attestation`."""


CLEARED: Final = ("passed", "forced")
"""Verdicts under which a version may go live."""


def gate_result(tags: Mapping[str, str]) -> dict[str, object]:
    """A version's gate result for the release pointer."""
    said = {name: tags[tag] for name, tag in (("failures", FAILURES_TAG), ("forced", FORCED_TAG)) if tags.get(tag)}
    return {"passed": tags.get(GATE_TAG) == "true", "judged": GATE_TAG in tags, **said}


def verdict(gate: Mapping[str, object]) -> Verdict:
    """A gate result in a word."""
    if gate.get("passed") is True:
        return "passed"
    if gate.get("forced"):
        return "forced"
    return "refused" if gate.get("judged") else "none"


def cleared(gate: Mapping[str, object]) -> bool:
    """Whether a version with this gate result may go live: it passed, or a person forced it past."""
    return verdict(gate) in CLEARED


@dataclass(frozen=True, slots=True)
class Promoted:
    """One move of Production; what the release pointer does not know of it is None.

    Attributes
    ----------
    kind : str or None
        See `stores.moves.Kind`.
    origin, to : int or None
        The versions before and after.
    gate : str
        See `stores.released.Verdict`.
    outcome : str
        ``done``, ``undone`` or ``unfinished``.
    """

    number: int | None
    kind: str | None
    origin: int | None
    to: int | None
    who: str | None
    asked_by: str | None
    when: datetime
    why: str | None
    gate: str
    outcome: Literal["done", "undone", "unfinished"]


@dataclass(frozen=True, slots=True)
class Promotions:
    """Moves of Production, the newest first, where they were read, and the candidates that the gate refused."""

    source: Literal["history", "release pointer"]
    moves: tuple[Promoted, ...]
    refusals: tuple[Promoted, ...] = ()


def promotions_in(record: Record) -> Promotions:
    """The moves of Production in a history, and what the gate refused."""
    newest = record.entries[::-1]
    return Promotions(
        "history",
        tuple(_promoted(entry, PRODUCTION) for entry in newest if PRODUCTION in entry.move.after),
        tuple(_promoted(entry, CHALLENGER) for entry in newest if entry.move.gate == "refused"),
    )


def _promoted(entry: Entry, alias: str) -> Promoted:
    move = entry.move
    return Promoted(
        entry.number,
        str(move.kind),
        move.before.get(alias),
        move.after.get(alias, move.to),
        move.who,
        move.asked_by,
        move.when,
        move.why,
        move.gate,
        entry.ending.outcome if entry.ending else "unfinished",
    )


def promotion_of(release: Release | None) -> Promotions:
    """The one promotion that a release pointer stands for."""
    if release is None:
        return Promotions("release pointer", ())
    when, gate = release.published_at, verdict(release.gate)
    return Promotions(
        "release pointer", (Promoted(None, None, None, release.version, None, None, when, None, gate, "done"),)
    )


@dataclass(frozen=True)
class LiveVersion:
    """The version that should answer, and what named it."""

    version: int
    digest: str
    named_by: Literal["registry", "release pointer"]
    release: Release | None = None
    signature: str | None = None
    """What the promotion says of it; see `stores.attestation`."""
    registry_fault: str | None = field(default=None, compare=False)
    """Why the release pointer stands in for the registry; None where it does not."""


class ReleasedProduction:
    """What the release pointer names.

    Parameters
    ----------
    releases : Releases
    cache : Path
        Folder for bundles; one subfolder per digest.
    model_name : str
        The model whose versions are meant.
    trial : Trial
        A bundle's first scoring.
    """

    def __init__(self, releases: Releases, cache: Path, model_name: str, trial: Trial = USUAL.run) -> None:
        self._releases = releases
        self._cache = cache
        self._model_name = model_name
        self._trial = trial

    def current(self) -> LiveVersion | None:
        """The version of the pointer; None where there is no pointer.

        Raises
        ------
        InvalidBundle, Unavailable
            When the pointer is not valid, is another model's, or cannot be read.
        """
        release = self._releases.current()
        if release is None:
            return None
        if release.model_name != self._model_name:
            raise InvalidBundle(
                f"The release pointer names a version of {release.model_name[:100]!r}, not of {self._model_name!r}.",
                "Check FRAUD_RELEASES_URI and FRAUD_MODEL_NAME.",
            )
        return LiveVersion(release.version, release.digest, "release pointer", release, release.signature)

    def load(self, live: LiveVersion, threads: int = 0) -> Scorer:
        """A checked scorer of a version that `current` named; see `load_cached`."""
        if live.release is None:
            raise Unavailable(f"No release of version {live.version} is known.", "Look it up in the registry.")
        release = live.release

        def download(folder: Path) -> None:
            self._releases.download_bundle(release, folder)

        return load_cached(self._cache / live.digest, live, download, threads, self._trial)

    def card(self, live: LiveVersion) -> Card | None:
        """A version's model card; None where the pointer names another version, or no card.

        Raises
        ------
        InvalidBundle, Unavailable
            When it is not what was published, or cannot be read.
        """
        release = live.release or self._releases.current()
        if release is None or (release.version, release.digest) != (live.version, live.digest):
            return None
        return self._releases.card(release)

    def promotions(self) -> Promotions:
        """The one promotion that the pointer knows of."""
        return promotion_of(self._releases.current())


_RECEIPT: Final = "tried"
_TRIED_WITH: Final = f"{ml_project.__version__} {version('onnxruntime')}"
"""A first scoring is one by this software; the next start of the same need not repeat it."""


def load_cached(
    folder: Path, live: LiveVersion, download: Callable[[Path], None], threads: int, trial: Trial
) -> Scorer:
    """A checked scorer of the bundle in a folder of the cache, downloaded when the cache does not hold it.

    Raises
    ------
    InvalidBundle
        When the files are not what the digest says, do not stand the trial, or golden rows score differently. The cache
        forgets them, and fetches them anew if they were in it: a loss of power may have torn them.
    Unavailable
        When they cannot be fetched.
    """
    if folder.exists():
        try:
            return _loaded(folder, live, threads, trial)
        except InvalidBundle as error:
            _log.warning("the cache is damaged and will be refilled: %s", error)
            shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        download(folder)
    try:
        return _loaded(folder, live, threads, trial)
    except InvalidBundle:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _loaded(folder: Path, live: LiveVersion, threads: int, trial: Trial) -> Scorer:
    _require_tried(folder, live.digest, trial)
    return load_scorer(folder, live.digest, threads)


def _require_tried(folder: Path, digest: str, trial: Trial) -> None:
    receipt = folder / _RECEIPT
    with suppress(OSError):
        if receipt.read_text() == _TRIED_WITH:
            return
    trial(folder, digest)
    with suppress(OSError):  # a cache that cannot be written to costs the next start a second
        receipt.write_text(_TRIED_WITH)


class _Source(Protocol):
    def current(self) -> LiveVersion | None: ...

    def load(self, live: LiveVersion, threads: int = 0) -> Scorer: ...

    def card(self, live: LiveVersion) -> Card | None: ...

    def promotions(self) -> Promotions: ...


class Guarded:
    """A source of live versions that loads none before it was admitted.

    Parameters
    ----------
    source
        Where they come from.
    admit : callable
        Raises `InvalidBundle` for a version that may not be loaded.
    """

    def __init__(self, source: _Source, admit: Callable[[LiveVersion], object]) -> None:
        self._source = source
        self._admit = admit

    def current(self) -> LiveVersion | None:
        """The version that should answer, whatever is said of it."""
        return self._source.current()

    def load(self, live: LiveVersion, threads: int = 0) -> Scorer:
        """A checked scorer of a version that may be loaded.

        Raises
        ------
        InvalidBundle
            When it was not admitted.
        """
        self._admit(live)
        return self._source.load(live, threads)

    def card(self, live: LiveVersion) -> Card | None:
        """A version's model card."""
        return self._source.card(live)

    def promotions(self) -> Promotions:
        """Moves of Production."""
        return self._source.promotions()


def gated(source: _Source, gate_of: Callable[[LiveVersion], Mapping[str, object]]) -> Guarded:
    """A source that loads only what a gate let pass, or a person forced past it.

    Parameters
    ----------
    gate_of : callable
        A version's gate result; see `stores.released.gate_result`.
    """

    def admit(live: LiveVersion) -> None:
        gate = gate_of(live)
        if not cleared(gate):
            reason = "the gate never judged it" if verdict(gate) == "none" else "the gate refused it"
            raise InvalidBundle(
                f"FRAUD_REQUIRE_GATE is on, and {reason}.", "Roll back, then promote it with `python -m pipelines`."
            )

    return Guarded(source, admit)


def signed(source: _Source, trust: "TrustedKeys", model_name: str) -> Guarded:
    """A source that loads only what the promotion has signed."""

    def admit(live: LiveVersion) -> None:
        require_signed(trust, model_name, live.version, live.digest, live.signature)

    return Guarded(source, admit)


def require_signed(
    trust: "TrustedKeys", model_name: str, version: int, digest: str, signature: str | None, *, answers: bool = True
) -> None:
    """Refuse a version that the promotion has not signed.

    Parameters
    ----------
    answers : bool
        Whether it is to answer requests: then the signed gate result must be one that lets it.

    Raises
    ------
    InvalidBundle
        When the signature is missing, is not one that is trusted, or is of something else.
    """
    try:
        said = trust.require(signature, model_name, version, digest)
        if answers and said.gate not in CLEARED:
            raise InvalidBundle(f"The promotion signed that it may not answer (gate: {said.gate}).", "Roll back.")
    except InvalidBundle as error:
        raise InvalidBundle(f"FRAUD_TRUSTED_KEYS is set. {error.cause}", error.remedy) from error


def released_gate(live: LiveVersion) -> Mapping[str, object]:
    """The gate result that stands in the release pointer."""
    return live.release.gate if live.release else {}
