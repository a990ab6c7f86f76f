"""A key's transactions in the memory of one process, and what a window over them comes to.

All is integers: the sums that a window asks for are differences of running sums, so a look costs no more for a long
window than for a short one. `Timeline` has every transaction. Of a key that has very many, `HourlyTimeline` has sums of
full hours, and the transactions only of hours in which a window began or ended.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_project.history import MICROSECONDS

HOUR: Final = 3_600 * MICROSECONDS

_MOST_HOURS: Final = 48
"""Hours of a busy key whose transactions are held one by one."""


class PastEvent(NamedTuple):
    """A transaction of a key."""

    event: int
    """Its own number, see `event_plan.event_number`."""
    at: int
    """Microseconds since 1970."""
    value: int | None
    """Of the series' field in minor units, where that is added up."""
    word: str | None
    """Of the series' field, where its different values are counted."""
    fraud: int


Sums = tuple[int, int, int, int]
"""What the transactions in a window come to: how many they are, how many have a value, the values' sum, and frauds."""

_MISSING: Final = -(2**62)
"""Less than any value."""


class Timeline:
    """Transactions in the order of their times.

    Parameters
    ----------
    events : iterable of PastEvent
        In any order; of those of one moment, the first comes first.
    """

    __slots__ = ("_at", "_event", "_frauds", "_present", "_total", "_values", "_words")

    def __init__(self, events: Iterable[PastEvent] = ()) -> None:
        self._at, self._event, self._values = array("q"), array("q"), array("q")
        # running sums, which begin with 0
        self._present, self._total, self._frauds = array("q", (0,)), array("q", (0,)), array("q", (0,))
        self._words: list[str | None] = []
        for event in sorted(events, key=lambda each: each.at):
            self.add(event)

    def __len__(self) -> int:
        return len(self._at)

    def add(self, event: PastEvent) -> None:
        """Put a transaction where it belongs."""
        number, at, value, word, fraud = event
        if not self._at or at >= self._at[-1]:
            self._at.append(at)
            self._event.append(number)
            self._values.append(_MISSING if value is None else value)
            self._words.append(word)
            self._present.append(self._present[-1] + (value is not None))
            self._total.append(self._total[-1] + (value or 0))
            self._frauds.append(self._frauds[-1] + fraud)
            return
        place = bisect_right(self._at, at)
        self._at.insert(place, at)
        self._event.insert(place, number)
        self._values.insert(place, _MISSING if value is None else value)
        self._words.insert(place, word)
        _insert(self._present, place, value is not None)
        _insert(self._total, place, value or 0)
        _insert(self._frauds, place, fraud)

    def find(self, event: int, at: int) -> PastEvent | None:
        """A transaction by its number and time."""
        place = self._place(event, at)
        return None if place is None else self._past(place)

    def without(self, event: int, at: int) -> "Timeline":
        """The others."""
        left_out = self._place(event, at)
        return Timeline(self._past(place) for place in range(len(self._at)) if place != left_out)

    def relabel(self, event: int, at: int, fraud: int) -> None:
        """Say what a transaction was, if it is here."""
        place = self._place(event, at)
        if place is not None:
            change = fraud - self._past(place).fraud
            for later in range(place + 1, len(self._frauds)):
                self._frauds[later] += change

    def sums(self, after: int, until: int) -> Sums:
        """Of those in (after, until]."""
        begin, end = bisect_right(self._at, after), bisect_right(self._at, until)
        return (
            end - begin,
            self._present[end] - self._present[begin],
            self._total[end] - self._total[begin],
            self._frauds[end] - self._frauds[begin],
        )

    def largest(self, after: int, until: int) -> int | None:
        """The largest value in (after, until]."""
        values = self._values[bisect_right(self._at, after) : bisect_right(self._at, until)]
        found = max(values, default=_MISSING)
        return None if found == _MISSING else found

    def distinct(self, after: int, until: int, others: set[str]) -> int:
        """How many different words there are in (after, until], with others."""
        found = {*self._words[bisect_right(self._at, after) : bisect_right(self._at, until)], *others}
        found.discard(None)
        return len(found)

    def words(self, after: int, until: int) -> set[str]:
        """The words in (after, until]."""
        found = self._words[bisect_right(self._at, after) : bisect_right(self._at, until)]
        return {word for word in found if word is not None}

    def last(self, after: int, until: int) -> int | None:
        """When the last one in (after, until] was."""
        place = bisect_right(self._at, until) - 1
        return self._at[place] if place >= 0 and self._at[place] > after else None

    @property
    def all_words(self) -> list[str | None]:
        """The word of each, in order."""
        return self._words

    @staticmethod
    def stacked(timelines: "Sequence[Timeline]") -> tuple[NDArray[np.int64], ...]:
        """Of several, one after the other: times and values (n,), and running sums (n + 1,) as they are here.

        A missing value is less than any other.
        """

        def joined(name: str) -> NDArray[np.int64]:
            return np.frombuffer(b"".join([getattr(each, name) for each in timelines]), dtype=np.int64)

        values, running = joined("_values"), joined("_frauds")
        begins = np.cumsum([len(each) + 1 for each in timelines[:-1]], dtype=np.int64)
        there = values != _MISSING
        every = there, np.where(there, values, 0), np.delete(np.diff(running), begins - 1)
        return joined("_at"), values, *(np.concatenate([[0], np.cumsum(each)]) for each in every)

    def _place(self, event: int, at: int) -> int | None:
        if not self._at or at > self._at[-1]:
            return None
        place = bisect_left(self._at, at)
        while place < len(self._at) and self._at[place] == at:
            if self._event[place] == event:
                return place
            place += 1
        return None

    def _past(self, place: int) -> PastEvent:
        value, fraud = self._values[place], self._frauds[place + 1] - self._frauds[place]
        shown = None if value == _MISSING else value
        return PastEvent(self._event[place], self._at[place], shown, self._words[place], fraud)


def _insert(running: "array[int]", place: int, amount: int) -> None:
    """Insert an amount whose place is known into running sums."""
    running.insert(place + 1, running[place] + amount)
    if amount:
        for later in range(place + 2, len(running)):
            running[later] += amount


NOTHING: Final = Timeline()


class HourSums(NamedTuple):
    """Sums of one key's transactions of start < at <= start + HOUR."""

    start: int
    transactions: int
    present: int
    total: int
    largest: int | None
    frauds: int


Load = Callable[[int, int], Timeline]
"""Brings a key's transactions of (after, until]."""


class HourlyTimeline:
    """The transactions of a busy key: sums of hours, and the hours that were asked for one by one.

    Parameters
    ----------
    hours : iterable of HourSums
        In order.
    latest : dict
        Of each word, when it came last; empty where words are not counted.
    """

    def __init__(self, hours: Iterable[HourSums], latest: dict[str, int]) -> None:
        self._starts: array[int] = array("q")
        self._transactions, self._present = array("q", (0,)), array("q", (0,))
        self._total, self._frauds = array("q", (0,)), array("q", (0,))
        self._largest: list[int | None] = []
        for hour in hours:
            self._add_hour(len(self._starts), hour)
        self._latest = latest
        self._moments = array("q", sorted(latest.values()))
        self._held: OrderedDict[int, Timeline] = OrderedDict()
        self.load: Load = lambda _after, _until: NOTHING

    def __len__(self) -> int:
        return len(self._starts) + len(self._latest) + sum(map(len, self._held.values()))

    def add(self, event: PastEvent) -> None:
        """Count a transaction."""
        start = hour_of(event.at)
        place = bisect_left(self._starts, start)
        if place == len(self._starts) or self._starts[place] != start:
            self._add_hour(place, HourSums(start, 0, 0, 0, None, 0))
        self._change(place, 1, int(event.value is not None), event.value or 0, event.fraud)
        values = [each for each in (self._largest[place], event.value) if each is not None]
        self._largest[place] = max(values, default=None)
        if start in self._held:
            self._held[start].add(event)
        if event.word is not None:
            self._note(event.word, event.at)

    def find(self, event: int, at: int) -> PastEvent | None:
        """A transaction by its number and time."""
        return self._hour(hour_of(at)).find(event, at)

    def without(self, event: int, at: int) -> "HourlyTimeline":
        """The others; the word stays, for who leaves a transaction out counts its word himself."""
        others = copy(self)
        for name in ("_transactions", "_present", "_total", "_frauds", "_largest", "_held"):
            setattr(others, name, copy(getattr(self, name)))
        start = hour_of(at)
        held = self._hour(start)
        found, rest = held.find(event, at), held.without(event, at)
        if found is not None:
            place = bisect_left(self._starts, start)
            others._held[start] = rest
            others._change(place, -1, -int(found.value is not None), -(found.value or 0), -found.fraud)
            others._largest[place] = rest.largest(start, start + HOUR)
        return others

    def relabel(self, event: int, at: int, fraud: int, was: int) -> None:
        """Say what a transaction was."""
        start = hour_of(at)
        place = bisect_left(self._starts, start)
        if place < len(self._starts) and self._starts[place] == start:
            self._change(place, 0, 0, 0, fraud - was)
        if start in self._held:
            self._held[start].relabel(event, at, fraud)

    def sums(self, after: int, until: int) -> Sums:
        """Of those in (after, until]."""
        first, last = _full_hours(after, until)
        if first > last:
            return self._hour(hour_of(until)).sums(after, until)
        begin, end = bisect_left(self._starts, first), bisect_left(self._starts, last)
        ends = [
            self._hour(hour_of(edge)).sums(low, high)
            for edge, low, high in ((first, after, first), (until, last, until))
            if low < high
        ]
        full = (
            self._transactions[end] - self._transactions[begin],
            self._present[end] - self._present[begin],
            self._total[end] - self._total[begin],
            self._frauds[end] - self._frauds[begin],
        )
        transactions, present, total, frauds = (sum(each) for each in zip(full, *ends, strict=True))
        return transactions, present, total, frauds

    def largest(self, after: int, until: int) -> int | None:
        """The largest value in (after, until]."""
        first, last = _full_hours(after, until)
        if first > last:
            return self._hour(hour_of(until)).largest(after, until)
        begin, end = bisect_left(self._starts, first), bisect_left(self._starts, last)
        found = [
            self._hour(hour_of(edge)).largest(low, high)
            for edge, low, high in ((first, after, first), (until, last, until))
            if low < high
        ]
        return max((each for each in [*self._largest[begin:end], *found] if each is not None), default=None)

    def distinct(self, after: int, until: int, others: set[str]) -> int:
        """How many different words there are in (after, until], with others."""
        if self._moments and until < self._moments[-1]:  # a late transaction: words that came again later hide
            return self.load(after, until).distinct(after, until, others)
        known = len(self._moments) - bisect_right(self._moments, after)
        return known + sum(self._latest.get(word, after) <= after for word in others)

    def last(self, after: int, until: int) -> int | None:
        """When the last one in (after, until] was."""
        place = bisect_left(self._starts, until) - 1
        while place >= 0 and self._starts[place] + HOUR > after:
            found = self._hour(self._starts[place]).last(after, until)
            if found is not None:
                return found
            place -= 1
        return None

    def _hour(self, start: int) -> Timeline:
        held = self._held.get(start)
        if held is None:
            place = bisect_left(self._starts, start)
            empty = place == len(self._starts) or self._starts[place] != start
            held = self._held[start] = Timeline() if empty else self.load(start, start + HOUR)
            if len(self._held) > _MOST_HOURS:
                self._held.popitem(last=False)
        self._held.move_to_end(start)
        return held

    def _add_hour(self, place: int, hour: HourSums) -> None:
        self._starts.insert(place, hour.start)
        self._largest.insert(place, hour.largest)
        _insert(self._transactions, place, hour.transactions)
        _insert(self._present, place, hour.present)
        _insert(self._total, place, hour.total)
        _insert(self._frauds, place, hour.frauds)

    def _change(self, place: int, transactions: int, present: int, total: int, frauds: int) -> None:
        for later in range(place + 1, len(self._transactions)):
            self._transactions[later] += transactions
            self._present[later] += present
            self._total[later] += total
            self._frauds[later] += frauds

    def _note(self, word: str, at: int) -> None:
        known = self._latest.get(word)
        if known is not None:
            if at <= known:
                return
            del self._moments[bisect_left(self._moments, known)]
        self._latest[word] = at
        self._moments.insert(bisect_right(self._moments, at), at)


def hour_of(at: int) -> int:
    """The start of the hour that a moment lies in: hours end with the moment that the next one begins after."""
    return (at - 1) // HOUR * HOUR


def _full_hours(after: int, until: int) -> tuple[int, int]:
    """The start of the first and the end of the last full hour in (after, until].

    The first is later than the last where the window lies within one hour.
    """
    return -(-after // HOUR) * HOUR, until // HOUR * HOUR
