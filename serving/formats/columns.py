"""Batches by columns: which ones a file must have, and which of its rows can be scored."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml_project.schema import ENGINEERED_FEATURES, EVENT_TIME, LABEL, MAX_MAGNITUDE, RAW_FEATURES, WEIGHT, unusable
from serving.errors import FieldError, InvalidFields
from serving.event_times import event_times_of
from serving.transactions import MAX_ERRORS, MAX_NAME_LENGTH, Chunk, Transactions

TRANSACTION_ID: Final = "transaction_id"

_IGNORED: Final = frozenset((*ENGINEERED_FEATURES, LABEL, WEIGHT))
"""The engineered features, and what a training file has beside the raw ones: analysts score such files as they are."""


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
        See `check_columns`; also for a raw field that is no number, or names that are no strings.
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
    errors += [{"row": int(rows[place]), "field": EVENT_TIME, "message": said} for place, said in timeless.items()]
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
