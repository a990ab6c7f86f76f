"""Transactions as an Arrow IPC stream, batch by batch."""

import mmap
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from serving.errors import MalformedFile
from serving.formats import CHUNK_ROWS
from serving.formats.columns import check_types, chunk_of
from serving.transactions import Chunk


def read_arrow(file: BinaryIO) -> Iterator[Chunk]:
    """Chunks of a stream; rows count from 0.

    Raises
    ------
    InvalidFields
        For missing or unknown columns, or such as hold no numbers.
    MalformedFile
        For a stream that is no Arrow, cut off or damaged.
    """
    try:
        # A record batch may be as large as the file: mapped, it stays on the disk.
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with pa.ipc.open_stream(pa.py_buffer(content)) as stream:
            wanted = check_types(stream.schema)
            start = 0
            for batch in stream:
                for offset in range(0, len(batch), CHUNK_ROWS):
                    part = batch.slice(offset, CHUNK_ROWS).select(wanted)
                    # Offsets that lead out of a buffer would be followed otherwise.
                    part.validate(full=True)
                    yield chunk_of(part, np.arange(start, start + len(part)))
                    start += len(part)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise MalformedFile("The Arrow stream cannot be read.", "It is damaged or cut off; send it again.") from error
