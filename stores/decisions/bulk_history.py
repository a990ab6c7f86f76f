"""Features from history of many transactions at once: `Series.fill` in whole columns, for files and arrays of them."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ml_project.history import NEVER, fraud_rate, in_units, largest_within, seconds_since
from stores.decisions.event_plan import EventPlan, HistoryEvent
from stores.decisions.timeline import HourlyTimeline, PastEvent, Timeline

Integers = NDArray[np.int64]

_MOST: Final = 2**62


class Column:
    """The transactions of a request as one series has them, in time order; each once, and none of them kept.

    Parameters
    ----------
    plan : EventPlan
    place : int
        Of the series in the plan.
    events : sequence of HistoryEvent
        By time, and as they came where times are equal.
    """

    def __init__(self, plan: EventPlan, place: int, events: Sequence[HistoryEvent]) -> None:
        self._plan, self._place, self._events = plan, place, events
        self._series = series = plan.series[place]
        key, value, word = plan.slots[place]
        self._before: dict[str, Timeline] = {}
        self.keys = [event.keys[key] for event in events]
        codes: dict[str | None, int] = {None: 0}
        self._code = np.array([codes.setdefault(key, len(codes)) for key in self.keys], dtype=np.int64)
        self._codes = codes
        self._moments = [event.at for event in events]
        self._at = np.array(self._moments, dtype=np.int64)
        values = [event.values[value] for event in events] if value >= 0 else [None] * len(events)
        self._words = [event.words[word] for event in events] if word >= 0 else [None] * len(events)
        self._total = np.array([value or 0 for value in values], dtype=np.int64)
        self._present = np.array([value is not None for value in values], dtype=np.int64)
        self._frauds = np.array([event.fraud for event in events], dtype=np.int64)
        # moments are told apart by key: one number has both
        self._origin = int(self._at[0]) - series.reach - 1
        self._span = int(self._at[-1]) - self._origin + 2

    @property
    def fits(self) -> bool:
        """Whether keys and moments fit into one number."""
        return self._span * (len(self._codes) + 1) < _MOST

    def earliest(self, begin: int, end: int) -> dict[str, int]:
        """Keys of the rows [begin, end), and the moment of the first transaction of each."""
        first: dict[Any, int] = dict(zip(self.keys[begin:end][::-1], self._moments[begin:end][::-1], strict=True))
        first.pop(None, None)
        return first

    @cached_property
    def _stacked(self) -> "_Stacked":
        order = np.argsort(self._code, kind="stable")
        words = [self._words[row] for row in order.tolist()]
        return _Stacked(
            self._moment(self._code, self._at)[order],
            self._at[order],
            np.where(self._present > 0, self._total, -_MOST)[order],
            *(np.concatenate([[0], np.cumsum(each[order])]) for each in (self._present, self._total, self._frauds)),
            words=words,
        )

    @cached_property
    def _rank(self) -> Integers:
        rank = np.empty(len(self._code), dtype=np.int64)
        rank[np.argsort(self._code, kind="stable")] = np.arange(len(rank))
        return rank

    def _moment(self, code: Integers, at: Integers) -> Integers:
        return code * self._span + np.clip(at - self._origin, 0, self._span - 1)

    def fill(self, found: NDArray[np.float64], begin: int, end: int, kept: Mapping[str, Timeline]) -> None:
        """Write features of the rows [begin, end) to their columns of ``found`` (end - begin, features).

        ``kept`` are the pasts of their keys; a key without one has none.
        """
        some = slice(begin, end)
        keyed = self._code[some] > 0
        code, at, rank = (each[some][keyed] for each in (self._code, self._at, self._rank))
        own = [each[some][keyed] for each in (self._present, self._total, self._frauds)]
        past, mine = self._kept(kept), self._stacked
        edges: list[tuple[Integers, Integers]] = []
        running: list[list[Integers]] = []
        for bound in self._series.bounds:
            moment = self._moment(code, at - bound)
            # of the same request, those before a transaction count; with a delay, those up to the moment
            edges.append((past.after(moment), mine.after(moment) if bound else rank))
            running.append(
                [np.add(*both) for both in zip(past.running(edges[-1][0]), mine.running(edges[-1][1]), strict=True)]
            )
        if not self._series.bounds[0]:
            running[0] = [np.add(*both) for both in zip(running[0], [np.ones_like(rank), *own], strict=True)]
        for place, operator, earlier, later in self._series.windows:
            transactions, present, total, frauds = (
                np.subtract(*both) for both in zip(running[later], running[earlier], strict=True)
            )
            spans = [(stack, edges[earlier][which], edges[later][which]) for which, stack in enumerate((past, mine))]
            counts_itself = not self._series.bounds[later]
            if operator == "count":
                values = transactions.astype(np.float64)
            elif operator in ("mean", "sum"):
                divisor = present if operator == "mean" else np.minimum(present, 1)
                values = in_units(total, divisor, self._series.digits)
            elif operator == "fraud_rate":
                values = fraud_rate(frauds, transactions)
            elif operator == "seconds_since_last":
                lasts = [np.where(last > first, stack.at[last - 1], NEVER) for stack, first, last in spans]
                values = seconds_since(at, np.maximum(*lasts))
            elif operator == "maximum":
                every = [stack.largest(first, last) for stack, first, last in spans]
                if counts_itself:
                    every.append(np.where(own[0] > 0, own[1], -_MOST))
                values = in_units(np.maximum.reduce(every), np.minimum(present, 1), self._series.digits)
            else:
                values = self._distinct(np.flatnonzero(keyed) + begin, spans, own=counts_itself).astype(np.float64)
            found[keyed, place] = values

    def fill_one_by_one(
        self, found: NDArray[np.float64], begin: int, end: int, kept: Mapping[str, HourlyTimeline]
    ) -> None:
        """The same for the rows of some keys whose pasts are in hours."""
        for row in range(begin, end):
            key = self.keys[row]
            if key is not None and key in kept:
                if key not in self._before:
                    earlier = (other for other in range(row) if self.keys[other] == key)
                    self._before[key] = Timeline(map(self._past, earlier))
                own, values = self._past(row), found[row - begin].tolist()
                self._series.fill(values, own, kept[key], self._before[key])
                found[row - begin] = values
                self._before[key].add(own)

    def _past(self, row: int) -> PastEvent:
        return self._plan.rows(self._events[row])[self._place][1]

    def _distinct(self, rows: Integers, spans: list[tuple["_Stacked", Integers, Integers]], *, own: bool) -> Integers:
        counted = []
        bounds = zip(*(each.tolist() for _stack, *both in spans for each in both), strict=True)
        (past, *_), (mine, *_) = spans
        for row, (first, last, first_mine, last_mine) in zip(rows.tolist(), bounds, strict=True):
            words = {*past.words[first:last], *mine.words[first_mine:last_mine]}
            if own:
                words.add(self._words[row])
            counted.append(len(words) - (None in words))
        return np.array(counted, dtype=np.int64)

    def _kept(self, kept: Mapping[str, Timeline]) -> "_Stacked":
        found = sorted((self._codes[key], timeline) for key, timeline in kept.items() if len(timeline))
        code = np.repeat([code for code, _timeline in found], [len(timeline) for _code, timeline in found])
        at, values, *running = Timeline.stacked([timeline for _code, timeline in found])
        return _Stacked(
            self._moment(code.astype(np.int64), at),
            at,
            values,
            *running,
            words=[word for _code, timeline in found for word in timeline.all_words] if self._series.words else [],
        )


class _Stacked:
    """Pasts of many keys, one after the other; running sums begin with 0."""

    def __init__(
        self,
        moment: Integers,
        at: Integers,
        values: Integers,
        present: Integers,
        total: Integers,
        frauds: Integers,
        *,
        words: list[str | None],
    ) -> None:
        self._moment, self._values, self.words = moment, values, words
        self.at = at if len(at) else np.array([NEVER])
        self._running = present, total, frauds

    def after(self, moment: Integers) -> Integers:
        """Where those after moments (n,) begin."""
        return np.searchsorted(self._moment, moment, side="right")

    def running(self, places: Integers) -> list[Integers]:
        """Before each place (n,): how many there are, how many have a value, the values' sum, and frauds."""
        return [places, *(each[places] for each in self._running)]

    def largest(self, first: Integers, last: Integers) -> Integers:
        """The largest values in [first, last), each (n,)."""
        found = np.full(len(first), -_MOST)
        some = last > first
        found[some] = largest_within(self._values, first[some], last[some])
        return found
