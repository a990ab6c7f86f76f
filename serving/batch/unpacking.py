"""Parquet and Arrow, unpacked by a child process with a limit on its memory.

How much a page of Parquet or a compressed buffer of Arrow becomes stands inside of it, and Arrow takes that much before
anybody can look: 5 kB may ask for gigabytes. Arrow has no limit of its own, so the kernel's is used: the child is
refused the memory, and the gateway keeps its own. A file that brings the decoder down ends the child alone; killing the
child ends the work at once, whatever it is busy with; and the environment of a process that reads what strangers send
holds no secret.

The child is this module, run as a program. It reads the file from its standard input and writes an Arrow stream to its
standard output: record batches of at most ``CHUNK_ROWS`` rows, of the columns that can be used, uncompressed and with
text as plain strings. The stream's metadata hold the file's own schema.
"""

import errno
import json
import math
import mmap
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import pyarrow as pa
from pyarrow import parquet

from ml_project.errors import InvalidInput
from ml_project.tables import as_text, is_text
from serving.batch import CHUNK_ROWS, PARQUET

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk without room."""

_MOST_TEXT_BYTES: Final = 1024 * CHUNK_ROWS
"""Of a text column in one batch; names have 64 characters."""

_SCHEMA: Final = b"schema of the file"
_REFUSED, _NO_ROOM, _TOO_LARGE = 2, 3, 4


class NotUnpacked(Exception):
    """A file that cannot be read, with cause and remedy where more is known; ``too_large`` if it takes too much."""

    def __init__(self, cause: str = "", remedy: str = "", too_large: bool = False) -> None:
        self.cause, self.remedy, self.too_large = cause, remedy, too_large
        super().__init__(f"{cause} {remedy}".strip())


class Unpacking:
    """A child that unpacks a file.

    Parameters
    ----------
    file, target : BinaryIO
        Real files.
    media_type : str
        Parquet or Arrow.
    columns : sequence of str
        Those that are wanted.
    memory : int
        Bytes that the child may take beyond those it starts with.
    rows : int
        Most rows that the file may have.
    size : int
        Most bytes that they may take on the disk.
    seconds : float
        Processor time that the child may take.
    """

    def __init__(
        self,
        file: BinaryIO,
        target: BinaryIO,
        media_type: str,
        columns: Sequence[str],
        memory: int,
        rows: int,
        size: int,
        seconds: float,
    ) -> None:
        self._seconds = math.ceil(seconds)
        self._target = target
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        self._child = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
            [
                sys.executable,
                "-m",
                __name__,
                media_type,
                json.dumps([*columns]),
                *map(str, (memory, rows, size, self._seconds)),
            ],
            cwd=Path(__file__).parents[2],
            env=_ENVIRONMENT,
            stdin=file.fileno(),
            stdout=target.fileno(),
            stderr=subprocess.PIPE,
        )

    def kill(self) -> None:
        """End the child, from any thread."""
        self._child.kill()

    def wait(self) -> None:
        """Wait until the file is unpacked.

        Raises
        ------
        NotUnpacked
            When it cannot be read, takes more than it may, or the child was killed.
        OSError
            When the disk has no room for it.
        """
        with self._child:
            try:
                _, said = self._child.communicate()
            finally:
                self._child.kill()
        match self._child.returncode:
            case 0:
                return
            case code if code == _REFUSED:
                raise NotUnpacked(*json.loads(said))
            case code if code == _NO_ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            case code if code == _TOO_LARGE:
                cause = "The file is larger than an upload may be when it is unpacked."
                raise NotUnpacked(cause, "Send it in parts.", too_large=True)
            case code if code == -signal.SIGXCPU:
                raise NotUnpacked(f"The file takes more than {self._seconds} s to unpack.", "Send it in parts.", True)
        raise NotUnpacked


_ENVIRONMENT: Final = {
    # Arrow's own allocator would reserve memory ahead, which counts.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def read_schema(target: BinaryIO) -> pa.Schema:
    """The schema that an unpacked file had itself."""
    target.seek(0)
    return pa.ipc.read_schema(pa.py_buffer(pa.ipc.open_stream(target).schema.metadata[_SCHEMA]))


def read_batches(target: BinaryIO) -> Iterator[pa.RecordBatch]:
    """The rows of an unpacked file."""
    target.seek(0)
    yield from pa.ipc.open_stream(target)


def unpack(file: BinaryIO, target: BinaryIO, media_type: str, columns: Sequence[str], most_rows: int) -> None:
    """What the child does.

    Raises
    ------
    NotUnpacked, OSError
        See `Unpacking.wait`.
    """
    try:
        _write(_Parquet(file) if media_type == PARQUET else _Arrow(file), target, columns, most_rows)
    except MemoryError:
        raise NotUnpacked(
            "The file takes more memory than it may when it is unpacked.",
            "Write it in row groups or record batches of fewer rows, 50,000 for instance.",
            too_large=True,
        ) from None
    except InvalidInput as error:
        raise NotUnpacked(error.cause, error.remedy) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (*_FULL, errno.EFBIG):
            raise
        raise NotUnpacked from error


def _main(media_type: str, columns: str, memory: int, rows: int, size: int, seconds: int) -> int:
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    _limit(memory, size, seconds)
    try:
        with os.fdopen(0, "rb", buffering=0) as file, os.fdopen(1, "wb") as target:
            unpack(file, target, media_type, json.loads(columns), rows)
    except NotUnpacked as error:
        sys.stderr.write(json.dumps([error.cause, error.remedy, error.too_large]))
        return _REFUSED
    except OSError as error:  # also where the file is closed
        return _TOO_LARGE if error.errno == errno.EFBIG else _NO_ROOM
    return 0


def _limit(memory: int, size: int, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    if sys.platform == "linux":  # elsewhere it is not enforced
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


class _Source(Protocol):
    schema: pa.Schema

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]: ...


def _write(source: _Source, target: BinaryIO, wanted: Sequence[str], most_rows: int) -> None:
    columns = [name for name in source.schema.names if name in wanted]
    metadata = {_SCHEMA: source.schema.remove_metadata().serialize().to_pybytes()}
    if len(set(columns)) < len(columns):  # refused by the schema
        columns = []
    schema = pa.schema([(name, _plain_type(source.schema.field(name).type)) for name in columns], metadata)
    rows = 0
    with pa.ipc.new_stream(target, schema) as out:
        for batch in source.batches(columns) if columns else ():
            rows += len(batch)
            if rows > most_rows:
                raise NotUnpacked(f"The file has more than {most_rows} rows.", "Send it in parts.", too_large=True)
            out.write_batch(pa.record_batch([_plain(column) for column in batch.columns], schema=schema))
    target.flush()


class _Parquet:
    def __init__(self, file: BinaryIO) -> None:
        # Without buffers and with pre-buffering, whole row groups would be kept in memory.
        self._source = parquet.ParquetFile(file, pre_buffer=False, buffer_size=1024**2)
        self.schema = self._source.schema_arrow

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        found: Iterator[pa.RecordBatch] = self._source.iter_batches(CHUNK_ROWS, columns=columns, use_threads=False)
        return found


class _Arrow:
    def __init__(self, file: BinaryIO) -> None:
        # A record batch may be as large as the file: mapped, it stays on the disk.
        content = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._stream = pa.ipc.open_stream(content, options=pa.ipc.IpcReadOptions(use_threads=False))
        self.schema = self._stream.schema

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for batch in self._stream:
            for offset in range(0, len(batch), CHUNK_ROWS):
                part = batch.slice(offset, CHUNK_ROWS).select(columns)
                # Offsets that lead out of a buffer would be followed otherwise.
                part.validate(full=True)
                yield part


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if is_text(kind):
        return pa.string()
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_timestamp(plain):
        return pa.timestamp(plain.unit, plain.tz)  # the name of a zone may be no text, which shows here
    return plain


def _plain(column: pa.Array) -> pa.Array:
    if is_text(column.type):
        return as_text(column, _MOST_TEXT_BYTES)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
