import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_project.bundle import FILES, Bundle, read_bundle
from ml_project.errors import InvalidBundle, Unavailable
from stores.files import write_atomically
from stores.releases import POINTER, LocalReleases, Release

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GATE: dict[str, object] = {"passed": True, "checks": []}


@pytest.fixture
def releases(tmp_path: Path) -> LocalReleases:
    return LocalReleases(tmp_path / "releases")


def publish(releases: LocalReleases, bundle: Bundle, version: int = 1) -> Release:
    return releases.publish(bundle, "fraud-ensemble", version, GATE, NOW)


def test_nothing_published(releases: LocalReleases):
    assert releases.current() is None


def test_publish_and_read_back(releases: LocalReleases, bundle: Bundle):
    release = publish(releases, bundle, 7)
    assert releases.current() == release
    assert release.digest == bundle.digest
    assert release.model_dump() == {
        "model_name": "fraud-ensemble",
        "version": 7,
        "location": f"bundles/{bundle.digest}",
        "files": bundle.file_digests,
        "gate": GATE,
        "published_at": NOW,
    }
    assert read_bundle(releases.folder / release.location, bundle.digest).files == bundle.files
    found = {str(path.relative_to(releases.folder)) for path in releases.folder.rglob("*") if path.is_file()}
    assert found == {POINTER, *(f"bundles/{bundle.digest}/{name}" for name in FILES)}


def test_the_newest_release_is_current_and_older_bundles_stay(
    releases: LocalReleases, bundle: Bundle, other_bundle: Bundle
):
    first = publish(releases, bundle, 1)
    publish(releases, other_bundle, 2)
    publish(releases, other_bundle, 3)
    assert releases.current().version == 3
    assert releases.current().digest == other_bundle.digest
    assert sorted(path.name for path in (releases.folder / "bundles").iterdir()) == sorted(
        [bundle.digest, other_bundle.digest]
    )
    assert read_bundle(releases.folder / first.location, first.digest).files == bundle.files


class DiskFull(Bundle):
    """Cannot be written beyond its first file."""

    def write(self, folder: Path) -> None:
        folder.mkdir()
        (folder / FILES[0]).write_bytes(self.onnx)
        raise OSError(28, "No space left on device")


def test_a_crash_before_the_pointer_leaves_the_old_release(
    releases: LocalReleases, bundle: Bundle, other_bundle: Bundle
):
    old = publish(releases, bundle)
    full = DiskFull(other_bundle.manifest, other_bundle.onnx, other_bundle.booster)
    with pytest.raises(OSError, match="No space left"):
        publish(releases, full, 2)
    assert releases.current() == old
    assert [path.name for path in (releases.folder / "bundles").iterdir()] == [bundle.digest]
    # between bundle and pointer: a gate that JSON cannot hold
    with pytest.raises(Exception, match="serialize"):
        releases.publish(other_bundle, "fraud-ensemble", 2, {"bad": object()}, NOW)
    assert releases.current() == old
    assert publish(releases, other_bundle, 2) == releases.current()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"{}", b'{"version": 1}'])
def test_an_invalid_pointer_is_refused(releases: LocalReleases, bundle: Bundle, content: bytes):
    publish(releases, bundle)
    (releases.folder / POINTER).write_bytes(content)
    with pytest.raises(InvalidBundle, match=r"release pointer .* is not valid"):
        releases.current()


def test_an_unreadable_pointer_is_told(releases: LocalReleases):
    (releases.folder / POINTER).mkdir(parents=True)
    with pytest.raises(Unavailable, match=r"Cannot read .*FRAUD_RELEASES_URI"):
        releases.current()


def test_download_copies_the_files(releases: LocalReleases, bundle: Bundle, tmp_path: Path):
    folder = tmp_path / "cache" / "x"
    releases.download_bundle(publish(releases, bundle), folder)
    assert read_bundle(folder, bundle.digest).files == bundle.files
    assert list(folder.parent.iterdir()) == [folder]


def test_download_of_lost_files_leaves_nothing(releases: LocalReleases, bundle: Bundle, tmp_path: Path):
    release = publish(releases, bundle)
    (releases.folder / release.location).rename(tmp_path / "lost")
    with pytest.raises(Unavailable, match="Cannot read"):
        releases.download_bundle(release, tmp_path / "cache" / "x")
    assert list((tmp_path / "cache").iterdir()) == []


def test_others_may_read_what_is_published(releases: LocalReleases, bundle: Bundle):
    before = os.umask(0o022)
    try:
        release = publish(releases, bundle)
    finally:
        os.umask(before)
    folder = releases.folder / release.location
    for path in (releases.folder / POINTER, folder, *folder.iterdir()):
        assert path.stat().st_mode & 0o044 == 0o044, path


def test_a_file_is_replaced_at_once_or_not_at_all(tmp_path: Path):
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "text")
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]
