"""What AWS has beyond rclone: IAM policies that are enforced, and versions of objects (moto's server)."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from ml_project.errors import InvalidBundle, Unavailable
from stores.objects.s3 import S3Objects
from stores.releases import POINTER, open_releases
from tests.support.servers import moto_server
from tests.unit.stores.test_releases import publish

pytestmark = pytest.mark.slow
BUCKET = "releases-bucket"


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[str, dict[str, tuple[str, str]]]]:
    """An endpoint with a versioned bucket, and the keys of a publisher and of a reader."""
    with moto_server(free_requests=9) as url:
        root = {"endpoint_url": url, "region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
        s3, iam = boto3.client("s3", **root), boto3.client("iam", **root)
        s3.create_bucket(Bucket=BUCKET)
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        keys = {}
        for user, actions in {
            "publisher": ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:ListBucketVersions"],
            "reader": ["s3:GetObject", "s3:ListBucket"],
        }.items():
            iam.create_user(UserName=user)
            resources = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
            statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=policy)
            key = iam.create_access_key(UserName=user)["AccessKey"]
            keys[user] = key["AccessKeyId"], key["SecretAccessKey"]
        yield url, keys


@pytest.fixture
def become(moto: Any, s3_credentials: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a user's keys into the environment."""

    def become(user: str) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", moto[1][user][0])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", moto[1][user][1])

    return become


def test_a_reader_may_read_and_not_publish(moto, become, bundle, tmp_path) -> None:
    become("publisher")
    release = publish(open_releases(f"s3://{BUCKET}/a", moto[0]), bundle)
    become("reader")
    releases = open_releases(f"s3://{BUCKET}/a", moto[0])
    assert releases.current() == release
    releases.download_bundle(release, tmp_path / "bundle")
    with pytest.raises(Unavailable, match=r"access key .{4}\*\*\* may not do PutObject there \(AccessDenied\)"):
        publish(releases, bundle, 2)
    assert releases.current() == release


def test_a_changed_object_is_refused_and_an_earlier_version_is_still_there(moto, become, bundle, tmp_path) -> None:
    become("publisher")
    location = f"s3://{BUCKET}/b"
    releases = open_releases(location, moto[0])
    release = publish(releases, bundle)
    name = f"{release.location}/manifest.json"
    S3Objects(location, moto[0], setting="X").write(name, b"{}")
    with pytest.raises(InvalidBundle, match=r"manifest\.json has the digest"):
        releases.download_bundle(release, tmp_path / "bundle")
    # a session of its own: boto3's default one may have kept the keys of other tests
    client = boto3.Session().client("s3", endpoint_url=moto[0], region_name="us-east-1")
    kept = client.list_object_versions(Bucket=BUCKET, Prefix=f"b/{name}")["Versions"]
    assert [version["IsLatest"] for version in kept] == [True, False]
    assert len(client.list_object_versions(Bucket=BUCKET, Prefix=f"b/{POINTER}")["Versions"]) == 1
