"""`--data s3://…` against a real S3 server."""

import pandas as pd
import pytest

from ml_project.errors import InvalidInput, Unavailable
from pipelines.data.files import read_table
from pipelines.data.ingest import content_digest, ingest
from tests.support.creditcard import CREDITCARD
from tests.support.servers import S3Server


@pytest.fixture
def put(s3_server: S3Server, s3_bucket: str):
    return lambda key, content: s3_server.client().put_object(Bucket=s3_bucket, Key=key, Body=content)


def test_every_kind_of_object_gives_the_same_table(put, s3_server: S3Server, s3_bucket: str, simulated_frame) -> None:
    text, parquet = simulated_frame.to_csv(index=False).encode(), simulated_frame.to_parquet()
    for name, content in {
        "in/a.csv": text,
        "in/a.parquet": parquet,
        "in/spark.parquet/part-0.parquet": simulated_frame[:200].to_parquet(),
        "in/spark.parquet/part-1.parquet": simulated_frame[200:].to_parquet(),
        "in/spark.parquet/_SUCCESS": b"",
        "in/spark.parquet/_temporary/part-9.parquet": b"half-written",
    }.items():
        put(name, content)
    for key in ("a.csv", "a.parquet", "spark.parquet", "spark.parquet/"):
        frame = read_table(f"s3://{s3_bucket}/in/{key}", CREDITCARD, s3_server.url).frame
        pd.testing.assert_frame_equal(frame, simulated_frame, check_dtype=False)


def test_ingest_keeps_the_address_as_the_name(put, s3_server, s3_bucket: str, real_sample, tmp_path) -> None:
    put("sample.parquet", real_sample.to_parquet())
    location = f"s3://{s3_bucket}/sample.parquet"
    done = ingest(
        location, tmp_path / "x", CREDITCARD, cache=tmp_path, s3_endpoint_url=s3_server.url, on_notice=[].append
    )
    real_sample.to_parquet(tmp_path / "sample.parquet")
    local = ingest(str(tmp_path / "sample.parquet"), tmp_path / "y", CREDITCARD, cache=tmp_path, on_notice=[].append)
    assert (done.meta.source, done.meta.name, done.meta.digest) == ("file", location, local.meta.digest)
    assert content_digest(pd.read_parquet(tmp_path / "x")) == local.meta.digest


def test_what_cannot_be_read_is_named_by_its_address(put, s3_server: S3Server, s3_bucket: str) -> None:
    put("in/a.csv", b"")
    put("in/a.parquet", b"PAR1")
    put("folder/part-0.parquet", b"PAR1")
    put("in/a.xlsx", b"PK")

    def refused(location: str) -> str:
        with pytest.raises(InvalidInput) as caught:
            read_table(location, CREDITCARD, s3_server.url)
        assert caught.value.cause.startswith(location)
        return caught.value.cause

    root = f"s3://{s3_bucket}"
    assert "the file is empty" in refused(f"{root}/in/a.csv")
    assert "not a complete Parquet file" in refused(f"{root}/in/a.parquet")
    assert "part-0.parquet: not a complete Parquet file" in refused(f"{root}/folder")
    assert "not a supported kind of file" in refused(f"{root}/in/a.xlsx")
    assert "no such object, and no folder with CSV or Parquet files" in refused(f"{root}/none")
    assert "part-0.parquet: not a complete Parquet file" in refused(root)  # folders are read at any depth
    assert "there is no such bucket" in refused("s3://no-such-bucket/x.csv")
    assert "is not a bucket name" in refused("s3:///x.csv")


def test_a_wrong_secret_names_the_setting(s3_server: S3Server, s3_bucket: str, monkeypatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Unavailable, match=r"refuses the credentials.*AWS_SECRET_ACCESS_KEY"):
        read_table(f"s3://{s3_bucket}/a.csv", CREDITCARD, s3_server.url)
