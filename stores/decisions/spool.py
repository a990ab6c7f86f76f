"""Where decisions go while the database is away: local append-only files that survive kill -9 and loss of power.

A file is a sequence of records: length, CRC-32, then a decision as JSON or a chunk as JSON and an Arrow stream. It is
locked by the process that writes it; the kernel drops the lock when that process dies.
"""

import fcntl
import json
import logging
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np

from ml_project.schema import OUTPUTS, RAW_FEATURES
from stores.decisions.records import DecisionRecord, SpoolFull
from stores.decisions.segments import Chunk, read_stream
from stores.decisions.store import DecisionStore
from stores.decisions.writes import Replayed
from stores.files import sync_folder

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


_SUFFIX: Final = ".spool"


def begin_file(folder: Path) -> BinaryIO:
    """A new file, locked before it appears under its name: no process can take it for an abandoned one."""
    folder.mkdir(parents=True, exist_ok=True)
    # Names sort by time; the random end keeps processes apart.
    path = folder / f"{time.time_ns():020d}-{os.urandom(4).hex()}{_SUFFIX}"
    scratch = path.with_suffix(".new")
    file = cast(BinaryIO, scratch.open("xb", buffering=0))
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        scratch.rename(path)
        sync_folder(folder)
    except OSError:
        file.close()
        raise
    return file


def append_durably(file: BinaryIO, data: bytes) -> None:
    """Write all of it to the disk, or raise OSError and leave the file as it was, as far as the disk permits."""
    before = file.tell()
    try:
        rest = memoryview(data)
        while rest:  # a disk that fills up takes a part and says so
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            file.truncate(before)
        raise


def spool_files(folder: Path) -> list[tuple[Path, int]]:
    """Files and their sizes, the oldest first."""
    found = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        with suppress(FileNotFoundError):  # another process has just replayed it
            found.append((path, path.stat().st_size))
    return found


@contextmanager
def abandoned(path: Path) -> Iterator[BinaryIO | None]:
    """The file, locked for reading it to its end; None while a live process writes it, or when it is gone."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file


_GROUP: Final = 512

_log = logging.getLogger(__name__)


class Spool:
    """Spool files in a folder; safe to share between threads, the folder between processes.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    max_bytes : int
        Largest size of all files together; beyond it, nothing more is acknowledged.
    file_bytes : int
        From this size on, a new file is begun.
    """

    def __init__(self, folder: Path, max_bytes: int = 1 << 30, file_bytes: int = 1 << 26) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._file_bytes = file_bytes
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()

    def append(self, items: Sequence[DecisionRecord | Chunk]) -> None:
        """Write a group; when this returns, it is on disk.

        Raises
        ------
        SpoolFull
            When the disk or ``max_bytes`` is exhausted, or the folder cannot be written. Nothing of the group is kept.
        """
        data = b"".join(map(encode, items))
        with self._lock:
            if self.size() + len(data) > self._max_bytes:
                raise self._full(f"it would grow beyond {self._max_bytes} bytes")
            try:
                file = self._file = self._file or begin_file(self.folder)
                append_durably(file, data)
            except OSError as error:
                self._end()  # whatever state the file is in, nothing is written behind it
                raise self._full(error.strerror) from error
            if file.tell() >= self._file_bytes:
                self._end()

    def size(self) -> int:
        """Bytes that wait for the database."""
        return sum(size for _path, size in spool_files(self.folder))

    def replay(self, store: DecisionStore, progress: Callable[[], None] = lambda: None) -> Replayed:
        """Move everything into the database, oldest file first; a file is deleted after the commit of its last record.

        Files that another live process writes are left to it. One with damaged records is kept as ``*.damaged`` once
        the others are in the database.

        Parameters
        ----------
        store : DecisionStore
        progress : callable, optional
            Called after every commit.

        Raises
        ------
        Unavailable
            When the database is still away; what is there already is skipped the next time.
        """
        total = Replayed()
        for path, _size in spool_files(self.folder):
            self._release(path)
            with abandoned(path) as file:
                if file is not None:
                    total += _replay_file(path, file, store, progress)
        if total != Replayed():
            level = logging.WARNING if total.conflicts else logging.INFO
            _log.log(level, "spool replayed: %s", total)
        return total

    def close(self) -> None:
        """End the current file, so that it can be replayed; the next group begins another."""
        with self._lock:
            self._end()

    def _release(self, path: Path) -> None:
        """End the current file once its turn has come: earlier, every attempt to replay would begin another."""
        with self._lock:
            if self._file is not None and Path(self._file.name).stem == path.stem:
                self._end()

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _full(self, reason: str | None) -> SpoolFull:
        return SpoolFull(
            f"The database is away, and the spool {self.folder} takes no more: {reason}.",
            "Bring the database back, or give FRAUD_STATE_DIR more room.",
        )


def _replay_file(path: Path, file: BinaryIO, store: DecisionStore, progress: Callable[[], None]) -> Replayed:
    total, damaged = Replayed(), 0
    payloads = read_payloads(file)
    while group := list(islice(payloads, _GROUP)):
        damaged += sum(isinstance(payload, BadRecord) for payload in group)
        items = [decode(payload) for payload in group if isinstance(payload, bytes)]
        for _kind, same in groupby(items, type):
            total += _keep(list(same), store)
            progress()
    if damaged:
        _log.error("%s has %d damaged records; it is kept as %s.damaged", path, damaged, path.name)
        path.rename(path.with_name(path.name + ".damaged"))
    else:
        path.unlink(missing_ok=True)
    return total


def _keep(items: list[DecisionRecord | Chunk], store: DecisionStore) -> Replayed:
    """One transaction for a run of single decisions, one for every chunk."""
    total = store.replay([item for item in items if isinstance(item, DecisionRecord)])
    return sum((store.replay_segment(item) for item in items if isinstance(item, Chunk)), total)
