"""Transactions in Parquet, row group by row group and never more than a chunk at once."""

from collections.abc import Iterator
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from serving.errors import MalformedFile
from serving.formats import CHUNK_ROWS
from serving.formats.columns import check_types, chunk_of
from serving.transactions import Chunk

_BUFFER_BYTES: Final = 1024**2


def read_parquet(file: BinaryIO) -> Iterator[Chunk]:
    """Chunks of a file; rows count from 0.

    Raises
    ------
    InvalidFields
        For missing or unknown columns, or such as hold no numbers.
    MalformedFile
        For a file that is no Parquet, cut off or damaged.
    """
    try:
        # Without buffers and with pre-buffering, whole row groups would be held in memory.
        source = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        wanted = check_types(source.schema_arrow)
        start = 0
        for batch in source.iter_batches(CHUNK_ROWS, columns=wanted):
            yield chunk_of(batch, np.arange(start, start + len(batch)))
            start += len(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: Arrow does not look into strings
        raise MalformedFile("The Parquet file cannot be read.", "It is damaged or cut off; send it again.") from error
