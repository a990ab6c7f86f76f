"""When a transaction can have happened: the bounds that gateway, `ingest` and `retrain` share.

One impossible time does more harm than a wrong number: rows are split by time, budgets are counted per day, and base
data without event times is dated by the decisions that follow it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime


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
