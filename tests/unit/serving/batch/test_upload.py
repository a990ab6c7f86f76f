"""Uploads: a form's one file, and memory that does not grow with the rows."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_project.errors import FraudError
from ml_project.scorer import Scorer
from serving.batch.upload import FormFile
from serving.errors import MalformedFile, UnsupportedMediaType
from stores.releases import open_releases
from tests.support.creditcard import RAW_FEATURES
from tests.support.sizes import few_or_full


def form(**parts: tuple[str | None, bytes, str]) -> tuple[str, bytes]:
    request = httpx.Request("POST", "http://host", files=parts)
    return request.headers["content-type"], request.read()


def taken(content_type: str, body: bytes, size: int = 7) -> tuple[str, bytes]:
    parser = FormFile(content_type)
    content = b"".join(parser.feed(body[at : at + size]) for at in range(0, len(body), size))
    return parser.close(), content


@given(st.binary(max_size=300), st.integers(1, 400))
def test_the_files_bytes_come_out_as_they_are(content, size) -> None:
    header, body = form(note=(None, b"a remark", "text/plain"), file=("a.bin", content, "text/csv"))
    assert taken(header, body, size) == ("text/csv", content)


@pytest.mark.parametrize(
    ("name", "content_type", "media_type"),
    [
        ("a.csv", "application/vnd.ms-excel", "text/csv"),
        ("A.CSV", "application/octet-stream", "text/csv"),
        ("a", "text/csv; charset=utf-8", "text/csv"),
        ("a.csv", "application/json", "application/json"),
        ("a.parquet", "application/octet-stream", "application/vnd.apache.parquet"),
        ("a.arrows", "application/octet-stream", "application/vnd.apache.arrow.stream"),
    ],
)
def test_the_type_is_the_parts_own_or_told_by_its_name(name, content_type, media_type) -> None:
    assert taken(*form(file=(name, b"x", content_type))) == (media_type, b"x")


@pytest.mark.parametrize(
    "part",
    [
        b"--b\r\nContent-Disposition: form-data; name=f\r\n\r\nx\r\n" * 20,
        b"--b\r\nX-A: " + b"a" * 20_000,
        b"--b\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(3_000)),
    ],
)
def test_a_form_of_nothing_but_wrapping_is_refused(part) -> None:
    with pytest.raises(MalformedFile, match=r"more than 16 parts|Maximum header (size|count) exceeded"):
        taken("multipart/form-data; boundary=b", part + b"\r\n--b--\r\n", 4_096)


def test_files_of_other_types() -> None:
    with pytest.raises(UnsupportedMediaType):
        taken(*form(file=("a.xlsx", b"x", "application/octet-stream")))


def test_forms_that_hold_not_one_file() -> None:
    file = ("a.csv", b"x", "text/csv")
    with pytest.raises(MalformedFile, match="more than one"):
        taken(*form(one=file, two=file))
    with pytest.raises(MalformedFile, match="no file"):
        taken(*form(note=(None, b"x", "text/plain")))


def test_forms_that_are_cut_off_or_none() -> None:
    header, body = form(file=("a.csv", b"1,2,3", "text/csv"))
    for length in range(len(body) - 4):
        with pytest.raises(FraudError):
            taken(header, body[:length])
    with pytest.raises(MalformedFile, match="cannot be read"):
        taken(header, b"nonsense " * 10)
    with pytest.raises(MalformedFile, match="boundary"):
        FormFile("multipart/form-data")


ROOT = Path(__file__).resolve().parents[4]
HEADER = ",".join(RAW_FEATURES).encode() + b"\n"
PART_ROWS = 2_000


@dataclass
class Gateway:
    """A gateway in a process of its own."""

    client: httpx.Client
    process: psutil.Process

    @property
    def memory(self) -> float:
        """Resident megabytes."""
        return self.process.memory_info().rss / 2**20


@pytest.fixture
def own_process(tmp_path: Path, scorer: Scorer) -> Iterator[Gateway]:
    open_releases(str(tmp_path / "releases")).publish(scorer.bundle, "fraud-ensemble", 1, {}, datetime.now(UTC))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    settings = {
        "FRAUD_STATE_DIR": str(tmp_path / "state"),
        "FRAUD_RELEASES_URI": str(tmp_path / "releases"),
        "FRAUD_TRACKING_URI": "http://127.0.0.1:9",
        "FRAUD_PORT": str(port),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "FRAUD_MAX_UPLOAD_ROWS": "2000000",
    }
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving"], cwd=ROOT, env=os.environ | settings, stdout=log, stderr=log
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            wait_until_ready(client, tmp_path / "log")
            yield Gateway(client, psutil.Process(process.pid))
    finally:
        process.kill()
        process.wait()


def wait_until_ready(client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if client.get("/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def peak_during_upload(gateway: Gateway, part: bytes, rows: int) -> float:
    """Highest resident megabytes while a CSV of that many rows goes up and its answer comes down."""
    parts = rows // PART_ROWS
    body = (HEADER if place == 0 else part for place in range(parts + 1))
    lines, peak = -1, 0.0
    with gateway.client.stream("POST", "/predict-batch", content=body, headers={"Content-Type": "text/csv"}) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_raw():
            lines += piece.count(b"\n")
            peak = max(peak, gateway.memory)
    assert lines == parts * PART_ROWS
    return peak


@pytest.fixture(scope="module")
def part(raw_rows: np.ndarray) -> bytes:
    rows = np.resize(raw_rows, (PART_ROWS, len(RAW_FEATURES)))
    return b"".join(",".join(map(str, row)).encode() + b"\n" for row in rows.tolist())


def test_two_hundred_thousand_rows(own_process: Gateway, part: bytes) -> None:
    # Threads, allocators and libraries settle with the first chunks; what counts is what more rows add.
    settled = peak_during_upload(own_process, part, 20_000)
    assert peak_during_upload(own_process, part, 200_000) - settled < 60


@pytest.mark.parametrize("rows", few_or_full(400_000, 2_000_000))
def test_millions_of_rows_in_half_a_gigabyte(own_process: Gateway, part: bytes, rows: int) -> None:
    assert peak_during_upload(own_process, part, rows) < 500
