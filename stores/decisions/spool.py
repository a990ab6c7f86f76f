"""Where decisions go while the database is away: local append-only files that survive kill -9 and loss of power."""

import logging
import threading
from collections.abc import Callable, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import BinaryIO, Final

from stores.decisions.adding import Replayed
from stores.decisions.errors import SpoolFull
from stores.decisions.records import DecisionRecord
from stores.decisions.segments import Chunk
from stores.decisions.spool_files import abandoned, append_durably, begin_file, spool_files
from stores.decisions.spool_format import BadRecord, decode, encode, read_payloads
from stores.decisions.store import DecisionStore

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
