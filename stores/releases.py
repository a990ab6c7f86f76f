"""Releases: promoted bundles beside their pointer ``Production.json``, so that a gateway starts without MLflow.

Layout below the releases' folder or prefix: ``Production.json`` and ``bundles/<digest>/<file>``. Bundles are written
first and the pointer last, so that the pointer never names something half-written.
"""

import hashlib
import json
import tempfile
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from ml_project.bundle import FILES, Bundle, combined_digest
from ml_project.errors import InvalidBundle
from stores.files import take_place
from stores.objects import MissingObject, Objects, open_objects

POINTER = "Production.json"


class Release(BaseModel):
    """The pointer: which version is live, where its files are and what they must hash to."""

    model_config = ConfigDict(frozen=True)

    model_name: str
    version: int
    location: str
    files: dict[str, str]
    gate: dict[str, object]
    published_at: AwareDatetime

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

    def publish(
        self, bundle: Bundle, model_name: str, version: int, gate: dict[str, object], published_at: datetime
    ) -> Release:
        """Write the bundle, then the pointer; each file appears whole or not at all."""
        release = Release(
            model_name=model_name,
            version=version,
            location=f"bundles/{bundle.digest}",
            files=bundle.file_digests,
            gate=gate,
            published_at=published_at,
        )
        pointer = release.model_dump_json(indent=1).encode()
        for name, content in bundle.files.items():
            self._objects.write(f"{release.location}/{name}", content)
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
            return Release.model_validate_json(self._objects.read(POINTER))
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
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            copied = Path(scratch) / "bundle"
            copied.mkdir()
            for name in FILES:
                (copied / name).write_bytes(self._published(release, name))
            take_place(copied, folder)

    def _published(self, release: Release, name: str) -> bytes:
        path = f"{release.location}/{name}"
        try:
            content = self._objects.read(path)
        except MissingObject as error:
            raise InvalidBundle(
                f"The release of version {release.version} lacks {name}: {error.cause}", "Run promote again."
            ) from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != release.files.get(name):
            raise InvalidBundle(
                f"{self._objects.address(path)} has the digest {digest}, the release pointer says "
                f"{release.files.get(name)}.",
                "Somebody changed a file after promotion; promote an intact version.",
            )
        return content


def open_releases(location: str, s3_endpoint_url: str = "") -> Releases:
    """The releases that ``FRAUD_RELEASES_URI`` names."""
    return Releases(open_objects(location, s3_endpoint_url, setting="FRAUD_RELEASES_URI"))
