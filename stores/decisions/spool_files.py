"""Files of a spool: begun, locked and written so that no crash and no other process can lose what is in them.

A file is locked by the process that writes it; the kernel drops the lock when that process dies.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

from stores.files import sync_folder

_SUFFIX: Final = ".spool"


def begin_file(folder: Path) -> BinaryIO:
    """A new file, locked before it appears under its name: nobody can take it for an abandoned one."""
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
    """Write all of it to the disk, or raise OSError and leave the file as it was, as far as the disk lets us."""
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
