"""The live version by the release pointer alone, and its bundle by digest.

A module without MLflow, whose import takes seconds: a gateway goes live by this one first.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml_project.card import Card
from ml_project.errors import InvalidBundle, Unavailable
from ml_project.scorer import Scorer, load_scorer
from stores.promotions import Promotions, promotion_of
from stores.releases import Release, Releases


@dataclass(frozen=True)
class LiveVersion:
    """The version that ought to answer, and who says so."""

    version: int
    digest: str
    named_by: Literal["registry", "release pointer"]
    release: Release | None = None


class ReleasedProduction:
    """What the release pointer names.

    Parameters
    ----------
    releases : Releases
    cache : Path
        Folder for bundles; one subfolder per digest.
    """

    def __init__(self, releases: Releases, cache: Path) -> None:
        self._releases = releases
        self._cache = cache

    def current(self) -> LiveVersion | None:
        """The version of the pointer; None where there is no pointer.

        Raises
        ------
        InvalidBundle, Unavailable
            When the pointer is not valid, or cannot be read.
        """
        release = self._releases.current()
        if release is None:
            return None
        return LiveVersion(release.version, release.digest, "release pointer", release)

    def load(self, live: LiveVersion, threads: int = 0) -> Scorer:
        """A checked scorer of a version that `current` named; see `load_cached`."""
        if live.release is None:
            raise Unavailable(f"No release of version {live.version} is known.", "Ask the registry for it.")
        release = live.release

        def download(folder: Path) -> None:
            self._releases.download_bundle(release, folder)

        return load_cached(self._cache / live.digest, live, download, threads)

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


def load_cached(folder: Path, live: LiveVersion, download: Callable[[Path], None], threads: int) -> Scorer:
    """A checked scorer of the bundle in a folder of the cache, downloaded when the cache does not hold it.

    Raises
    ------
    InvalidBundle
        When the files are not what the digest says, or golden rows score differently. The cache forgets them.
    Unavailable
        When they cannot be fetched.
    """
    if not folder.exists():
        download(folder)
    try:
        return load_scorer(folder, live.digest, threads)
    except InvalidBundle:
        shutil.rmtree(folder, ignore_errors=True)
        raise
