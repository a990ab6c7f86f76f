import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_project.bundle import FILES, Bundle, read_bundle
from ml_project.card import Card
from ml_project.errors import InvalidBundle, Unavailable
from serving.routes.examples import MODEL
from stores.files import write_atomically
from stores.objects import LocalObjects, Objects, open_objects
from stores.releases import POINTER, Release, Releases, open_releases

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GATE: dict[str, object] = {"passed": True, "checks": []}


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """A place of each kind."""
    if request.param == "folder":
        return LocalObjects(tmp_path / "releases", setting="FRAUD_RELEASES_URI")
    bucket = request.getfixturevalue("s3_bucket")
    server = request.getfixturevalue("s3_server")
    return open_objects(f"s3://{bucket}/releases", server.url, setting="FRAUD_RELEASES_URI")


@pytest.fixture
def releases(objects: Objects) -> Releases:
    return Releases(objects)


def publish(releases: Releases, bundle: Bundle, version: int = 1) -> Release:
    return releases.publish(bundle, "fraud-ensemble", version, GATE, NOW)


def test_nothing_published(releases: Releases):
    assert releases.current() is None


def test_publish_and_read_back(releases: Releases, objects: Objects, bundle: Bundle):
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
        "card": None,
        "signature": None,
    }
    assert {name: objects.read(f"{release.location}/{name}") for name in FILES} == bundle.files


def test_a_card_lies_beside_the_bundle_under_its_digest(releases: Releases, objects: Objects, bundle: Bundle):
    card = Card.model_validate(MODEL["card"])
    release = releases.publish(bundle, "fraud-ensemble", 3, GATE, NOW, card)
    assert releases.card(releases.current()) == card
    assert releases.card(publish(releases, bundle, 4)) is None
    path = f"cards/{release.card}.json"
    objects.write(path, objects.read(path) + b" ")
    with pytest.raises(InvalidBundle, match="the release pointer says"):
        releases.card(release)


def test_a_pointer_from_before_there_were_cards(releases: Releases, objects: Objects, bundle: Bundle):
    release = publish(releases, bundle, 7)
    pointer = json.loads(objects.read(POINTER))
    del pointer["card"]
    objects.write(POINTER, json.dumps(pointer).encode())
    assert releases.current() == release
    assert releases.card(release) is None


def test_the_newest_release_is_current_and_older_bundles_stay(
    releases: Releases, bundle: Bundle, other_bundle: Bundle, tmp_path: Path
):
    first = publish(releases, bundle, 1)
    publish(releases, other_bundle, 2)
    publish(releases, other_bundle, 3)
    assert releases.current().version == 3
    assert releases.current().digest == other_bundle.digest
    releases.download_bundle(first, tmp_path / "first")
    assert read_bundle(tmp_path / "first", first.digest).files == bundle.files


def test_the_bundle_of_a_release_is_checked(releases: Releases, bundle: Bundle):
    release = publish(releases, bundle, 1)
    assert releases.bundle(release).files == bundle.files
    older = release.model_copy(update={"files": {**release.files, "booster.ubj": release.files["booster.json"]}})
    older.files.pop("booster.json")
    with pytest.raises(InvalidBundle, match=r"version 1 has booster.ubj, .*; this software reads booster.json"):
        releases.bundle(older)


class FullAfter(LocalObjects):
    """Takes some files, then no more."""

    def __init__(self, folder: Path, files: int) -> None:
        super().__init__(folder, setting="FRAUD_RELEASES_URI")
        self.left = files

    def write(self, name: str, content: bytes) -> None:
        if self.left == 0:
            raise Unavailable(f"Cannot write {name}: No space left on device.")
        self.left -= 1
        super().write(name, content)


@pytest.mark.parametrize("files", [0, 1, 3])
def test_a_crash_before_the_pointer_leaves_the_old_release(
    tmp_path: Path, bundle: Bundle, other_bundle: Bundle, files: int
):
    releases = open_releases(str(tmp_path))
    old = publish(releases, bundle)
    with pytest.raises(Unavailable, match="No space left"):
        publish(Releases(FullAfter(tmp_path, files)), other_bundle, 2)
    with pytest.raises(Exception, match="serialize"):
        releases.publish(other_bundle, "fraud-ensemble", 2, {"bad": object()}, NOW)
    assert releases.current() == old
    assert publish(releases, other_bundle, 2) == releases.current()
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {POINTER, *(f"bundles/{each.digest}/{name}" for each in (bundle, other_bundle) for name in FILES)}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"{}", b'{"version": 1}'])
def test_an_invalid_pointer_is_refused(releases: Releases, objects: Objects, bundle: Bundle, content: bytes):
    publish(releases, bundle)
    objects.write(POINTER, content)
    with pytest.raises(InvalidBundle, match=r"release pointer .* is not valid"):
        releases.current()


def test_an_unreadable_pointer_is_told(tmp_path: Path):
    (tmp_path / POINTER).mkdir(parents=True)
    with pytest.raises(Unavailable, match=r"Cannot read .*FRAUD_RELEASES_URI"):
        open_releases(str(tmp_path)).current()


def test_download_copies_the_files(releases: Releases, bundle: Bundle, tmp_path: Path):
    folder = tmp_path / "cache" / "x"
    releases.download_bundle(publish(releases, bundle), folder)
    assert read_bundle(folder, bundle.digest).files == bundle.files
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_changed_after_promotion_is_refused(
    releases: Releases, objects: Objects, bundle: Bundle, tmp_path: Path, name: str
):
    release = publish(releases, bundle)
    objects.write(f"{release.location}/{name}", bundle.files[name] + b" ")
    with pytest.raises(InvalidBundle, match=rf"{name} has the digest .* the release pointer says"):
        releases.download_bundle(release, tmp_path / "cache" / "x")
    assert list((tmp_path / "cache").iterdir()) == []


def test_lost_files_leave_nothing(releases: Releases, bundle: Bundle, tmp_path: Path):
    release = publish(releases, bundle).model_copy(update={"location": "bundles/lost"})
    with pytest.raises(InvalidBundle, match=rf"The release of version 1 lacks {FILES[0]}.*Run promote again"):
        releases.download_bundle(release, tmp_path / "cache" / "x")
    assert list((tmp_path / "cache").iterdir()) == []


def test_others_may_read_what_is_published(bundle: Bundle, tmp_path: Path):
    before = os.umask(0o022)
    try:
        publish(open_releases(str(tmp_path)), bundle)
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
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
