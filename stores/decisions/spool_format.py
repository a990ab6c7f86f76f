"""What a spool file consists of: length, CRC-32, then a decision as JSON or a chunk as JSON and an Arrow stream."""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from typing import Any, BinaryIO, Final

import numpy as np

from ml_project.schema import OUTPUTS, RAW_FEATURES
from stores.decisions.records import DecisionRecord
from stores.decisions.segments import Chunk, read_stream

_FRAME: Final = struct.Struct("<II")
_HEADER: Final = struct.Struct("<I")
_DECISION, _CHUNK = b"D", b"C"
_TIMES: Final = ("received_at", "event_time")


class BadRecord(Exception):
    """A whole record whose bytes are not what was written."""


def encode(item: DecisionRecord | Chunk) -> bytes:
    """One framed record."""
    if isinstance(item, DecisionRecord):
        values = {field.name: getattr(item, field.name) for field in fields(item)}
        payload = _DECISION + json.dumps(values, default=datetime.isoformat).encode()
    else:
        review = {"sample": sorted(item.sample), "sample_rate": item.sample_rate}
        header = {**item.shared, "segment_id": item.segment_id, **review}
        text = json.dumps(header, default=datetime.isoformat).encode()
        payload = _CHUNK + _HEADER.pack(len(text)) + text + item.content
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def read_payloads(file: BinaryIO) -> Iterator[bytes | BadRecord]:
    """Payloads in order; ends quietly where the last record is torn.

    A record of no bytes is a torn one too: power loss can leave zeros behind, whose CRC-32 is zero as well.
    """
    while len(frame := file.read(_FRAME.size)) == _FRAME.size:
        length, crc = _FRAME.unpack(frame)
        payload = file.read(length)
        if not length or len(payload) < length:
            return
        yield payload if zlib.crc32(payload) == crc else BadRecord(f"a record of {length} bytes")


def decode(payload: bytes) -> DecisionRecord | Chunk:
    """Inverse of `encode`, without the frame."""
    if payload[:1] == _DECISION:
        values = json.loads(payload[1:])
        return DecisionRecord(**_with_times(values) | {"inputs": tuple(values["inputs"])})
    (length,) = _HEADER.unpack_from(payload, 1)
    start = 1 + _HEADER.size
    header = _with_times(json.loads(payload[start : start + length]))
    table = read_stream(payload[start + length :])
    optional = {name: table.column(name).to_pylist() for name in table.column_names if name in _OPTIONAL}
    reasons = {row: json.loads(text) for row, text in enumerate(optional.get("reasons", ())) if text is not None}
    header.pop("listed", None)  # always empty in what older software spooled
    return Chunk(
        **header | {"sample": frozenset(header.get("sample", ()))},
        raw=np.column_stack([table.column(name).to_numpy() for name in RAW_FEATURES]),
        scores=np.stack([table.column(name).to_numpy() for name in OUTPUTS]),
        decisions=table.column("decision").to_pylist(),
        transaction_ids=optional.get("transaction_id"),
        event_times=optional.get("event_time"),
        reasons=reasons,
    )


_OPTIONAL: Final = ("transaction_id", "event_time", "reasons")


def _with_times(values: dict[str, Any]) -> dict[str, Any]:
    times = {name: datetime.fromisoformat(values[name]) for name in _TIMES if values.get(name) is not None}
    return values | times
