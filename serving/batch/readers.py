"""Batches as JSON, Parquet and Arrow, and what the files have in common: their columns, and which rows can be scored.

CSV is in `serving.batch.csv`. Parquet and Arrow are unpacked by a child: `serving.batch.unpacking`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from tempfile import TemporaryFile
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml_project.contract import MAX_MAGNITUDE, Contract, ContractField
from ml_project.tables import column_hint, is_index, is_text
from serving.batch import ARROW, PARQUET, unpacking
from serving.batch.work import Work
from serving.errors import BodyTooLarge, FieldError, InvalidFields, MalformedFile, StorageFull
from serving.http import too_large
from serving.settings import GatewaySettings
from serving.telemetry.request import stage
from serving.transactions import (
    MAX_ERRORS,
    MAX_NAME_LENGTH,
    Chunk,
    TransactionParser,
    Transactions,
    event_times_of,
)

MAX_ROW_ERRORS: Final = 10
"""Faults named of one row of a file. All cells of all rows may be wrong: they are counted before they are told."""


def check_columns(names: Sequence[str], contract: Contract) -> None:
    """Refuse a file by its header, before anything of it is scored.

    Raises
    ------
    InvalidFields
        Naming every column that is missing, unknown or there twice.
    """
    # An index that pandas wrote along is no data, and cannot be mistaken for any.
    counts = Counter(name for name in names if not is_index(name))
    # Engineered features and a training file's other columns are ignored: analysts score such files as they are.
    known = frozenset(contract.known_columns)
    errors: list[FieldError] = [
        {"field": name, "message": "Column required"} for name in contract.raw_fields if name not in counts
    ]
    for name, count in counts.items():
        if name not in known:
            message = f"Unknown column. {column_hint(name, contract)}".strip()
            errors.append({"field": name[:MAX_NAME_LENGTH], "message": message})
        elif count > 1:
            errors.append({"field": name, "message": "Column given more than once"})
    if errors:
        raise InvalidFields(errors[:MAX_ERRORS])


def check_types(schema: pa.Schema, contract: Contract) -> None:
    """Refuse a typed file by its schema.

    Raises
    ------
    InvalidFields
        See `check_columns`; also for a raw field that is not a number, or names that are not strings.
    """
    check_columns(schema.names, contract)
    errors: list[FieldError] = []
    for name, understood, expected in (
        *((name, _is_number, "numbers") for name in contract.raw_fields),
        (contract.transaction_id, _is_name, "strings"),
        (contract.event_time, _is_time, "timestamps"),
    ):
        kind = schema.field(name).type if name in schema.names else pa.null()
        if not understood(kind.value_type if pa.types.is_dictionary(kind) else kind):
            errors.append({"field": name, "message": f"Column should hold {expected}, not {kind}"})
    if errors:
        raise InvalidFields(errors)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_name(kind: pa.DataType) -> bool:
    return bool(is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def _is_time(kind: pa.DataType) -> bool:
    return bool(is_text(kind) or pa.types.is_timestamp(kind) or pa.types.is_null(kind))


def chunk_of(columns: pa.RecordBatch | pa.Table, contract: Contract, rows: NDArray[np.int64]) -> Chunk:
    """Rows of a checked file, text as plain strings, as a chunk; ``rows`` says where they stand in it."""
    raw = np.empty((len(columns), len(contract.raw_fields)))
    for place, name in enumerate(contract.raw_fields):
        # A null becomes NaN, which is refused below; whole numbers beyond 2^53 are rounded, as in JSON.
        raw[:, place] = columns[name].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    if contract.transaction_id in columns.schema.names:
        ids = columns[contract.transaction_id].cast(pa.string()).to_pylist()
    else:
        ids = [None] * len(columns)
    moment = contract.event_time
    times = event_times_of(columns[moment]) if moment in columns.schema.names else []
    return checked(contract, raw, ids, rows, times)


def checked(
    contract: Contract,
    raw: NDArray[np.float64],
    ids: list[str | None],
    rows: NDArray[np.int64],
    times: Sequence[datetime | ValueError | None] = (),
) -> Chunk:
    """What can be scored of raw transactions (n, fields), names (empty ones count as none), places and event times."""
    bad = contract.unusable(raw)
    names = [name or None for name in ids]
    # PostgreSQL holds no NUL.
    misnamed = [place for place, name in enumerate(names) if name and (len(name) > MAX_NAME_LENGTH or "\0" in name)]
    timeless = {place: str(when) for place, when in enumerate(times) if isinstance(when, ValueError)}
    moments = [None if isinstance(when, ValueError) else when for when in times] if any(times) else []
    transactions = Transactions(raw, names, moments)
    if not misnamed and not timeless and not bad.any():
        return Chunk(transactions, rows, [])
    told = bad & (np.cumsum(bad, axis=1) <= MAX_ROW_ERRORS)
    errors: list[FieldError] = [
        {
            "row": int(rows[place]),
            "field": contract.raw_fields[column],
            "message": _fault(contract.scored_fields[column], raw[place, column]),
        }
        for place, column in np.argwhere(told).tolist()
    ]
    more = (bad & ~told).sum(axis=1)
    errors += [
        {"row": int(rows[place]), "message": f"{more[place]} more fields are missing or invalid"}
        for place in np.flatnonzero(more).tolist()
    ]
    message = f"Name should have at most {MAX_NAME_LENGTH} characters, and no NUL"
    errors += [{"row": int(rows[place]), "field": contract.transaction_id, "message": message} for place in misnamed]
    errors += [
        {"row": int(rows[place]), "field": contract.event_time, "message": fault} for place, fault in timeless.items()
    ]
    good = ~bad.any(axis=1)
    kept = np.setdiff1d(np.flatnonzero(good), [*misnamed, *timeless])
    errors.sort(key=lambda error: error["row"])
    return Chunk(transactions.take(kept.tolist()), rows[kept], errors)


def _fault(field: ContractField, value: float) -> str:
    if not np.isfinite(value):
        return "Input should be a finite number"
    if abs(value) > MAX_MAGNITUDE:
        return f"Input should be at most {MAX_MAGNITUDE:g} in size"
    if field.minimum is not None and value < field.minimum:
        return f"Input should be greater than or equal to {field.minimum:g}"
    return f"Input should be less than or equal to {field.maximum:g}"


def read_json(file: BinaryIO, parser: TransactionParser, max_bytes: int, max_rows: int) -> Iterator[Chunk]:
    """The array as one chunk; rows count from 0.

    Raises
    ------
    MalformedJson, InvalidFields, BodyTooLarge
        See `TransactionParser.batch`.
    """
    body = file.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    with stage("parse"):
        chunk = parser.batch(body, max_rows)
    yield chunk


def columns_of(contract: Contract) -> list[str]:
    """The columns of a file that are read."""
    return [*contract.raw_fields, contract.transaction_id, contract.event_time]


@contextmanager
def unpacked(
    file: BinaryIO, media_type: str, contract: Contract, settings: GatewaySettings, work: Work
) -> Iterator[BinaryIO]:
    """A Parquet file or an Arrow stream, unpacked to the disk for `read_unpacked`; blocks.

    Raises
    ------
    MalformedFile
        When it cannot be read.
    BodyTooLarge
        When it takes more memory, rows or time than it may.
    StorageFull
    """
    with TemporaryFile(dir=settings.upload_spool) as target:
        child = unpacking.Unpacking(
            file,
            target,
            media_type,
            columns_of(contract),
            memory=settings.max_unpacked_bytes,
            rows=settings.max_upload_rows,
            size=settings.max_upload_bytes,
            seconds=work.max_seconds,
        )
        work.ends_with(child.kill)
        try:
            child.wait()
        except unpacking.NotUnpacked as error:
            if error.too_large:
                raise BodyTooLarge(error.cause, error.remedy) from error
            cause = error.cause or f"The {_NAMES[media_type]} cannot be read."
            raise MalformedFile(cause, error.remedy or "It is damaged or cut off; send it again.") from error
        except OSError as error:
            raise StorageFull("The gateway has no room on its disk.", "Send it in parts, or later.") from error
        yield target


_NAMES: Final = {PARQUET: "Parquet file", ARROW: "Arrow stream"}


def read_unpacked(file: BinaryIO, contract: Contract) -> Iterator[Chunk]:
    """Chunks of a Parquet file or an Arrow stream that was unpacked; rows count from 0.

    Raises
    ------
    InvalidFields
        For missing or unknown columns, or columns that do not hold numbers.
    """
    check_types(unpacking.read_schema(file), contract)
    start = 0
    for batch in unpacking.read_batches(file):
        yield chunk_of(batch, contract, np.arange(start, start + len(batch)))
        start += len(batch)
