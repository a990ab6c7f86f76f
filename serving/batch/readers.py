"""Batches as JSON, Parquet and Arrow, and what the files have in common: their columns, and which rows can be scored.

CSV is in `serving.batch.csv`. Parquet and Arrow are unpacked by a child: `serving.batch.unpacking`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import chain
from tempfile import TemporaryFile
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml_project.columns import EXPECTED, category_text, raw_column, takes
from ml_project.contract import Contract
from ml_project.contract_parts import MAX_MAGNITUDE, WRONG, ContractField
from ml_project.tables import column_hint, is_index, is_text
from serving.batch import ARROW, PARQUET, unpacking
from serving.batch.work import Work
from serving.errors import BodyTooLarge, FieldError, InvalidFields, MalformedFile
from serving.http import too_large
from serving.large_bodies import not_written
from serving.settings import GatewaySettings
from serving.telemetry.request import stage
from serving.transactions import (
    MAX_NAME_LENGTH,
    WORDS,
    Chunk,
    TransactionParser,
    Transactions,
    event_times_of,
    unseen_categories,
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
    wanted = [field.name for field in contract.fields if field.required and field.role != "weight"]
    errors: list[FieldError] = [{"field": name, "message": "Column required"} for name in wanted if name not in counts]
    for name, count in counts.items():
        if name not in known:
            message = f"Unknown column. {column_hint(name, contract)}".strip()
            errors.append({"field": name[:MAX_NAME_LENGTH], "message": message})
        elif count > 1:
            errors.append({"field": name, "message": "Column given more than once"})
    if errors:
        raise InvalidFields(errors)


def check_types(schema: pa.Schema, contract: Contract) -> None:
    """Refuse a typed file by its schema.

    Raises
    ------
    InvalidFields
        See `check_columns`; also for a field of another type, or names that are not strings.
    """
    check_columns(schema.names, contract)
    errors: list[FieldError] = []
    checks: list[tuple[str, Callable[[pa.DataType], bool], str]] = [
        (field.name, partial(takes, field), EXPECTED[field.type])
        for field in contract.given_fields
        if field.name != contract.event_time and field.name in schema.names
    ]
    checks += [(name, _is_name, "strings") for name in (contract.transaction_id, *contract.entities)]
    checks.append((contract.event_time, _is_time, "timestamps"))
    for name, understood, expected in checks:
        kind = schema.field(name).type if name in schema.names else pa.null()
        if not understood(kind.value_type if pa.types.is_dictionary(kind) else kind):
            errors.append({"field": name, "message": f"Column should hold {expected}, not {kind}"})
    if errors:
        raise InvalidFields(errors)


def _is_name(kind: pa.DataType) -> bool:
    return bool(is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def _is_time(kind: pa.DataType) -> bool:
    return bool(is_text(kind) or pa.types.is_timestamp(kind) or pa.types.is_null(kind))


def chunk_of(columns: pa.RecordBatch | pa.Table, contract: Contract, rows: NDArray[np.int64]) -> Chunk:
    """Rows of a checked file, text as plain strings, as a chunk; ``rows`` says where they stand in it."""
    names, moment = frozenset(columns.schema.names), contract.event_time
    raw = np.full((len(columns), len(contract.raw_fields)), np.nan)
    for place, field in enumerate(contract.given_fields):
        if field.name != moment:  # `checked` has it by its times
            raw[:, place] = raw_column(field, columns[field.name]) if field.name in names else np.nan
    called = {
        name: columns[name].cast(pa.string()).to_pylist()
        for name in (contract.transaction_id, *contract.entities)
        if name in names
    }
    times = event_times_of(columns[moment]) if moment in names else []

    def word(row: int, name: str) -> str:
        return category_text(columns[name][row].as_py())

    return checked(contract, raw, called, rows, times, word)


def checked(
    contract: Contract,
    raw: NDArray[np.float64],
    called: Mapping[str, Sequence[str | None]],
    rows: NDArray[np.int64],
    times: Sequence[datetime | ValueError | None] = (),
    word: Callable[[int, str], str] = lambda _row, _name: "",
) -> Chunk:
    """What can be scored of raw transactions (n, fields), places and event times.

    ``called`` has transaction ids and entities by their columns, as far as there are any; empty ones count as none.
    ``word`` says what a row has in a field with a category.
    """
    timeless = {place: str(when) for place, when in enumerate(times) if isinstance(when, ValueError)}
    if contract.event_time in contract.raw_fields:
        raw[:, contract.raw_fields.index(contract.event_time)] = [_moment(when) for when in times] or np.nan
        timeless = {}  # a value like any other
    elif contract.requires("event_time"):
        timeless |= {place: _REQUIRED for place, when in enumerate(times) if when is None}
    bad = contract.unusable(raw)
    required = {
        *([contract.transaction_id] if contract.requires("transaction_id") else []),
        *contract.required_entities,
    }
    names: dict[str, list[str | None]] = {
        column: [name or None for name in called[column]] if column in called else [None] * len(raw)
        for column in (contract.transaction_id, *contract.entities)
    }
    misnamed = {column: _misnamed(each, column in required) for column, each in names.items()}
    moments = [None if isinstance(when, ValueError) else when for when in times] if any(times) else []
    unseen = {} if contract.plain else {each: word(*each).strip() for each in unseen_categories(raw, contract)}
    ids = names.pop(contract.transaction_id)
    transactions = Transactions(raw, ids, moments, unseen, names)
    if not any(misnamed.values()) and not timeless and not bad.any():
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
    for name, faults in (*misnamed.items(), (contract.event_time, timeless)):
        errors += [{"row": int(rows[place]), "field": name, "message": fault} for place, fault in faults.items()]
    good = ~bad.any(axis=1)
    kept = np.setdiff1d(np.flatnonzero(good), [*chain.from_iterable(misnamed.values()), *timeless])
    errors.sort(key=lambda error: error["row"])
    return Chunk(transactions.take(kept.tolist()), rows[kept], errors)


_MISNAMED: Final = f"Name should have at most {MAX_NAME_LENGTH} characters, and no NUL"
_REQUIRED: Final = "Field required"


def _misnamed(names: Sequence[str | None], required: bool) -> dict[int, str]:
    """What is wrong with names, by place; PostgreSQL holds no NUL."""
    found = {
        place: _MISNAMED for place, name in enumerate(names) if name and (len(name) > MAX_NAME_LENGTH or "\0" in name)
    }
    return found | {place: _REQUIRED for place, name in enumerate(names) if name is None} if required else found


def _moment(when: datetime | ValueError | None) -> float:
    return np.nan if when is None else WRONG if isinstance(when, ValueError) else when.timestamp()


def _fault(field: ContractField, value: float) -> str:
    if field.type != "number" and np.isnan(value):
        return _REQUIRED
    if not (field.numeric and np.isfinite(value)) or (field.whole and not float(value).is_integer()):
        return WORDS[field.type]
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
    return list(
        dict.fromkeys((*contract.given_names, contract.transaction_id, contract.event_time, *contract.entities))
    )


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
    try:
        target = TemporaryFile(dir=settings.upload_spool)  # noqa: SIM115
    except OSError as error:
        raise not_written(error) from error
    with target:
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
            raise not_written(error) from error
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
