"""Files and requests with changed bytes: what they are made from, and what is changed."""

import csv
import io
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import ipc, parquet

from serving.batch import ARROW, CSV, JSON, PARQUET
from tests.support.creditcard import CREDITCARD, RAW_FEATURES, TRANSACTION

_ROWS: Final = 40
_HEAD, _TAIL = 1_500, 6_000
"""Bytes at both ends of a file, where its structure is described."""

_INTEGERS: Final = (0, 1, -1, 255, 65_536, 2**28, 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1, -(2**31), -(2**63))
_TEXTS: Final = (
    *(b'"', b'""', b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80"),
    *(b"nan", b"1e999", b"-0.0", b"-1", b"null", b"true", b"{", b"[", b"]", b"}", b":", b"\\ud800", b"=1+1", b"''"),
)


MOST_BYTES: Final = 10**9
"""What a gateway or a command may need, whatever it is sent or given."""


def peak_memory(pid: int) -> int:
    """The most memory that a process has had since its program began, in bytes; 0 where the system does not say.

    ``getrusage`` would not do: its figure outlives an exec, so a child of a large test process begins with that one's.
    """
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


def changed(content: bytes, rng: random.Random) -> bytes:
    """A content with one to six changes: bytes, bits, integers, words, copies, gaps, ends."""
    mutable = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if not mutable:
            break
        rng.choice(_CHANGES)(mutable, _place(len(mutable), rng), rng)
    return bytes(mutable)


def _place(length: int, rng: random.Random) -> int:
    first, last = rng.choice(((0, length), (0, min(_HEAD, length)), (max(0, length - _TAIL), length)))
    return rng.randrange(first, last)


def _byte(content: bytearray, place: int, rng: random.Random) -> None:
    content[place] = rng.randrange(256)


def _bit(content: bytearray, place: int, rng: random.Random) -> None:
    content[place] ^= 1 << rng.randrange(8)


def _integer(content: bytearray, place: int, rng: random.Random) -> None:
    size = rng.choice((4, 8))
    value = rng.choice(_INTEGERS) % 2 ** (8 * size)
    content[place : place + size] = value.to_bytes(size, "little")


def _text(content: bytearray, place: int, rng: random.Random) -> None:
    length = rng.randrange(4)
    content[place : place + length] = rng.choice(_TEXTS)


def _copy(content: bytearray, place: int, rng: random.Random) -> None:
    source, length = rng.randrange(len(content)), rng.randrange(1, 40)
    content[place : place + length] = content[source : source + length]


def _repeat(content: bytearray, place: int, rng: random.Random) -> None:
    piece = content[place : place + rng.randrange(1, 20)]
    content[place:place] = piece * rng.randrange(1, 200)


def _gap(content: bytearray, place: int, rng: random.Random) -> None:
    del content[place : place + rng.randrange(1, 20)]


def _end(content: bytearray, place: int, _rng: random.Random) -> None:
    del content[place:]


_CHANGES: Final[tuple[Callable[[bytearray, int, random.Random], None], ...]] = (
    *(_byte, _bit, _integer, _text, _copy, _repeat, _gap, _end),
)


def tables(*, labelled: bool = False) -> list[tuple[str, bytes]]:
    """Good files of a few rows, each as its media type and content, in the forms that their formats know.

    Those with labels have a time in each row, too, as the pipelines want them.
    """
    columns: dict[str, Any] = {name: np.arange(_ROWS) + place / 7 for place, name in enumerate(RAW_FEATURES)}
    columns["transaction_id"] = [None, *map(str, range(1, _ROWS))]
    moments = [None if row % 3 == 0 and not labelled else 1_700_000_000_000_000 + row for row in range(_ROWS)]
    columns["event_time"] = pa.array(moments, pa.timestamp("us", "UTC"))
    if labelled:
        columns[CREDITCARD.label_field] = (np.arange(_ROWS) % 5 == 0).astype(int)
    table = pa.table(columns)
    return [
        *((PARQUET, _parquet(table, **options)) for options in _PARQUET_FORMS),
        *((ARROW, _arrow(table, compression)) for compression in (None, "zstd", "lz4")),
        *((CSV, content) for content in _csvs(table)),
        (JSON, json.dumps([dict(TRANSACTION, transaction_id=f"json-{row}") for row in range(5)]).encode()),
    ]


_PARQUET_FORMS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"compression": "none", "use_dictionary": False},
    {"compression": "zstd", "data_page_version": "2.0"},
    {"use_byte_stream_split": list(RAW_FEATURES[:3]), "use_dictionary": False},
    {"use_dictionary": False, "column_encoding": {"transaction_id": "DELTA_BYTE_ARRAY"}},
    {"write_page_index": True, "store_schema": False},
)


def _parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, row_group_size=15, **options)
    return sink.getvalue()


def _arrow(table: pa.Table, compression: str | None) -> bytes:
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema, options=ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=15)
    return sink.getvalue()


def _csvs(table: pa.Table) -> list[bytes]:
    forms = []
    for quoting, end in ((csv.QUOTE_MINIMAL, "\n"), (csv.QUOTE_ALL, "\r\n")):
        text = io.StringIO()
        writer = csv.writer(text, quoting=quoting, lineterminator=end)
        writer.writerow(table.column_names)
        writer.writerows([["" if value is None else value for value in row.values()] for row in table.to_pylist()])
        forms.append(text.getvalue().encode())
    return forms


_ID: Final = "019a8c5e-4b1f-7c3a-9d52-6f0e8b7a1c24"

Request = tuple[str, str, dict[str, str], bytes]
"""Method, target, headers and body."""


def requests() -> list[Request]:
    """Good requests of every kind that clients send; a file of each type, whose forms are for `tables` alone."""
    json_type = {"Content-Type": JSON}
    body = json.dumps(TRANSACTION).encode()
    label = json.dumps({"transaction_id": TRANSACTION["transaction_id"], "label": "fraud"}).encode()
    claim = json.dumps({"prediction_ids": [_ID], "session": "window-1", "seconds": 120}).encode()
    reads = (
        "/predictions?limit=5&labelled=false",
        f"/predictions/{_ID}",
        "/queue?today=2026-03-01T00:00:00Z&decision=DECLINE",
        "/watch?hours=1",
    )
    return [
        ("POST", "/predict?explain=true", json_type, body),
        ("POST", "/predict", json_type, body),
        ("POST", "/predict?trial=true&keep=false", json_type, body),
        ("POST", "/predict-batch?on_error=skip", json_type, b"[%b, %b]" % (body, body)),
        ("POST", "/feedback", json_type, label),
        ("POST", "/feedback", json_type, b"[%b, %b]" % (label, label)),
        ("POST", "/claims", json_type, claim),
        *(("POST", "/predict-batch", {"Content-Type": kind}, content) for kind, content in dict(tables()).items()),
        *(("GET", target, {"Accept": JSON}, b"") for target in (*reads, "/model", "/model/history", "/features")),
        *(
            ("GET", target, {"Accept": JSON}, b"")
            for target in ("/metrics", "/health/ready", "/", "/docs", "/openapi.json")
        ),
    ]


def changed_request(request: Request, rng: random.Random) -> Request:
    """A request with changes in one of its parts; none that HTTP itself forbids."""
    method, target, headers, body = request
    part = rng.randrange(5)
    if part == 0:
        method = rng.choice(("GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "X"))
    if part in (0, 1):
        target = "/" + _printable(changed(target.encode(), rng)).lstrip("/")
    if part == 2:
        name = rng.choice((*headers, "Accept", "Content-Encoding", "X-Request-ID", "Origin", "Range", "If-None-Match"))
        headers = headers | {name: _printable(changed(headers.get(name, "gzip, */*;q=0.1").encode(), rng))}
    if part >= 3 or not body:
        body = changed(body, rng) if body else rng.randbytes(rng.randrange(50))
    return method, target, headers, body


def _printable(content: bytes) -> str:
    """In ASCII without blanks; other bytes in percent signs, as clients put them."""
    return "".join(chr(byte) if 0x21 <= byte < 0x7F else f"%{byte:02X}" for byte in content)
