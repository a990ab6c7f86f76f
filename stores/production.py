"""Where a gateway gets the live bundle from: the registry, or the release pointer while MLflow is down."""

import re
from collections.abc import Mapping
from pathlib import Path

from ml_project.errors import InvalidBundle, Unavailable
from ml_project.scorer import Scorer
from stores.gate_result import gate_result
from stores.gated import released_gate
from stores.live import LiveVersion, ReleasedProduction, load_cached
from stores.registry import PRODUCTION, Registry
from stores.releases import Releases

__all__ = ["LiveVersion", "Production"]

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
    """

    def __init__(self, registry: Registry, releases: Releases, cache: Path) -> None:
        self._registry = registry
        self._released = ReleasedProduction(releases, cache)
        self._cache = cache

    def current(self) -> LiveVersion | None:
        """The live version; None where nothing was ever promoted.

        Raises
        ------
        Unavailable
            When the registry is away and no release pointer can stand in.
        InvalidBundle
            When the version carries no digest: nobody vouches for its files.
        """
        try:
            champion = self._registry.resolve(PRODUCTION)
        except Unavailable:
            released = self._released.current()
            if released is None:
                raise
            return released
        if champion is None:
            return None
        if champion.digest is None or not _SHA256.fullmatch(champion.digest):
            raise InvalidBundle(
                f"Version {champion.version} has no digest tag that holds a SHA-256.",
                "Register it with `python -m pipelines promote`.",
            )
        return LiveVersion(champion.version, champion.digest, "registry")

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

        def download(folder: Path) -> None:
            self._registry.download_bundle(live.version, folder)

        return load_cached(self._cache / live.digest, live, download, threads)
