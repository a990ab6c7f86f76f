from datetime import UTC, datetime, timedelta

import pytest

from ml_project.errors import InvalidInput
from pipelines.monitoring.window import Window, parse_moment, parse_span, window_of

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)


def test_windows_as_people_ask_for_them() -> None:
    day = timedelta(days=1)
    assert window_of(None, None, None, NOW) == Window(NOW - day, NOW)
    assert window_of("90m", None, None, NOW).hours == 1.5
    assert window_of(None, "2026-03-01", None, NOW) == Window(datetime(2026, 3, 1, tzinfo=UTC), NOW)
    asked = window_of(None, "2026-03-01t00:00z", "2026-03-02T02:00+02:00", NOW)
    assert asked == Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    assert asked.words == "2026-03-01 00:00 to 2026-03-02 00:00 UTC"
    assert window_of("2d", None, "2026-03-03", NOW).since == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("24h", "2026-03-01", None), "Both --window and --from"),
        ((None, "2026-03-06", None), "is empty"),
        (("a day", None, None), "'a day' is not a length"),
        ((None, "yesterday", None), "'yesterday' is not a date"),
    ],
)
def test_others_are_refused(arguments: tuple[str | None, ...], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        window_of(*arguments, NOW)


def test_spans_and_moments() -> None:
    assert [parse_span(text) for text in ("30s", "1.5H", "7d")] == [
        timedelta(seconds=30),
        timedelta(hours=1.5),
        timedelta(days=7),
    ]
    assert parse_moment("2026-03-01 01:00+01:00") == datetime(2026, 3, 1, tzinfo=UTC)
