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
from operator import itemgetter
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
"""What transactions come to: how many they are, how many have a value, the values' sum, and frauds."""


def added(some: Sums, more: Sums) -> Sums:
    """Those of both."""
    return some[0] + more[0], some[1] + more[1], some[2] + more[2], some[3] + more[3]


_MISSING: Final = -(2**62)
"""Less than any value."""


class Timeline:
    """Transactions in the order of their times, and of their numbers where these are equal.

    Keys whose transactions all have one moment are ordinary, such as those of a shop whose times are dates.

    Parameters
    ----------
    events : iterable of PastEvent
        In any order.
    """

    __slots__ = ("_at", "_event", "_frauds", "_present", "_total", "_values", "_words")

    def __init__(self, events: Iterable[PastEvent] = ()) -> None:
        self._at, self._event, self._values = array("q"), array("q"), array("q")
        # running sums, which begin with 0
        self._present, self._total, self._frauds = array("q", (0,)), array("q", (0,)), array("q", (0,))
        self._words: list[str | None] = []
        for event in sorted(events, key=itemgetter(1, 0)):
            self.add(event)

    def __len__(self) -> int:
        return len(self._at)

    def add(self, event: PastEvent) -> None:
        """Put a transaction where it belongs."""
        number, at, value, word, fraud = event
        if not self._at or (at, number) >= (self._at[-1], self._event[-1]):
            self._at.append(at)
            self._event.append(number)
            self._values.append(_MISSING if value is None else value)
            self._words.append(word)
            self._present.append(self._present[-1] + (value is not None))
            self._total.append(self._total[-1] + (value or 0))
            self._frauds.append(self._frauds[-1] + fraud)
            return
        place = bisect_left(self._event, number, bisect_left(self._at, at), bisect_right(self._at, at))
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
        place = self._place(event, at)
        return self if place is None else _AllBut(self, place)

    def relabel(self, event: int, at: int, fraud: int) -> None:
        """Say what a transaction was, if it is here."""
        place = self._place(event, at)
        if place is not None:
            _raise(self._frauds, place + 1, fraud - self._past(place).fraud)

    def running(self, moments: Sequence[int]) -> list[Sums]:
        """What all transactions up to each moment come to; those in a window are the difference of two."""
        at, present, total, frauds = self._at, self._present, self._total, self._frauds
        places = [bisect_right(at, moment) for moment in moments]
        return [(place, present[place], total[place], frauds[place]) for place in places]

    def largest(self, after: int, until: int) -> int | None:
        """The largest value in (after, until]."""
        found = self._largest(bisect_right(self._at, after), bisect_right(self._at, until))
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

    def _largest(self, begin: int, end: int) -> int:
        if end - begin > _FEW:
            return int(np.frombuffer(self._values, dtype=np.int64)[begin:end].max())
        return max(self._values[begin:end], default=_MISSING)

    def _place(self, event: int, at: int) -> int | None:
        if not self._at or at > self._at[-1]:
            return None
        end = bisect_right(self._at, at)
        place = bisect_left(self._event, event, bisect_left(self._at, at), end)
        return place if place < end and self._event[place] == event else None

    def _past(self, place: int) -> PastEvent:
        value, fraud = self._values[place], self._frauds[place + 1] - self._frauds[place]
        shown = None if value == _MISSING else value
        return PastEvent(self._event[place], self._at[place], shown, self._words[place], fraud)


class _AllBut(Timeline):
    """A timeline without one transaction; it shares the rest, so that it costs the same however long that is."""

    __slots__ = ("_left_out",)

    def __init__(self, whole: Timeline, left_out: int) -> None:
        for name in Timeline.__slots__:
            setattr(self, name, getattr(whole, name))
        self._left_out = left_out

    def __len__(self) -> int:
        return super().__len__() - 1

    def running(self, moments: Sequence[int]) -> list[Sums]:
        own = self._past(self._left_out)
        less = (-1, -int(own.value is not None), -(own.value or 0), -own.fraud)
        return [
            sums if moment < own.at else added(sums, less)
            for moment, sums in zip(moments, super().running(moments), strict=True)
        ]

    def largest(self, after: int, until: int) -> int | None:
        found = max((self._largest(*span) for span in self._spans(after, until)), default=_MISSING)
        return None if found == _MISSING else found

    def distinct(self, after: int, until: int, others: set[str]) -> int:
        return len(self.words(after, until) | others)

    def words(self, after: int, until: int) -> set[str]:
        spans = self._spans(after, until)
        return {word for begin, end in spans for word in self._words[begin:end] if word is not None}

    def last(self, after: int, until: int) -> int | None:
        found = [self._at[end - 1] for begin, end in self._spans(after, until) if begin < end]
        return found[-1] if found else None

    def _place(self, event: int, at: int) -> int | None:
        place = super()._place(event, at)
        return None if place == self._left_out else place

    def _spans(self, after: int, until: int) -> tuple[tuple[int, int], ...]:
        begin, end = bisect_right(self._at, after), bisect_right(self._at, until)
        if begin <= self._left_out < end:
            return (begin, self._left_out), (self._left_out + 1, end)
        return ((begin, end),)


_FEW: Final = 64
"""Up to so many numbers, Python is as quick as NumPy."""


def _insert(running: "array[int]", place: int, amount: int) -> None:
    """Insert an amount whose place is known into running sums."""
    running.insert(place + 1, running[place] + amount)
    _raise(running, place + 2, amount)


def _raise(running: "array[int]", first: int, amount: int) -> None:
    """Add an amount to all from a place on."""
    if not amount:
        return
    if len(running) - first > _FEW:
        np.frombuffer(running, dtype=np.int64)[first:] += amount
        return
    for later in range(first, len(running)):
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
        start = hour_of(at)
        hour = self._hour(start)
        found = hour.find(event, at)
        return self if found is None else _AllButHourly(self, found, start, hour.without(event, at))

    def relabel(self, event: int, at: int, fraud: int, was: int) -> None:
        """Say what a transaction was."""
        start = hour_of(at)
        place = bisect_left(self._starts, start)
        if place < len(self._starts) and self._starts[place] == start:
            self._change(place, 0, 0, 0, fraud - was)
        if start in self._held:
            self._held[start].relabel(event, at, fraud)

    def running(self, moments: Sequence[int]) -> list[Sums]:
        """What all transactions up to each moment come to; those in a window are the difference of two."""
        return [self._up_to(moment) for moment in moments]

    def _up_to(self, moment: int) -> Sums:
        hour = moment // HOUR * HOUR
        place = bisect_left(self._starts, hour)
        full = self._transactions[place], self._present[place], self._total[place], self._frauds[place]
        if hour == moment:
            return full
        [part] = self._hour(hour).running([moment])
        return added(full, part)

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
        changes = (transactions, present, total, frauds)
        for running, change in zip(
            (self._transactions, self._present, self._total, self._frauds), changes, strict=True
        ):
            _raise(running, place + 1, change)

    def _note(self, word: str, at: int) -> None:
        known = self._latest.get(word)
        if known is not None:
            if at <= known:
                return
            del self._moments[bisect_left(self._moments, known)]
        self._latest[word] = at
        self._moments.insert(bisect_right(self._moments, at), at)


class _AllButHourly(HourlyTimeline):
    """The same without one transaction; hours that are read for it are held by the whole."""

    def __init__(self, whole: HourlyTimeline, left_out: PastEvent, start: int, rest: Timeline) -> None:
        vars(self).update(vars(whole))
        for name in ("_transactions", "_present", "_total", "_frauds", "_largest"):
            setattr(self, name, copy(getattr(whole, name)))
        self._whole, self._start, self._rest = whole, start, rest
        place = bisect_left(self._starts, start)
        self._change(place, -1, -int(left_out.value is not None), -(left_out.value or 0), -left_out.fraud)
        self._largest[place] = rest.largest(start, start + HOUR)

    def _hour(self, start: int) -> Timeline:
        return self._rest if start == self._start else self._whole._hour(start)


def hour_of(at: int) -> int:
    """The start of the hour that a moment lies in: hours end with the moment that the next one begins after."""
    return (at - 1) // HOUR * HOUR


def _full_hours(after: int, until: int) -> tuple[int, int]:
    """The start of the first and the end of the last full hour in (after, until].

    The first is later than the last where the window lies within one hour.
    """
    return -(-after // HOUR) * HOUR, until // HOUR * HOUR
