"""Publishing a version's bundle, its model card and its release pointer."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from ml_project.bundle import Bundle, read_bundle
from ml_project.errors import InvalidBundle
from stores.registry import ModelVersion, Registry
from stores.released import gate_result
from stores.releases import Release, Releases


def checked_bundle(registry: Registry, version: ModelVersion) -> Bundle:
    """A version's bundle, if its files are what its tag says.

    Raises
    ------
    InvalidBundle
        When they are not, or when there is no tag.
    """
    if version.digest is None:
        raise InvalidBundle(f"Version {version.version} has no digest tag.", "Register it with `promote`.")
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        registry.download_bundle(version.version, folder)
        return read_bundle(folder, version.digest)


def publish(registry: Registry, releases: Releases, version: ModelVersion) -> None:
    """Publish a version's bundle and model card unless the pointer says all of it already."""
    gate, current = gate_result(version.tags), _pointer(releases)
    said = current and (current.version, current.digest, current.gate)
    published = said == (version.version, version.digest, gate)
    if published and current and current.card:
        return
    card = registry.card(version)
    if published and card is None:
        return
    bundle = checked_bundle(registry, version)
    releases.publish(bundle, registry.model_name, version.version, gate, datetime.now(UTC), card)


def _pointer(releases: Releases) -> Release | None:
    """What the pointer says; one that is spoiled says nothing, so that it is written anew."""
    try:
        return releases.current()
    except InvalidBundle:
        return None
