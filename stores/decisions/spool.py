"""Where decisions go while the database is unreachable: local append-only files that survive kill -9 and loss of power.

A file is locked by the process that writes it; the kernel drops the lock when that process dies. What cannot be
replayed is set aside and stands in nobody's way: damaged files as ``*.damaged``, and as ``*.unreadable`` the records
that are whole but mean nothing to this release, or that the database refuses. These are tried again when a gateway
starts.
"""

import fcntl
import logging
import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby, islice
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

from ml_project.errors import Unavailable
from stores.decisions.records import DecisionRecord, SpoolFull
from stores.decisions.segments import Chunk
from stores.decisions.spool_format import (
    OLD_SUFFIX,
    SUFFIX,
    Damage,
    decode,
    encode,
    framed,
    mark_of,
    new_name,
    read_records,
    write_contract,
)
from stores.decisions.store import DecisionStore
from stores.decisions.writes import Replayed
from stores.files import sync_folder

_DAMAGED: Final = ".damaged"
_UNREADABLE: Final = ".unreadable"


def begin_file(folder: Path, ending: str = "") -> BinaryIO:
    """A new file, locked before it appears under its name: no process can take it for an abandoned one.

    Only its owner may read it: it holds customers' data.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / new_name()
    scratch = path.with_suffix(".new")
    file = cast(BinaryIO, scratch.open("xb", buffering=0))
    try:
        os.fchmod(file.fileno(), 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        scratch.rename(path.with_name(path.name + ending))
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
    """Files that wait for the database and their sizes, the oldest first."""
    found = []
    for path in sorted([*folder.glob(f"*{OLD_SUFFIX}"), *folder.glob(f"*{SUFFIX}")]):
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


class SetAside(NamedTuple):
    """How many files of a spool somebody has to look at."""

    damaged: int = 0
    unreadable: int = 0


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
        contents = list(map(encode, items))
        with self._lock:
            if self.size() + sum(map(len, contents)) > self._max_bytes:
                raise self._full(f"it would grow beyond {self._max_bytes} bytes")
            try:
                for contract in {item.contract.digest: item.contract for item in items}.values():
                    write_contract(self.folder, contract)
                file = self._file = self._file or begin_file(self.folder)
                _append_contents(file, contents)
            except OSError as error:
                self._end()  # whatever state the file is in, nothing is written behind it
                raise self._full(error.strerror) from error
            if file.tell() >= self._file_bytes:
                self._end()

    def size(self) -> int:
        """Bytes that wait for the database."""
        return sum(size for _path, size in spool_files(self.folder))

    def set_aside(self) -> SetAside:
        """What could not be replayed, of this process and of earlier ones."""
        return SetAside(*(len(list(self.folder.glob(f"*{ending}"))) for ending in (_DAMAGED, _UNREADABLE)))

    def set_aside_with(self, texts: Sequence[bytes]) -> list[Path]:
        """Files that could not be replayed and hold one of these."""
        found = []
        for path in sorted(path for ending in (_DAMAGED, _UNREADABLE) for path in self.folder.glob(f"*{ending}")):
            with suppress(FileNotFoundError), path.open("rb") as file, _mapped(file) as data:
                found += [path] if any(data.find(text) >= 0 for text in texts) else []
        return found

    def waiting(self) -> Iterator[DecisionRecord | Chunk]:
        """What waits for the database, and goes on waiting; without what cannot be read."""
        for path, _size in spool_files(self.folder):
            with suppress(FileNotFoundError), path.open("rb") as file, _mapped(file) as data:
                for content in read_records(data, path):
                    item = _read(content, path.parent, []) if isinstance(content, bytes) else None
                    if item is not None:
                        yield item[1]

    def recall(self) -> None:
        """Let what was unreadable be replayed again: this release may be a newer one."""
        for path in self.folder.glob(f"*{_UNREADABLE}"):
            with suppress(FileNotFoundError):  # another process was first
                path.rename(path.with_suffix(""))

    def replay(self, store: DecisionStore, progress: Callable[[], None] = lambda: None) -> Replayed:
        """Move everything into the database, oldest file first; a file is deleted after the commit of its last record.

        Files that another live process writes are left to it. What is damaged or cannot be read is set aside.

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
            f"The database is unreachable, and the spool {self.folder} takes no more: {reason}.",
            "Bring the database back, or a FRAUD_STATE_DIR that has room and can be written to.",
        )


def _append_contents(file: BinaryIO, contents: Sequence[bytes]) -> None:
    mark = mark_of(Path(file.name))
    append_durably(file, b"".join(framed(content, mark) for content in contents))


def _replay_file(path: Path, file: BinaryIO, store: DecisionStore, progress: Callable[[], None]) -> Replayed:
    total = Replayed()
    damage: list[Damage] = []
    unreadable: list[bytes] = []
    with _mapped(file) as data:
        records = read_records(data, path)
        while group := list(islice(records, _GROUP)):
            damage += [record for record in group if isinstance(record, Damage)]
            read = [_read(record, path.parent, unreadable) for record in group if isinstance(record, bytes)]
            for _kind, run in groupby(filter(None, read), lambda pair: type(pair[1])):
                total += _keep(list(run), store, unreadable)
                progress()
    if unreadable:
        with begin_file(path.parent, _UNREADABLE) as aside:
            _append_contents(aside, unreadable)
        _log.error("%d records of %s cannot be replayed; they are kept as *%s", len(unreadable), path, _UNREADABLE)
    if damage:
        lost = sum(each.end - each.start for each in damage)
        name = path.name + _DAMAGED
        _log.error("%s is damaged in %d places, %d bytes; it is kept as %s", path, len(damage), lost, name)
        path.rename(path.with_name(name))
    else:
        path.unlink(missing_ok=True)
    return total


@contextmanager
def _mapped(file: BinaryIO) -> Iterator[Any]:
    if not os.fstat(file.fileno()).st_size:  # which cannot be mapped
        yield b""
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


_Read = tuple[bytes, DecisionRecord | Chunk]


def _read(content: bytes, folder: Path, unreadable: list[bytes]) -> _Read | None:
    try:
        return content, decode(content, folder)
    except Exception:  # a newer release may write anything, and what stands behind it must not wait for it
        _log.exception("a record of the spool cannot be read")
        unreadable.append(content)
        return None


def _keep(run: list[_Read], store: DecisionStore, unreadable: list[bytes]) -> Replayed:
    """One transaction for a run of single decisions, one for every chunk; what the database refuses is left out."""
    try:
        total = store.replay([item for _content, item in run if isinstance(item, DecisionRecord)])
        return sum((store.replay_segment(item) for _content, item in run if isinstance(item, Chunk)), total)
    except Unavailable:
        raise
    except Exception:
        if len(run) > 1:
            return sum((_keep([one], store, unreadable) for one in run), Replayed())
        _log.exception("the database refuses a record of the spool")
        unreadable.append(run[0][0])
        return Replayed()
