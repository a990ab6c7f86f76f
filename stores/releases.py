"""Releases: promoted bundles beside their pointer ``Production.json``, so that a gateway starts without MLflow.

Layout below the releases folder: ``Production.json`` and ``bundles/<digest>/<file>``. Bundles are written first and the
pointer last, so that the pointer never names something half-written.
"""

import json
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from ml_project.bundle import Bundle, combined_digest, read_bundle
from ml_project.errors import InvalidBundle, Unavailable
from stores.files import take_place, write_atomically

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


class LocalReleases:
    """Releases in a folder that gateway and pipelines share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def publish(
        self, bundle: Bundle, model_name: str, version: int, gate: dict[str, object], published_at: datetime
    ) -> Release:
        """Write the bundle, then the pointer; each appears whole or not at all."""
        location = f"bundles/{bundle.digest}"
        target = self.folder / location
        if not _intact(target, bundle.digest):
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                written = Path(scratch) / "bundle"  # unlike scratch itself readable for the gateway's user
                bundle.write(written)
                take_place(written, target)
        release = Release(
            model_name=model_name,
            version=version,
            location=location,
            files=bundle.file_digests,
            gate=gate,
            published_at=published_at,
        )
        write_atomically(self.folder / POINTER, release.model_dump_json(indent=1).encode())
        return release

    def current(self) -> Release | None:
        """What is live according to the pointer; None where nothing was published.

        Raises
        ------
        InvalidBundle
            When the pointer is not valid.
        """
        path = self.folder / POINTER
        try:
            return Release.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"Cannot read {path}: {error}", "Check FRAUD_RELEASES_URI.") from error
        except (ValidationError, json.JSONDecodeError) as error:
            raise InvalidBundle(f"The release pointer {path} is not valid.", "Run promote again.") from error

    def download_bundle(self, release: Release, folder: Path) -> None:
        """Copy a release's files into a folder, which must not exist yet; it appears whole or not at all."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            copied = Path(scratch) / "bundle"
            try:
                shutil.copytree(self.folder / release.location, copied)
            except OSError as error:
                raise Unavailable(
                    f"Cannot read {self.folder / release.location}: {error}", "Check FRAUD_RELEASES_URI."
                ) from error
            take_place(copied, folder)


def _intact(folder: Path, digest: str) -> bool:
    """Whether a bundle was published before and nobody has spoiled it since."""
    try:
        read_bundle(folder, digest)
    except InvalidBundle:
        return False
    return True
