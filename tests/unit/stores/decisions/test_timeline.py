"""A key's past gives what going through its transactions gives, in as many steps however many there are."""

import random
import sys
from collections.abc import Callable
from operator import sub
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.decisions.timeline import HOUR, PastEvent, Timeline

_events = st.lists(
    st.builds(
        PastEvent,
        event=st.integers(-(2**63), 2**63 - 1),
        at=st.sampled_from([-HOUR, 0, 1, 2, HOUR]),
        value=st.none() | st.integers(-(2**43), 2**43),
        word=st.sampled_from([None, "a", "b"]),
        fraud=st.integers(0, 1),
    ),
    unique_by=lambda each: each.event,
    max_size=150,
)


@given(_events, st.data())
def test_it_says_what_going_through_all_says(events: list[PastEvent], data: st.DataObject) -> None:
    begun = data.draw(st.integers(0, len(events)))
    timeline = Timeline(events[:begun])
    for each in events[begun:]:
        timeline.add(each)
    if events:
        relabelled = data.draw(st.sampled_from(events))
        timeline.relabel(relabelled.event, relabelled.at, 1)
        events = [each._replace(fraud=1) if each == relabelled else each for each in events]
        gone = data.draw(st.sampled_from(events))
        assert timeline.find(gone.event, gone.at) == gone
        _expect(timeline.without(gone.event, gone.at), [each for each in events if each != gone])
    _expect(timeline, events)
    assert timeline.find(data.draw(st.integers(-(2**63), 2**63 - 1)), -5) is None


def _expect(timeline: Timeline, events: list[PastEvent]) -> None:
    assert len(timeline) == len(events)
    assert {timeline.find(each.event, each.at) for each in events} == set(events)
    for after, until in ((-HOUR, 0), (0, 2), (2, HOUR), (-2 * HOUR, 2 * HOUR), (1, 1)):
        inside = [each for each in events if after < each.at <= until]
        values = [each.value for each in inside if each.value is not None]
        words = {each.word for each in inside if each.word is not None}
        first, last = timeline.running([after, until])
        assert tuple(map(sub, last, first)) == (
            len(inside),
            len(values),
            sum(values),
            sum(each.fraud for each in inside),
        )
        assert timeline.largest(after, until) == max(values, default=None)
        assert timeline.last(after, until) == max((each.at for each in inside), default=None)
        assert timeline.words(after, until) == words
        assert timeline.distinct(after, until, {"b", "c"}) == len(words | {"b", "c"})


def _lines(work: Callable[[], object]) -> int:
    """How many lines of Python some work runs."""
    count = 0

    def trace(_frame: FrameType, kind: str, _argument: Any) -> Any:
        nonlocal count
        count += kind == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("apart", [0, 1], ids=["of one moment", "one after the other"])
def test_what_a_busy_key_did_is_not_gone_through(apart: int) -> None:
    """As of a shop whose times are dates, or of a file that is sent again: a batch of either held up all others."""

    def cost(count: int) -> int:
        events = [PastEvent(number, number * apart, 5, "a", 0) for number in range(count)]
        random.Random(1).shuffle(events)
        timeline, middle = Timeline(events), count // 2
        at = middle * apart

        def look() -> None:
            assert timeline.find(-1, at) is None
            others = timeline.without(middle, at)
            assert others.running([-1, count]) == [(0, 0, 0, 0), (count - 1, count - 1, 5 * (count - 1), 0)]
            assert (others.largest(-1, count), others.last(-1, count)) == (5, (count - 1) * apart)
            timeline.relabel(middle, at, 1)
            timeline.add(PastEvent(-2, at, 7, "b", 1))

        return _lines(look)

    assert cost(20_000) <= cost(200) + 20
