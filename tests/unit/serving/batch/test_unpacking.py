"""Files that grow when they are unpacked end their child and nothing else; what it gives is plain."""

import io
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.batch import ARROW, CHUNK_ROWS, PARQUET
from serving.batch.readers import columns_of
from serving.batch.unpacking import NotUnpacked, Unpacking, read_batches, read_schema
from tests.support.creditcard import CREDITCARD
from tests.support.machine import ROOT

MEBIBYTE = 2**20
WANTED = columns_of(CREDITCARD)
MANY = 8 * 10**6
"""Numbers of 64 MB, which compress to some kilobytes."""


def as_parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, **{"compression": "zstd", "write_statistics": False, **options})
    return sink.getvalue()


def as_arrow(table: pa.Table, compression: str | None = None) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return sink.getvalue()


ENCODE: dict[str, Callable[[pa.Table], bytes]] = {PARQUET: as_parquet, ARROW: as_arrow}


def unpack(
    content: bytes,
    media_type: str,
    target: BinaryIO,
    memory: int = 256 * MEBIBYTE,
    rows: int = 10**6,
    size: int = 100 * MEBIBYTE,
) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        Unpacking(file, target, media_type, WANTED, memory, rows, size, seconds=60).wait()


def one_text_for_all_rows() -> bytes:
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(CHUNK_ROWS, np.int32)), pa.array(["x" * MEBIBYTE]))
    return as_parquet(pa.table({"transaction_id": text}), store_schema=False, dictionary_pagesize_limit=2**30)


@pytest.mark.parametrize("encoded", [False, True])
def test_a_zone_whose_name_is_no_text_is_refused_here(encoded: bool) -> None:
    """Who reads what is unpacked asks for it, and does not expect a fault."""
    moments = pa.array([0], pa.timestamp("us", "UTC"))
    table = pa.table({"event_time": moments.dictionary_encode() if encoded else moments})
    content = as_arrow(table).replace(b"UTC", b"U\x80C")
    with tempfile.TemporaryFile() as target, pytest.raises(NotUnpacked):
        unpack(content, ARROW, target)


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "one text for all rows": (PARQUET, one_text_for_all_rows),
    "a compressed record batch": (ARROW, lambda: as_arrow(pa.table({"Time": np.zeros(MANY)}), "zstd")),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_that_becomes_large(kind: str) -> None:
    media_type, make = BOMBS[kind]
    content = make()
    assert len(content) < MEBIBYTE
    with tempfile.TemporaryFile() as target, pytest.raises(NotUnpacked, match="more memory than it may") as refused:
        unpack(content, media_type, target, memory=32 * MEBIBYTE, rows=MANY)
    assert refused.value.too_large


@pytest.mark.parametrize("media_type", ENCODE)
def test_rows_are_counted(media_type: str) -> None:
    content = ENCODE[media_type](pa.table({"Time": np.zeros(20_000)}))
    with tempfile.TemporaryFile() as target:
        unpack(content, media_type, target, rows=20_000)
        assert sum(map(len, read_batches(target))) == 20_000
    with tempfile.TemporaryFile() as target, pytest.raises(NotUnpacked, match="more than 19999 rows") as refused:
        unpack(content, media_type, target, rows=19_999)
    assert refused.value.too_large


def test_bytes_on_the_disk_are_counted() -> None:
    content = as_parquet(pa.table({"Time": np.zeros(500_000)}))
    with tempfile.TemporaryFile() as target, pytest.raises(NotUnpacked, match="larger than an upload") as refused:
        unpack(content, PARQUET, target, size=MEBIBYTE)
    assert refused.value.too_large


@pytest.mark.parametrize("media_type", ENCODE)
def test_what_comes_out_is_plain(media_type: str) -> None:
    table = pa.table(
        {
            "Colour": ["red", "blue"],
            "event_time": pa.array(["2026-01-02T03:04:05Z", None], pa.string_view()),
            "transaction_id": pa.array(["a", "b"], pa.large_string()).dictionary_encode(),
            "Time": pa.array([1, 2], pa.int16()),
        }
    )
    with tempfile.TemporaryFile() as target:
        unpack(ENCODE[media_type](table), media_type, target)
        assert read_schema(target).names == table.schema.names
        (batch,) = read_batches(target)
    assert batch.to_pydict() == {
        "event_time": ["2026-01-02T03:04:05Z", None],
        "transaction_id": ["a", "b"],
        "Time": [1, 2],
    }
    assert batch.schema.types == [pa.string(), pa.string(), pa.int16()]


def test_a_long_text_that_many_rows_show() -> None:
    shown = pa.DictionaryArray.from_arrays(pa.array(np.zeros(CHUNK_ROWS, np.int32)), pa.array(["x" * 10_000]))
    with tempfile.TemporaryFile() as target, pytest.raises(NotUnpacked, match="8192 rows of a text column") as refused:
        unpack(as_arrow(pa.table({"transaction_id": shown})), ARROW, target)
    assert not refused.value.too_large


@pytest.mark.parametrize("media_type", ENCODE)
@pytest.mark.parametrize("content", [b"", b"nonsense" * 20])
def test_what_is_no_such_file(media_type: str, content: bytes) -> None:
    with tempfile.TemporaryFile() as target, pytest.raises(NotUnpacked) as refused:
        unpack(content, media_type, target)
    assert refused.value.cause == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_is_ended(number: signal.Signals) -> None:
    """Killed with its client, or brought down by what it read."""
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as target:
        file.write(b"x")
        file.flush()
        unpacking = Unpacking(file, target, PARQUET, WANTED, 256 * MEBIBYTE, 10, MEBIBYTE, seconds=60)
        unpacking._child.send_signal(number)
        with pytest.raises(NotUnpacked):
            unpacking.wait()


def test_a_child_knows_no_secret(monkeypatch) -> None:
    started: list[dict[str, Any]] = []
    monkeypatch.setattr("subprocess.Popen", lambda *_command, **options: started.append(options))
    monkeypatch.setenv("FRAUD_BOOTSTRAP_KEY", "x" * 40)
    with tempfile.TemporaryFile() as file:
        Unpacking(file, file, PARQUET, WANTED, MEBIBYTE, 10, MEBIBYTE, seconds=1)
    assert "x" * 40 not in started[0]["env"].values()


def test_a_child_imports_what_it_needs_alone() -> None:
    """It starts for every file, of whatever size: pydantic alone would take as long as all else that it does."""
    code = "import json, sys, serving.batch.unpacking; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout))
    assert "pyarrow" in imported
    assert not imported & {"pydantic", "ml_project.contract", "pandas", "fastapi"}
