"""Where a gateway gets the live bundle from: the registry, or the release pointer while MLflow is down."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml_project.errors import InvalidBundle, Unavailable
from ml_project.scorer import Scorer, load_scorer
from stores.registry import PRODUCTION, Registry
from stores.releases import LocalReleases, Release

_SHA256 = re.compile("[0-9a-f]{64}")
"""The only digests taken: they name folders of the cache, which are deleted when their files are bad."""


@dataclass(frozen=True)
class LiveVersion:
    """The version that ought to answer, and who says so."""

    version: int
    digest: str
    named_by: Literal["registry", "release pointer"]
    release: Release | None = None


class Production:
    """Finds the live version and brings its bundle into a local cache, by digest.

    Parameters
    ----------
    registry : Registry
    releases : LocalReleases
    cache : Path
        Folder for bundles; one subfolder per digest.
    """

    def __init__(self, registry: Registry, releases: LocalReleases, cache: Path) -> None:
        self._registry = registry
        self._releases = releases
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
            release = self._releases.current()
            if release is None:
                raise
            return LiveVersion(release.version, release.digest, "release pointer", release)
        if champion is None:
            return None
        if champion.digest is None or not _SHA256.fullmatch(champion.digest):
            raise InvalidBundle(
                f"Version {champion.version} has no digest tag that holds a SHA-256.",
                "Register it with `python -m pipelines promote`.",
            )
        return LiveVersion(champion.version, champion.digest, "registry")

    def load(self, live: LiveVersion, threads: int = 0) -> Scorer:
        """A checked scorer of a version, downloaded when the cache does not hold it.

        Raises
        ------
        InvalidBundle
            When the files are not what the digest says, or golden rows score differently. The cache forgets them.
        Unavailable
            When they cannot be fetched.
        """
        folder = self._cache / live.digest
        if not folder.exists():
            if live.release is not None:
                self._releases.download_bundle(live.release, folder)
            else:
                self._registry.download_bundle(live.version, folder)
        try:
            return load_scorer(folder, live.digest, threads)
        except InvalidBundle:
            shutil.rmtree(folder, ignore_errors=True)
            raise
