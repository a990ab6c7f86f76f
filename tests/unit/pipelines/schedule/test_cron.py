from datetime import UTC, datetime, timedelta

import pytest

from ml_project.errors import InvalidInput
from pipelines.schedule.cron import cron_trigger

SUNDAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


def following(line: str, times: int = 4) -> list[str]:
    trigger, found, now = cron_trigger(line), [], SUNDAY
    for _ in range(times):
        now = trigger.get_next_fire_time(None, now)
        found.append(f"{now:%a %d %H:%M}")
        now += timedelta(seconds=1)
    return found


@pytest.mark.parametrize(
    ("line", "times"),
    [
        ("0 3 * * *", ["Mon 02 03:00", "Tue 03 03:00", "Wed 04 03:00", "Thu 05 03:00"]),
        ("*/20 13 * * *", ["Sun 01 13:00", "Sun 01 13:20", "Sun 01 13:40", "Mon 02 13:00"]),
        ("0 3 * * 1", ["Mon 02 03:00", "Mon 09 03:00", "Mon 16 03:00", "Mon 23 03:00"]),
        ("0 3 * * 0", ["Sun 08 03:00", "Sun 15 03:00", "Sun 22 03:00", "Sun 29 03:00"]),
        ("0 3 * * 7", ["Sun 08 03:00", "Sun 15 03:00", "Sun 22 03:00", "Sun 29 03:00"]),
        ("0 3 * * 5-7", ["Fri 06 03:00", "Sat 07 03:00", "Sun 08 03:00", "Fri 13 03:00"]),
        ("0 3 * * Sat-Mon", ["Mon 02 03:00", "Sat 07 03:00", "Sun 08 03:00", "Mon 09 03:00"]),
        ("0 3 * * */3,tue", ["Tue 03 03:00", "Wed 04 03:00", "Sat 07 03:00", "Sun 08 03:00"]),
        ("0 3 10 * 1", ["Mon 02 03:00", "Mon 09 03:00", "Tue 10 03:00", "Mon 16 03:00"]),
    ],
)
def test_lines_mean_what_cron_takes_them_to_mean(line: str, times: list[str]) -> None:
    assert following(line) == times


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "has 0 fields"),
        ("0 3 * * * *", "has 6 fields"),
        ("60 3 * * *", "higher than the maximum"),
        ("0 3 * * 8", "'8' is no weekday"),
        ("0 3 * * -1", "'' is no weekday"),
        ("0 3 * * 1/0", "is no cron line"),
        ("soon 3 * * *", "soon"),
        ("0 0 31 6 *", "never comes"),
    ],
)
def test_others_are_refused_with_an_example(line: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        cron_trigger(line)
    assert '"0 3 * * *"' in str(caught.value)
