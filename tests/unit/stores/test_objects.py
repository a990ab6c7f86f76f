import os
import subprocess
import sys
from pathlib import Path

import pytest

from ml_project.errors import InvalidInput, Unavailable
from stores.objects import (
    LocalObjects,
    MissingObject,
    Objects,
    checked_endpoint,
    checked_location,
    open_objects,
    s3_address,
)


@pytest.mark.parametrize("value", ["var/releases", "/srv/x", "s3://bucket", "s3://my.bucket-1/a/b/"])
def test_locations_that_are_understood(value: str) -> None:
    assert checked_location(value) == value


def test_file_addresses_are_folders() -> None:
    assert checked_location("file:///srv/releases") == "/srv/releases"


@pytest.mark.parametrize("value", ["s3://", "s3:///key", "s3://Bucket/x", "s3://a/x", "gs://bucket/x", "https://x"])
def test_other_locations_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        checked_location(value)


@pytest.mark.parametrize("value", ["", "http://127.0.0.1:9000", "https://s3.example.org/"])
def test_endpoints_that_are_understood(value: str) -> None:
    assert checked_endpoint(value) == value


@pytest.mark.parametrize("value", ["127.0.0.1:9000", "s3://x", "http://", "http://k:sesame@h", "http://h/path"])
def test_other_endpoints_are_refused_without_their_secrets(value: str) -> None:
    with pytest.raises(ValueError, match=r"keys do not belong|write http") as caught:
        checked_endpoint(value)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd"])
def test_names_stay_inside_the_folder(tmp_path, name: str) -> None:
    objects = LocalObjects(tmp_path, setting="X")
    with pytest.raises(InvalidInput, match="leads out of"):
        objects.read(name)
    with pytest.raises(InvalidInput, match="leads out of"):
        objects.write(name, b"")


def test_a_folder_needs_no_boto3() -> None:
    code = (
        "import sys; from stores.releases import open_releases; open_releases('var/x').current(); "
        "import serving.settings, pipelines.settings, serving.__main__; print('boto3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_kind_of_location_decides(tmp_path) -> None:
    assert isinstance(open_objects(str(tmp_path), setting="X"), LocalObjects)
    with pytest.raises(InvalidInput, match=r"s3://B: 'B' is not a bucket name.*FRAUD_X"):
        open_objects("s3://B", setting="FRAUD_X")


def test_sparks_spelling_of_s3() -> None:
    assert s3_address("s3a://bucket/key") == "s3://bucket/key"
    assert s3_address("s3://bucket/key") == "s3://bucket/key"
    assert s3_address("var/data") == "var/data"


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """An empty place of either kind."""
    if request.param == "folder":
        return open_objects(str(tmp_path / "place"), setting="--data")
    server, bucket = request.getfixturevalue("s3_server"), request.getfixturevalue("s3_bucket")
    return open_objects(f"s3://{bucket}/place/", server.url, setting="--data")


def test_both_kinds_do_the_same(objects: Objects) -> None:
    assert objects.names() == []
    objects.write("b.json", b"one")
    objects.write("b.json", b"two")
    with objects.creating("a/part.parquet") as path:
        path.write_bytes(b"0123456789")
        assert objects.names() == ["b.json"]
    assert objects.names() == ["a/part.parquet", "b.json"]
    assert objects.read("b.json") == b"two"
    with objects.open("a/part.parquet") as file:
        assert file.size() == 10
        file.seek(4)
        assert file.read(3) == b"456"
    for work in (objects.read, objects.open):
        with pytest.raises(MissingObject, match="no such"):
            work("none")
    objects.remove("b.json")
    objects.remove("b.json")
    assert objects.names() == ["a/part.parquet"]


def test_what_fails_leaves_nothing(objects: Objects) -> None:
    objects.write("a.parquet", b"before")
    with pytest.raises(ZeroDivisionError), objects.creating("a.parquet") as path:
        path.write_bytes(bytes(1 // 0))
    assert objects.names() == ["a.parquet"]
    assert objects.read("a.parquet") == b"before"


def test_a_location_opens_the_same_elsewhere(objects: Objects, request: pytest.FixtureRequest) -> None:
    objects.write("x", b"1")
    url = "" if isinstance(objects, LocalObjects) else request.getfixturevalue("s3_server").url
    assert open_objects(objects.location, url, setting="--data").read("x") == b"1"


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    objects = LocalObjects(tmp_path / "file", setting="--output")
    with pytest.raises(Unavailable, match=r"Cannot write .*Check --output"), objects.creating("part") as path:
        path.write_bytes(b"")
    with pytest.raises(OSError, match="directory"):
        LocalObjects(tmp_path.parent, setting="--data").open(tmp_path.name).read(1)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make) -> None:
    make(tmp_path / "odd")
    with pytest.raises(Unavailable, match="it is not a file"):
        LocalObjects(tmp_path, setting="FRAUD_X").read("odd")


def test_a_link_in_a_ring_is_refused_and_one_to_a_file_is_read(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path, setting="FRAUD_X")
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    with pytest.raises(Unavailable, match="Cannot read"):
        objects.read("ring")
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert objects.read("link") == b"content"


def test_more_than_was_asked_for_is_not_read(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path, setting="FRAUD_X")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(Unavailable, match="more than 1000 bytes"):
        objects.read("large", 1_000)
    (tmp_path / "fits").write_bytes(b"x" * 1_000)
    assert len(objects.read("fits", 1_000)) == 1_000
