"""The time that a monitoring run looks at, and how people write moments and lengths of time."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from ml_project.errors import InvalidInput

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


@dataclass(frozen=True)
class Window:
    """Event times from ``since`` (included) to ``until`` (excluded)."""

    since: datetime
    until: datetime

    @property
    def hours(self) -> float:
        """Its length in hours."""
        return (self.until - self.since) / timedelta(hours=1)

    @property
    def words(self) -> str:
        """The window as text."""
        return f"{self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} UTC"


def parse_span(text: str) -> timedelta:
    """A length of time from ``90s``, ``30m``, ``24h`` or ``7d``.

    Raises
    ------
    InvalidInput
        For anything else.
    """
    match = _SPAN.fullmatch(text.strip().lower())
    if match is None:
        raise InvalidInput(f"{text!r} is not a length of time.", "Write 90s, 30m, 24h or 7d.")
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def parse_moment(text: str) -> datetime:
    """A moment from ISO 8601; without a zone it is UTC.

    Raises
    ------
    InvalidInput
        For anything else.
    """
    try:
        moment = datetime.fromisoformat(text.strip().upper())
    except ValueError:
        raise InvalidInput(f"{text!r} is not a date or a time.", "Write 2026-01-31 or 2026-01-31T18:00:00Z.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def window_of(span: str | None, since: str | None, until: str | None, now: datetime) -> Window:
    """The window of a command's options: the last ``span`` (24h by default), or from ``since`` to ``until`` (now).

    Raises
    ------
    InvalidInput
        When both ``span`` and ``since`` are given, or the window is empty.
    """
    if span is not None and since is not None:
        raise InvalidInput("Both --window and --from are given.", "Give --window 24h, or --from and --to.")
    end = parse_moment(until) if until else now
    start = parse_moment(since) if since else end - parse_span(span or "24h")
    if start >= end:
        raise InvalidInput(f"The window from {start.isoformat()} to {end.isoformat()} is empty.")
    return Window(start, end)
