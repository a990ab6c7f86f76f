"""Batches as JSON, Parquet and Arrow, and what the files have in common: their columns, and which rows can be scored.

CSV is in `serving.batch.csv`.
"""

import mmap
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from ml_project.schema import ENGINEERED_FEATURES, EVENT_TIME, LABEL, MAX_MAGNITUDE, RAW_FEATURES, WEIGHT, unusable
from serving.batch import CHUNK_ROWS
from serving.errors import FieldError, InvalidFields, MalformedFile
from serving.http import too_large
from serving.telemetry.request import stage
from serving.transactions import MAX_ERRORS, MAX_NAME_LENGTH, Chunk, Transactions, event_times_of, parse_batch

TRANSACTION_ID: Final = "transaction_id"

_IGNORED: Final = frozenset((*ENGINEERED_FEATURES, LABEL, WEIGHT))
"""The engineered features, and a training file's other columns: analysts score such files as they are."""


def check_columns(names: Sequence[str]) -> None:
    """Refuse a file by its header, before anything of it is scored.

    Raises
    ------
    InvalidFields
        Naming every column that is missing, unknown or there twice.
    """
    counts = Counter(names)
    known = {*RAW_FEATURES, TRANSACTION_ID, EVENT_TIME, *_IGNORED}
    errors: list[FieldError] = [
        {"field": name, "message": "Column required"} for name in RAW_FEATURES if name not in counts
    ]
    for name, count in counts.items():
        if name not in known:
            errors.append({"field": name[:MAX_NAME_LENGTH], "message": "Unknown column"})
        elif count > 1:
            errors.append({"field": name, "message": "Column given more than once"})
    if errors:
        raise InvalidFields(errors[:MAX_ERRORS])


def check_types(schema: pa.Schema) -> list[str]:
    """Refuse a typed file by its schema; else the names of the columns to read.

    Raises
    ------
    InvalidFields
        See `check_columns`; also for a raw field that is not a number, or names that are not strings.
    """
    check_columns(schema.names)
    errors: list[FieldError] = []
    for name in RAW_FEATURES:
        kind = schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            errors.append({"field": name, "message": f"Column should hold numbers, not {kind}"})
    wanted = [*RAW_FEATURES, *(name for name in (TRANSACTION_ID, EVENT_TIME) if name in schema.names)]
    if TRANSACTION_ID in wanted:
        kind = schema.field(TRANSACTION_ID).type
        if not (_is_text(kind) or pa.types.is_integer(kind)):
            errors.append({"field": TRANSACTION_ID, "message": f"Column should hold strings, not {kind}"})
    if EVENT_TIME in wanted:
        kind = schema.field(EVENT_TIME).type
        if not (_is_text(kind) or pa.types.is_timestamp(kind) or pa.types.is_null(kind)):
            errors.append({"field": EVENT_TIME, "message": f"Column should hold timestamps, not {kind}"})
    if errors:
        raise InvalidFields(errors)
    return wanted


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def chunk_of(columns: pa.RecordBatch | pa.Table, rows: NDArray[np.int64]) -> Chunk:
    """Rows of a checked file as a chunk; ``rows`` says where they stand in it."""
    raw = np.empty((len(columns), len(RAW_FEATURES)))
    for place, name in enumerate(RAW_FEATURES):
        # A null becomes NaN, which is refused below; whole numbers beyond 2^53 are rounded, as in JSON.
        raw[:, place] = columns[name].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    if TRANSACTION_ID in columns.schema.names:
        ids = columns[TRANSACTION_ID].cast(pa.string()).to_pylist()
    else:
        ids = [None] * len(columns)
    times = event_times_of(columns[EVENT_TIME]) if EVENT_TIME in columns.schema.names else []
    return checked(raw, ids, rows, times)


def checked(
    raw: NDArray[np.float64],
    ids: list[str | None],
    rows: NDArray[np.int64],
    times: Sequence[datetime | ValueError | None] = (),
) -> Chunk:
    """What can be scored of raw transactions (n, 30), names (empty ones count as none), places and event times."""
    bad = unusable(raw)
    names = [name or None for name in ids]
    # PostgreSQL holds no NUL.
    misnamed = [place for place, name in enumerate(names) if name and (len(name) > MAX_NAME_LENGTH or "\0" in name)]
    timeless = {place: str(when) for place, when in enumerate(times) if isinstance(when, ValueError)}
    moments = [None if isinstance(when, ValueError) else when for when in times] if any(times) else []
    transactions = Transactions(raw, names, moments)
    if not misnamed and not timeless and not bad.any():
        return Chunk(transactions, rows, [])
    errors: list[FieldError] = [
        {"row": int(rows[place]), "field": RAW_FEATURES[column], "message": _fault(raw[place, column])}
        for place, column in np.argwhere(bad).tolist()
    ]
    message = f"Name should have at most {MAX_NAME_LENGTH} characters, and no NUL"
    errors += [{"row": int(rows[place]), "field": TRANSACTION_ID, "message": message} for place in misnamed]
    errors += [{"row": int(rows[place]), "field": EVENT_TIME, "message": fault} for place, fault in timeless.items()]
    good = ~bad.any(axis=1)
    kept = np.setdiff1d(np.flatnonzero(good), [*misnamed, *timeless])
    errors.sort(key=lambda error: error["row"])
    return Chunk(transactions.take(kept.tolist()), rows[kept], errors)


def _fault(value: float) -> str:
    if not np.isfinite(value):
        return "Input should be a finite number"
    if abs(value) > MAX_MAGNITUDE:
        return f"Input should be at most {MAX_MAGNITUDE:g} in size"
    return "Input should be greater than or equal to 0"


def read_json(file: BinaryIO, max_bytes: int, max_rows: int) -> Iterator[Chunk]:
    """The array as one chunk; rows count from 0.

    Raises
    ------
    MalformedJson, InvalidFields, BodyTooLarge
        See `parse_batch`.
    """
    body = file.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    with stage("parse"):
        chunk = parse_batch(body, max_rows)
    yield chunk


_BUFFER_BYTES: Final = 1024**2


def read_parquet(file: BinaryIO) -> Iterator[Chunk]:
    """Chunks of a file; rows count from 0.

    Raises
    ------
    InvalidFields
        For missing or unknown columns, or columns that do not hold numbers.
    MalformedFile
        For a file that is not Parquet, cut off or damaged.
    """
    try:
        # Without buffers and with pre-buffering, whole row groups would be kept in memory.
        source = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        wanted = check_types(source.schema_arrow)
        start = 0
        for batch in source.iter_batches(CHUNK_ROWS, columns=wanted):
            yield chunk_of(batch, np.arange(start, start + len(batch)))
            start += len(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: Arrow does not look into strings
        raise MalformedFile("The Parquet file cannot be read.", "It is damaged or cut off; send it again.") from error


def read_arrow(file: BinaryIO) -> Iterator[Chunk]:
    """Chunks of a stream; rows count from 0.

    Raises
    ------
    InvalidFields
        For missing or unknown columns, or columns that do not hold numbers.
    MalformedFile
        For a stream that is not Arrow, cut off or damaged.
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
