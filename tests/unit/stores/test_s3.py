"""Objects in a real S3 server: what works, and one clear error for everything that does not.

What AWS has beyond rclone: IAM policies that are enforced, and versions of objects (moto's server).
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from ml_project.bundle import Bundle
from ml_project.errors import FraudError, InvalidBundle, InvalidInput, Unavailable
from stores.objects import MissingObject
from stores.releases import POINTER, Release, Releases, open_releases
from stores.s3 import S3Objects
from tests.support.processes import free_port
from tests.support.servers import ACCESS_KEY, SECRET_KEY, Proxy, S3Server, moto_server

BIG = os.urandom(20_000_000)


@pytest.fixture
def objects(s3_server: S3Server, s3_bucket: str) -> S3Objects:
    return at(s3_server.url, s3_bucket)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    with Proxy(s3_server.port) as running:
        yield running


def at(url: str, bucket: str) -> S3Objects:
    return S3Objects(f"s3://{bucket}/deep/prefix", url, setting="FRAUD_RELEASES_URI")


def refusal(work, kind: type[FraudError] = Unavailable) -> str:
    """The one line that people see; it holds no secret."""
    with pytest.raises(kind) as caught:
        work()
    assert caught.value.remedy
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET_KEY not in message
    assert "s3://" in message
    return message


def test_what_is_written_is_read(objects: S3Objects, s3_server: S3Server, s3_bucket: str) -> None:
    objects.write("a/b.json", b"one")
    objects.write("a/b.json", b"two")
    assert objects.read("a/b.json") == b"two"
    assert (s3_server.folder / s3_bucket / "deep" / "prefix" / "a" / "b.json").read_bytes() == b"two"
    assert objects.address("a/b.json") == f"s3://{s3_bucket}/deep/prefix/a/b.json"
    assert objects.names() == ["a/b.json"]


def test_big_files_go_in_parts(objects: S3Objects, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(BIG)
    objects.upload(tmp_path / "big", "big")
    objects.download("big", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == BIG
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "big"]


def test_missing_objects_and_buckets(objects: S3Objects, s3_server: S3Server, tmp_path: Path) -> None:
    assert "there is no such object" in refusal(lambda: objects.read("none"), MissingObject)
    assert "there is no such object" in refusal(lambda: objects.download("none", tmp_path / "x"), MissingObject)
    assert objects.names() == []
    nowhere = at(s3_server.url, "no-such-bucket")
    (tmp_path / "file").touch()
    for work in (
        lambda: nowhere.read("x"),
        lambda: nowhere.write("x", b""),
        lambda: nowhere.download("x", tmp_path / "x"),
        lambda: nowhere.upload(tmp_path / "file", "x"),
        nowhere.names,
    ):
        message = refusal(work, InvalidInput)
        assert "s3://no-such-bucket/deep/prefix" in message
        assert f"at {s3_server.url}: there is no such bucket. Check FRAUD_RELEASES_URI" in message
    assert list(tmp_path.glob("x*")) == []


def test_a_wrong_secret(s3_server: S3Server, s3_bucket: str, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    objects = at(s3_server.url, s3_bucket)
    for work in (lambda: objects.read("x"), lambda: objects.write("x", b""), lambda: objects.download("x", tmp_path)):
        message = refusal(work)
        assert "refuses the credentials (SignatureDoesNotMatch, access key AKIA***)" in message
        assert "AWS_SECRET_ACCESS_KEY" in message
        assert ACCESS_KEY not in message


def test_no_credentials_at_all(s3_server: S3Server, s3_bucket: str, monkeypatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "there are no AWS credentials" in refusal(lambda: at(s3_server.url, s3_bucket).read("x"))


def test_nobody_listens(s3_credentials, tmp_path: Path) -> None:
    objects = at(f"http://127.0.0.1:{free_port()}", "bucket")
    (tmp_path / "file").write_bytes(b"x")
    for work in (lambda: objects.read("x"), lambda: objects.upload(tmp_path / "file", "x"), objects.names):
        message = refusal(work)
        assert "the connection is refused. Check FRAUD_S3_ENDPOINT_URL" in message


def test_an_unknown_host(s3_credentials) -> None:
    assert "the host is unknown" in refusal(lambda: at("http://no-such-host.invalid", "bucket").read("x"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "words"), [("hang", "the server stopped answering"), ("trickle", "not done within")]
)
def test_a_server_that_hangs_or_trickles(
    objects: S3Objects, proxy: Proxy, s3_bucket: str, behaviour, words: str, tmp_path: Path
) -> None:
    objects.write("pointer", b"x" * 200)
    proxy.behaviour = behaviour
    slow = at(proxy.url, s3_bucket)
    for work in (lambda: slow.read("pointer"), slow.names):
        assert words in refusal(work)


@pytest.mark.slow
def test_a_server_that_falls_silent_in_the_middle_of_a_load(
    objects: S3Objects, proxy: Proxy, s3_bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(BIG)
    objects.upload(tmp_path / "big", "big")
    proxy.behaviour = "stall"
    slow = at(proxy.url, s3_bucket)
    assert "the server stopped answering" in refusal(lambda: slow.download("big", tmp_path / "x"))
    proxy.behaviour = "hang"
    assert "the server stopped answering" in refusal(lambda: slow.upload(tmp_path / "big", "big"))
    assert [path.name for path in tmp_path.iterdir()] == ["big"]


def test_a_server_that_goes_away_in_the_middle_of_a_load(
    objects: S3Objects, proxy: Proxy, s3_bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(BIG)
    objects.upload(tmp_path / "big", "big")
    proxy.behaviour = "cut"
    cut = at(proxy.url, s3_bucket)
    assert "the connection broke" in refusal(lambda: cut.download("big", tmp_path / "x"))
    assert "the connection broke" in refusal(lambda: cut.read("big"))
    assert [path.name for path in tmp_path.iterdir()] == ["big"]


def test_an_upload_that_is_cut_off_leaves_the_old_object(
    objects: S3Objects, s3_server: S3Server, s3_bucket: str, tmp_path: Path
) -> None:
    objects.write("big", b"old")
    (tmp_path / "big").write_bytes(BIG)
    with Proxy(s3_server.port, "cut") as proxy:
        proxy.cut_after = 600
        message = refusal(lambda: at(proxy.url, s3_bucket).upload(tmp_path / "big", "big"))
    assert "connection" in message
    assert objects.read("big") == b"old"
    assert objects.names() == ["big"]


def test_content_that_is_not_what_was_written(
    objects: S3Objects, s3_server: S3Server, s3_bucket: str, tmp_path: Path
) -> None:
    s3_server.client().put_object(
        Bucket=s3_bucket,
        Key="deep/prefix/x",
        Body=b"broken",
        Metadata={"sha256": hashlib.sha256(b"intact").hexdigest()},
    )
    assert "the content has SHA-256" in refusal(lambda: objects.read("x"))
    assert "the content has SHA-256" in refusal(lambda: objects.download("x", tmp_path / "x"))


def test_a_wrong_clock_is_told(objects: S3Objects, monkeypatch) -> None:
    import botocore.auth

    later = datetime.now(UTC) + timedelta(hours=3)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: later.replace(tzinfo=None))
    message = refusal(lambda: objects.read("x"))
    assert "this machine's clock is wrong" in message
    assert "NTP" in message


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


def publish(releases: Releases, bundle: Bundle, version: int) -> Release:
    return releases.publish(bundle, "fraud-ensemble", version, {"passed": True}, datetime(2026, 1, 2, tzinfo=UTC))


def test_a_reader_may_read_and_not_publish(moto, become, bundle, tmp_path) -> None:
    become("publisher")
    release = publish(open_releases(f"s3://{BUCKET}/a", moto[0]), bundle, 1)
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
    release = publish(releases, bundle, 1)
    name = f"{release.location}/manifest.json"
    S3Objects(location, moto[0], setting="X").write(name, b"{}")
    with pytest.raises(InvalidBundle, match=r"manifest\.json has the digest"):
        releases.download_bundle(release, tmp_path / "bundle")
    # a session of its own: boto3's default one may have kept the keys of other tests
    client = boto3.Session().client("s3", endpoint_url=moto[0], region_name="us-east-1")
    kept = client.list_object_versions(Bucket=BUCKET, Prefix=f"b/{name}")["Versions"]
    assert [version["IsLatest"] for version in kept] == [True, False]
    assert len(client.list_object_versions(Bucket=BUCKET, Prefix=f"b/{POINTER}")["Versions"]) == 1


def test_an_object_or_those_below_are_fetched(objects: S3Objects, s3_server: S3Server, s3_bucket: str) -> None:
    for name in ("data/1.parquet", "data/2.parquet", "data/_SUCCESS", "data/deeper/3.parquet"):
        objects.write(name, name.encode())
    folder = S3Objects(f"{objects.location}/data", s3_server.url, setting="--data")
    with folder.fetched(lambda name: name.endswith(".parquet")) as copy:
        assert copy.name == "data"
        found = sorted(str(path.relative_to(copy)) for path in copy.rglob("*.parquet"))
        assert found == ["1.parquet", "2.parquet", "deeper/3.parquet"]
        assert sorted(path.name for path in copy.iterdir()) == ["1.parquet", "2.parquet", "deeper"]
    assert not copy.exists()
    single = S3Objects(objects.address("data/1.parquet"), s3_server.url, setting="--data")
    with single.fetched(str.isdigit) as copy:
        assert (copy.name, copy.read_bytes()) == ("1.parquet", b"data/1.parquet")
    with pytest.raises(MissingObject), folder.fetched(str.isdigit):
        pass


def test_moving_between_prefixes(objects: S3Objects, s3_server: S3Server) -> None:
    staging = S3Objects(f"{objects.location}/_scoring", s3_server.url, setting="--output")
    staging.write("part", b"x")
    objects.take(staging, "part")
    assert objects.names() == ["part"]
    assert objects.read("part") == b"x"
