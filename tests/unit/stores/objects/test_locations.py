import subprocess
import sys

import pytest

from ml_project.errors import InvalidInput
from stores.objects import LocalObjects, checked_endpoint, checked_location, open_objects


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
    with pytest.raises(InvalidInput, match=r"s3://B: 'B' is no name of a bucket.*FRAUD_X"):
        open_objects("s3://B", setting="FRAUD_X")
