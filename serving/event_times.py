"""When a transaction happened, as clients write it: RFC 3339 in JSON, and what files hold besides."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa

FAULT: Final = "Event time should be a date and time with a zone, such as 2026-01-02T03:04:05Z (RFC 3339)"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)


def parse_event_time(value: object, *, zone: bool = True) -> datetime | None:
    """A moment in UTC; None stands for none.

    Parameters
    ----------
    zone : bool
        Whether the zone must be there; without one, as in a training file, it is UTC.

    Raises
    ------
    ValueError
        With words for the client.
    """
    if value is None or isinstance(value, datetime):
        return value
    match = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if match is None or (zone and match[2] is None):
        raise ValueError(FAULT)
    try:
        moment = datetime.fromisoformat(str(value).upper())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(FAULT) from None


def event_times_of(column: Any) -> list[datetime | ValueError | None]:
    """The moments of a file's column, faults in their places: timestamps, else text; an empty cell is no moment."""
    if pa.types.is_timestamp(column.type):
        # Finer parts of a second than microseconds are cut off, as in text.
        exact = column.cast(pa.timestamp("us", column.type.tz), safe=column.type.unit != "ns")
        return [_since_1970(microseconds) for microseconds in exact.cast(pa.int64()).to_pylist()]
    return [parsed_cell(text) for text in column.cast(pa.string()).to_pylist()]


def _since_1970(microseconds: int | None) -> datetime | ValueError | None:
    try:
        return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return ValueError(FAULT)


def parsed_cell(text: str | None) -> datetime | ValueError | None:
    """One cell of text."""
    try:
        return parse_event_time(text or None, zone=False)
    except ValueError as error:
        return error
