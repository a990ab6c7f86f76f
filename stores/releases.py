"""Releases: promoted bundles beside their pointer ``Production.json``, so that a gateway starts without MLflow.

Layout below the releases' folder or prefix: ``Production.json``, ``bundles/<digest>/<file>`` and
``cards/<digest>.json``. Bundle and card are written first and the pointer last, so that the pointer never names
something half-written.
"""

import hashlib
import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ml_project.bundle import FILES, LARGEST_FILE, Bundle, combined_digest, read_bundle
from ml_project.card import Card
from ml_project.errors import InvalidBundle
from stores.files import take_place
from stores.objects import MissingObject, Objects, open_objects

POINTER = "Production.json"

_LARGEST_POINTER: Final = 256 * 1024
_LARGEST_CARD: Final = 8 * 1024**2

_Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class Release(BaseModel):
    """The pointer: which version is live, where its files are and what they must hash to.

    Attributes
    ----------
    card : str or None
        SHA-256 of the version's model card; None where it has none.
    signature : str or None
        What the promotion says of the version; see `stores.attestation`.
    """

    model_config = ConfigDict(frozen=True)

    model_name: str
    version: int = Field(ge=1, lt=2**31)
    location: str
    files: dict[str, _Sha256]
    gate: dict[str, object]
    published_at: AwareDatetime
    card: _Sha256 | None = None
    signature: str | None = None

    @property
    def digest(self) -> str:
        """The bundle's SHA-256."""
        return combined_digest(self.files)


class Releases:
    """Releases in a folder or bucket that gateway and pipelines share.

    Every method raises `Unavailable` when it cannot be reached.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @property
    def objects(self) -> Objects:
        """Where they are kept."""
        return self._objects

    def publish(
        self,
        bundle: Bundle,
        model_name: str,
        version: int,
        gate: dict[str, object],
        published_at: datetime,
        card: Card | None = None,
        signature: str | None = None,
    ) -> Release:
        """Write bundle and card, then the pointer; each file appears whole or not at all."""
        page = None if card is None else card.model_dump_json(indent=1).encode()
        release = Release(
            model_name=model_name,
            version=version,
            location=f"bundles/{bundle.digest}",
            files=bundle.file_digests,
            gate=gate,
            published_at=published_at,
            card=None if page is None else hashlib.sha256(page).hexdigest(),
            signature=signature,
        )
        pointer = release.model_dump_json(indent=1).encode()
        for name, content in bundle.files.items():
            self._objects.write(f"{release.location}/{name}", content)
        if page is not None:
            self._objects.write(_card_path(release), page)
        self._objects.write(POINTER, pointer)
        return release

    def current(self) -> Release | None:
        """What is live according to the pointer; None where nothing was published.

        Raises
        ------
        InvalidBundle
            When the pointer is not valid.
        """
        try:
            return Release.model_validate_json(self._objects.read(POINTER, _LARGEST_POINTER))
        except MissingObject:
            return None
        except (ValidationError, json.JSONDecodeError) as error:
            raise InvalidBundle(
                f"The release pointer {self._objects.address(POINTER)} is not valid.", "Run promote again."
            ) from error

    def download_bundle(self, release: Release, folder: Path) -> None:
        """Copy a release's files into a folder, which must not exist yet; it appears whole or not at all.

        Raises
        ------
        InvalidBundle
            When a file is missing, or is not the one that was published.
        """
        if release.files.keys() != set(FILES):
            raise InvalidBundle(
                f"The release of version {release.version} has {', '.join(sorted(release.files))}; this software reads "
                f"{', '.join(sorted(FILES))}.",
                "Use the software version that made it, or train and promote again.",
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            copied = Path(scratch) / "bundle"
            copied.mkdir()
            for name in FILES:
                content = self._published(release, f"{release.location}/{name}", release.files.get(name), LARGEST_FILE)
                (copied / name).write_bytes(content)
            take_place(copied, folder)

    def bundle(self, release: Release) -> Bundle:
        """A release's bundle, checked against the pointer. Raises as `download_bundle` does."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "bundle"
            self.download_bundle(release, folder)
            return read_bundle(folder, release.digest)

    def card(self, release: Release) -> Card | None:
        """A release's model card; None where it has none.

        Raises
        ------
        InvalidBundle
            When it is missing, is not the one that was published, or is none.
        """
        if release.card is None:
            return None
        content = self._published(release, _card_path(release), release.card, _LARGEST_CARD)
        try:
            return Card.model_validate_json(content)
        except ValidationError as error:
            raise InvalidBundle(
                f"The model card of version {release.version} is not one that this software understands.",
                "Use the software version that made it.",
            ) from error

    def _published(self, release: Release, path: str, expected: str | None, largest: int) -> bytes:
        try:
            content = self._objects.read(path, largest)
        except MissingObject as error:
            raise InvalidBundle(
                f"The release of version {release.version} lacks {path.rpartition('/')[2]}: {error.cause}",
                "Run promote again.",
            ) from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != expected:
            raise InvalidBundle(
                f"{self._objects.address(path)} has the digest {digest}, the release pointer says {expected}.",
                "A file was changed after promotion; promote an intact version.",
            )
        return content


def _card_path(release: Release) -> str:
    return f"cards/{release.card}.json"


def open_releases(location: str, s3_endpoint_url: str = "") -> Releases:
    """The releases that ``FRAUD_RELEASES_URI`` names."""
    return Releases(open_objects(location, s3_endpoint_url, setting="FRAUD_RELEASES_URI"))
