"""Cron lines as cron reads them: APScheduler 3 counts weekdays from Monday, and wants both day and weekday to fit."""

from datetime import UTC, datetime
from typing import Any, Final

from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from ml_project.errors import InvalidInput

_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: Final = 5
_REMEDY: Final = 'Write minute, hour, day, month and weekday in UTC, such as "0 3 * * *" or "30 */6 * * 1-5".'


def cron_trigger(line: str) -> Any:
    """APScheduler's trigger for a cron line, in UTC.

    Raises
    ------
    InvalidInput
        When it is none, or names no moment that ever comes.
    """
    fields = line.split()
    if len(fields) != _FIELDS:
        raise InvalidInput(f"{line!r} is no cron line: it has {len(fields)} fields instead of 5.", _REMEDY)
    minute, hour, day, month, weekday = fields

    def on(days: str, weekdays: str) -> CronTrigger:
        return CronTrigger(minute=minute, hour=hour, day=days, month=month, day_of_week=weekdays, timezone=UTC)

    try:
        either = "*" not in (day[0], weekday[0])  # cron: where both are named, one of them is enough
        days = _weekdays(weekday)
        trigger = OrTrigger([on(day, "*"), on("*", days)]) if either else on(day, days)
    except ValueError as error:
        raise InvalidInput(f"{line!r} is no cron line: {error}.", _REMEDY) from None
    if trigger.get_next_fire_time(None, datetime.now(UTC)) is None:
        raise InvalidInput(f"{line!r} never comes.", _REMEDY)
    return trigger


def _weekdays(field: str) -> str:
    """The weekdays of a field by name, as numbers and ranges across Sunday mean something else to APScheduler."""
    if field == "*":
        return field
    chosen: set[int] = set()
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        begin, _, end = ("0", "", "6") if span == "*" else span.partition("-")
        first = _weekday(begin)
        last = _weekday(end) if end else 6 if step else first
        if last < first:
            last += len(_WEEKDAYS)
        chosen |= {place % len(_WEEKDAYS) for place in range(first, last + 1, int(step or 1))}
    return ",".join(_WEEKDAYS[place] for place in sorted(chosen))


def _weekday(name: str) -> int:
    place = _WEEKDAYS.index(name) if name in _WEEKDAYS else int(name) if name.isdecimal() else -1
    if not 0 <= place <= len(_WEEKDAYS):
        raise ValueError(f"{name!r} is no weekday")
    return place
