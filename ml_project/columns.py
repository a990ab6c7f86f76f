"""Columns of files as the numbers of raw transactions: what a value of each type may look like, decided once.

A missing value is NaN, one that is none of its type is ``WRONG``; a category is its place among the field's values, or
``OTHER``. Gateway, ingestion and scoring read through here, so that a value means the same to all of them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from ml_project.contract_parts import LONGEST_TEXT, OTHER, WRONG, ContractField, label_word
from ml_project.event_times import parse_event_time
from ml_project.tables import as_text, is_text

NO_VALUE: Final = frozenset(pa.csv.ConvertOptions().null_values)
"""What text says that there is no value: nothing, NA, null, nan and the like. Of categories only nothing: NA is one."""

EXPECTED: Final = {
    "number": "numbers",
    "integer": "whole numbers",
    "boolean": "true or false",
    "category": "texts or whole numbers",
    "timestamp": "timestamps",
}

TRUTHS: Final = {"true": 1.0, "yes": 1.0, "t": 1.0, "y": 1.0, "1": 1.0, "1.0": 1.0} | {
    "false": 0.0,
    "no": 0.0,
    "f": 0.0,
    "n": 0.0,
    "0": 0.0,
    "0.0": 0.0,
}

LEARNT_VALUES: Final = 50
LEARNT_ROWS: Final = 5
"""A category learns at most so many values, the most common ones, and only those that so many rows have."""


def is_number(kind: pa.DataType) -> bool:
    """Whether a type is one of those for numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def takes(field: ContractField, kind: pa.DataType) -> bool:
    """Whether a typed column can hold a field; only `raw_column` reads numbers from text."""
    if pa.types.is_dictionary(kind):
        return takes(field, kind.value_type)
    if pa.types.is_null(kind):
        return not field.required
    if field.numeric:
        return is_number(kind)
    if field.type == "timestamp":
        return bool(is_text(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind))
    return bool(is_text(kind) or is_number(kind) or pa.types.is_boolean(kind))


def raw_column(field: ContractField, column: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    """A column as raw transactions have it, shape (n,).

    Raises
    ------
    TypeError
        When values of the column's type can never be the field's.
    """
    kind = column.type
    if field.numeric and is_number(kind):
        # Whole numbers beyond 2^53 are rounded, as in JSON.
        numbers: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return numbers
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not takes(field, kind) and not is_text(kind):
        raise TypeError(f"{kind} for {EXPECTED[field.type]}")
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_dictionary(kind) and not is_text(kind):
        return raw_column(field, column.cast(kind.value_type))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _seconds(column)
    if field.numeric:
        try:
            plain: NDArray[np.float64] = as_text(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
            return plain
        except pa.ArrowInvalid:
            pass  # value by value
    read = {"number": number_of, "integer": number_of, "boolean": _truth, "timestamp": _moment}.get(field.type)
    return _mapped(column, read or coder(field.values))


def number_of(text: str) -> float:
    """A number in text; ``WRONG`` for any other text, and for one that is not finite."""
    try:
        value = float(text) if text.isascii() and "_" not in text else WRONG
    except ValueError:
        return WRONG
    return value if np.isfinite(value) else WRONG


def category_text(value: object) -> str:
    """A category's value in words: numbers that are whole without a point, truths as true and false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def coder(values: Sequence[str]) -> Callable[[str], float]:
    """From a category's value in words to its code; NaN for none."""
    codes = {value: float(code) for code, value in enumerate(values)}
    return lambda text: codes.get(text, OTHER) if text else np.nan


def _truth(text: str) -> float:
    return np.nan if text in NO_VALUE else TRUTHS.get(text.casefold(), WRONG)


_DATE: Final = len("2026-01-02")


def seconds_of(text: str) -> float:
    """A moment or a date in text (RFC 3339; no zone means UTC) in seconds since 1970; ``WRONG`` for any other text."""
    try:
        moment = parse_event_time(f"{text}T00:00:00Z" if len(text) == _DATE else text, zone=False)
    except ValueError:
        return WRONG
    return WRONG if moment is None else moment.timestamp()


def _moment(text: str) -> float:
    return np.nan if text in NO_VALUE else seconds_of(text)


def _seconds(column: pa.Array) -> NDArray[np.float64]:
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    whole = {"s": 1.0, "ms": 1e3}.get(column.type.unit)
    if whole is None:
        whole, column = 1e6, column.cast(pa.timestamp("us", column.type.tz), safe=False)
    # seconds and milliseconds stay as they are: those of far years are no microseconds in 64 bits
    seconds: NDArray[np.float64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False) / whole
    return seconds


def _mapped(column: pa.Array, read: Callable[[str], float]) -> NDArray[np.float64]:
    """Each distinct value is read once."""
    texts, places = distinct_texts(column)
    values = np.array([_read(text, read) for text in texts] + [np.nan])
    found: NDArray[np.float64] = values[places]
    return found


def _read(text: str, read: Callable[[str], float]) -> float:
    if read is number_of and text in NO_VALUE:
        return np.nan
    return read(text)


def distinct_texts(column: pa.Array | pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """The different values of a column in words, and each row's place among them; -1 where it has none."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if is_text(column.type):
        column = as_text(column)
    elif pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    coded = pc.dictionary_encode(column)
    places = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    texts = [category_text(value) for value in coded.dictionary.to_pylist()]
    if pa.types.is_floating(column.type):
        texts = ["" if text == "nan" else text for text in texts]
    return texts, places


def learn_values(columns: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    """The values that a category learns from texts and how many rows have each, in alphabetical order."""
    counts = Counter[str]()
    for text, count in columns:
        if text and len(text) <= LONGEST_TEXT:
            counts[text] += count
    common = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:LEARNT_VALUES]
    kept = [text for text, count in common if count >= LEARNT_ROWS] or [text for text, _count in common[:1]]
    return tuple(sorted(kept))


UNKNOWN: Final = -1
NO_LABEL: Final = -2


def label_column(
    positive: Sequence[str], negative: Sequence[str], unknown: Sequence[str], column: pa.Array | pa.ChunkedArray
) -> NDArray[np.int8]:
    """Labels (n,): 1 for fraud, 0 for legitimate, ``UNKNOWN``, and ``NO_LABEL`` for any other value."""
    meant = ((positive, 1), (negative, 0), (unknown, UNKNOWN))
    known = {label_word(word): label for words, label in meant for word in words}
    texts, places = distinct_texts(column)
    found = [known.get(label_word(text), NO_LABEL) for text in texts] + [known.get("", NO_LABEL)]
    labels: NDArray[np.int8] = np.array(found, dtype=np.int8)[places]
    return labels
