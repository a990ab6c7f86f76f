"""Where a gateway gets its bundles from: the registry, or the release pointer while MLflow is down."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ml_project.card import Card
from ml_project.errors import InvalidBundle, Unavailable
from ml_project.scorer import Scorer
from stores.bundle_trial import USUAL, Trial
from stores.history import History
from stores.registry import CHALLENGER, PRODUCTION, Registry
from stores.released import (
    SIGNATURE_TAG,
    LiveVersion,
    Promotions,
    ReleasedProduction,
    gate_result,
    load_cached,
    promotions_in,
    released_gate,
    require_signed,
)
from stores.releases import Releases

if TYPE_CHECKING:
    from stores.attestation import TrustedKeys

__all__ = ["Challenger", "LiveVersion", "Production"]

_SHA256 = re.compile("[0-9a-f]{64}")
"""The only digests taken: they name folders of the cache, which are deleted when their files are bad."""


class Production:
    """Finds the live version and brings its bundle into a local cache, by digest.

    Parameters
    ----------
    registry : Registry
    releases : Releases
    cache : Path
        Folder for bundles; one subfolder per digest.
    history : History
    trial : Trial
        A bundle's first scoring.
    """

    def __init__(
        self,
        registry: Registry,
        releases: Releases,
        cache: Path,
        history: History,
        trial: Trial = USUAL.run,
    ) -> None:
        self._registry = registry
        self._released = ReleasedProduction(releases, cache, registry.model_name, trial)
        self._cache = cache
        self._history = history
        self._trial = trial

    def current(self) -> LiveVersion | None:
        """The live version; None where nothing was ever promoted.

        Raises
        ------
        Unavailable
            When the registry is unreachable and no release pointer can stand in; the message says both.
        InvalidBundle
            When the version carries no digest: nothing vouches for its files.
        """
        try:
            return _named(self._registry, PRODUCTION)
        except Unavailable as error:
            try:
                released = self._released.current()
            except (InvalidBundle, Unavailable) as second:
                raise Unavailable(f"{error} The release pointer cannot stand in either: {second}") from error
            if released is None:
                raise
            return replace(released, registry_fault=str(error))

    def gate_of(self, live: LiveVersion) -> Mapping[str, object]:
        """What the gate said of a version, from the same place that named it."""
        return released_gate(live) if live.release else gate_result(self._registry.version(live.version).tags)

    def load(self, live: LiveVersion, threads: int = 0) -> Scorer:
        """A checked scorer of a version, downloaded when the cache does not hold it.

        Raises
        ------
        InvalidBundle
            When the files are not what the digest says, or golden rows score differently. The cache forgets them.
        Unavailable
            When they cannot be fetched.
        """
        if live.release is not None:
            return self._released.load(live, threads)
        return _load(self._registry, self._cache, live, threads, self._trial)

    def card(self, live: LiveVersion) -> Card | None:
        """A version's model card, as it was published or, where it was not, from its run; None where it has none.

        Raises
        ------
        InvalidBundle, Unavailable
            When it cannot be had from either.
        """
        try:
            published = self._released.card(live)
        except (InvalidBundle, Unavailable):
            published = None
        return published or self._registry.card(self._registry.version(live.version))

    def promotions(self) -> Promotions:
        """The history's moves of Production; what the release pointer knows while MLflow is unreachable."""
        try:
            return promotions_in(self._history.read())
        except Unavailable:
            return self._released.promotions()


class Challenger:
    """What the alias Challenger names in the registry; there is no other place to learn of it.

    Parameters
    ----------
    registry : Registry
    cache : Path
        The folder that `Production` has.
    trial : Trial
        A bundle's first scoring.
    trust : TrustedKeys, optional
        Keys of which one must have signed it, whatever the gate said: it answers nothing, but its files are loaded.
    """

    def __init__(
        self, registry: Registry, cache: Path, trial: Trial = USUAL.run, trust: "TrustedKeys | None" = None
    ) -> None:
        self._registry = registry
        self._cache = cache
        self._trial = trial
        self._trust = trust

    def current(self) -> LiveVersion | None:
        """The challenger; None where there is none. Raises as `Production.current` does."""
        return _named(self._registry, CHALLENGER)

    def load(self, live: LiveVersion, threads: int = 0) -> Scorer:
        """A checked scorer of it. Raises as `Production.load` does."""
        if self._trust is not None:
            model = self._registry.model_name
            require_signed(self._trust, model, live.version, live.digest, live.signature, answers=False)
        return _load(self._registry, self._cache, live, threads, self._trial)


def _named(registry: Registry, alias: str) -> LiveVersion | None:
    version = registry.resolve(alias)
    if version is None:
        return None
    if version.digest is None or not _SHA256.fullmatch(version.digest):
        raise InvalidBundle(
            f"Version {version.version} has no digest tag that holds a SHA-256.",
            "Register it with `python -m pipelines promote`.",
        )
    return LiveVersion(version.version, version.digest, "registry", signature=version.tags.get(SIGNATURE_TAG))


def _load(registry: Registry, cache: Path, live: LiveVersion, threads: int, trial: Trial) -> Scorer:
    def download(folder: Path) -> None:
        registry.download_bundle(live.version, folder)

    return load_cached(cache / live.digest, live, download, threads, trial)
