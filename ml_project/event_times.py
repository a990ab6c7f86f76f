"""When a transaction can have happened: the bounds that gateway, `ingest` and `retrain` share.

One impossible time does more harm than a wrong number: rows are split by time, budgets are counted per day, and base
data without event times is dated by the decisions that follow it.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final


@dataclass(frozen=True)
class EventTimeBounds:
    """The earliest and the latest event time that is believed, both with a zone."""

    earliest: datetime
    latest: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.earliest <= moment <= self.latest

    def __str__(self) -> str:
        return f"between {_text(self.earliest)} and {_text(self.latest)}"


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


NANOSECONDS = EventTimeBounds(datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC))
"""What a clean table's timestamps can hold, where no narrower bounds are asked for."""


FAULT: Final = "Event time should be a date and time with a zone, such as 2026-01-02T03:04:05Z (RFC 3339)"

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
