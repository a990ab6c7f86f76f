"""How a spool file is written: decisions and chunks as records that damage elsewhere in the file cannot hide.

A record is the file's mark, its length, the CRC-32 of its content and one of these sixteen bytes, then the content: a
decision as JSON, or a chunk as JSON and an Arrow stream. Whatever is damaged, the next mark is where reading goes on.
The mark is a random number that also ends the file's name: nothing that a client sends can be taken for a record.

The contracts that records speak of lie beside the files, each under its digest. Records of earlier releases name none:
they are about the public table.

Files of earlier releases (``.spool``) had a length and the content's CRC-32 alone; they are read as far as they are
whole.
"""

import hashlib
import json
import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from ml_project.contract_parts import OUTPUTS
from stores.decisions.records import DecisionRecord, KeptContract
from stores.decisions.segments import Chunk, raw_fields_of, raw_of, read_stream
from stores.files import write_atomically

SUFFIX: Final = ".spool2"
OLD_SUFFIX: Final = ".spool"

_MARK_BYTES: Final = 8
_FRAME: Final = struct.Struct(f"<{_MARK_BYTES}sII")
_CHECK: Final = struct.Struct("<I")
_START: Final = _FRAME.size + _CHECK.size
_OLD_FRAME: Final = struct.Struct("<II")
_HEADER: Final = struct.Struct("<I")
_DECISION, _CHUNK = b"D", b"C"
_CONTRACT_SUFFIX: Final = ".contract"
_TIMES: Final = ("received_at", "event_time")


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes from ``start`` to ``end`` of a file that are not what was written."""

    start: int
    end: int


def new_name() -> str:
    """A file's name: names sort by time, and end in the mark of the file's records."""
    return f"{time.time_ns():020d}-{os.urandom(_MARK_BYTES).hex()}{SUFFIX}"


def mark_of(path: Path) -> bytes:
    """The mark that the records of a file begin with.

    Raises
    ------
    ValueError
        When the file was given another name.
    """
    mark = bytes.fromhex(path.stem.rpartition("-")[2])
    if len(mark) != _MARK_BYTES:
        raise ValueError(path.name)
    return mark


def framed(content: bytes, mark: bytes) -> bytes:
    """A record."""
    frame = _FRAME.pack(mark, len(content), zlib.crc32(content))
    return frame + _CHECK.pack(zlib.crc32(frame)) + content


def read_records(data: Any, path: Path) -> Iterator[bytes | Damage]:
    """Contents of a file's records in order, with the damage between them.

    An unfinished record at the end, or zeros, are what a kill or a loss of power leaves of a record that was never
    acknowledged; they are no damage.

    Parameters
    ----------
    data : bytes or mmap
        All of the file.
    path : Path
        Its name says of which release it is, and what its mark is; under another name it all counts as damage.
    """
    if path.suffix == OLD_SUFFIX:
        yield from _read_old(data)
        return
    place, size = 0, len(data)
    try:
        mark = mark_of(path)
    except ValueError:
        yield Damage(0, size)
        return
    while place < size:
        content = _content(data, place, mark)
        if content is not None:
            yield content
            place += _START + len(content)
            continue
        following = _next_record(data, place + 1, mark)
        if following is None and _unfinished(data, place, mark):
            return
        yield Damage(place, size if following is None else following)
        place = size if following is None else following


def _content(data: Any, place: int, mark: bytes) -> bytes | None:
    """The content of the whole record that begins here, if one does."""
    length = _length(data, place, mark)
    if length is None:
        return None
    start = place + _START
    content = bytes(data[start : start + length])
    crc = _FRAME.unpack_from(data, place)[2]
    return content if len(content) == length and zlib.crc32(content) == crc else None


def _length(data: Any, place: int, mark: bytes) -> int | None:
    """The length that a whole frame at this place says."""
    if len(data) - place < _START:
        return None
    found, length, _crc = _FRAME.unpack_from(data, place)
    (check,) = _CHECK.unpack_from(data, place + _FRAME.size)
    whole = found == mark and zlib.crc32(data[place : place + _FRAME.size]) == check
    return int(length) if whole else None


def _next_record(data: Any, place: int, mark: bytes) -> int | None:
    """Where the next whole record begins."""
    while (place := data.find(mark, place)) >= 0:
        if _content(data, place, mark) is not None:
            return place
        place += 1
    return None


def _unfinished(data: Any, place: int, mark: bytes) -> bool:
    rest = bytes(data[place : place + _START])
    if not rest.strip(b"\0"):
        return not bytes(data[place:]).strip(b"\0")
    length = _length(data, place, mark)
    if length is None:
        return len(rest) < _START and rest[:_MARK_BYTES] == mark[: len(rest)]
    return len(data) - place - _START < length


def _read_old(data: Any) -> Iterator[bytes | Damage]:
    place, size = 0, len(data)
    while size - place >= _OLD_FRAME.size:
        length, crc = _OLD_FRAME.unpack_from(data, place)
        start = place + _OLD_FRAME.size
        content = bytes(data[start : start + length])
        if not length or len(content) < length:
            break
        yield content if zlib.crc32(content) == crc else Damage(place, start + length)
        place = start + length
    if bytes(data[place:]).strip(b"\0"):  # a wrong length and an unfinished record look the same here
        yield Damage(place, size)


def write_contract(folder: Path, contract: KeptContract) -> None:
    """Keep a contract beside the spool files, for good: it is small, and other files may speak of it."""
    path = folder / f"{contract.digest}{_CONTRACT_SUFFIX}"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, json.dumps(asdict(contract)).encode())


def read_contract(folder: Path, digest: str | None) -> KeptContract:
    """The contract that a record names.

    Raises
    ------
    OSError, ValueError
        When it is not there, or not what was written.
    """
    if digest is None:
        from ml_project.contract_file import contract_named

        return KeptContract.of(contract_named())
    values = json.loads((folder / f"{digest}{_CONTRACT_SUFFIX}").read_bytes())
    if hashlib.sha256(values["content"].encode()).hexdigest() != digest:
        raise ValueError(f"the contract {digest} is damaged")
    return KeptContract(**values | {"fields": tuple((name, type_) for name, type_ in values["fields"])})


def encode(item: DecisionRecord | Chunk) -> bytes:
    """The content of a record; it names its contract, see `write_contract`."""
    named = {"contract": item.contract.digest}
    if isinstance(item, DecisionRecord):
        values = {field.name: getattr(item, field.name) for field in fields(item)}
        return _DECISION + json.dumps(values | named, default=datetime.isoformat).encode()
    review = {"sample": sorted(item.sample), "sample_rate": item.sample_rate}
    header = {**item.shared, "segment_id": item.segment_id, **review, **named}
    text = json.dumps(header, default=datetime.isoformat).encode()
    return _CHUNK + _HEADER.pack(len(text)) + text + item.content


def decode(content: bytes, folder: Path) -> DecisionRecord | Chunk:
    """Inverse of `encode`; ``folder`` has the contracts.

    Raises
    ------
    Exception
        Of whatever kind, for what a newer release wrote and this one does not know.
    """
    if content[:1] == _DECISION:
        values = json.loads(content[1:])
        contract = read_contract(folder, values.pop("contract", None))
        return DecisionRecord(contract=contract, **_with_times(values) | {"inputs": tuple(values["inputs"])})
    if content[:1] != _CHUNK:
        raise ValueError(f"a record of the unknown kind {content[:1]!r}")
    (length,) = _HEADER.unpack_from(content, 1)
    start = 1 + _HEADER.size
    header = _with_times(json.loads(content[start : start + length]))
    contract = read_contract(folder, header.pop("contract", None))
    table = read_stream(content[start + length :])
    if not {*raw_fields_of(table)} <= {*contract.names}:
        raise ValueError(f"a chunk with other columns than {contract.name} has")
    optional = {name: table.column(name).to_pylist() for name in table.column_names if name in _OPTIONAL}
    reasons = {row: json.loads(text) for row, text in enumerate(optional.get("reasons", ())) if text is not None}
    return Chunk(
        **header | {"sample": frozenset(header.get("sample", ()))},
        contract=contract,
        raw=raw_of(table, contract),
        texts={name: table.column(name).to_pylist() for name in map(contract.names.__getitem__, contract.texts)},
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
