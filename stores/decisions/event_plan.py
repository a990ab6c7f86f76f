"""What is kept of a transaction for the features of history, and how they are made of a key's transactions.

A contract asks for series: for each entity, and each field of its that is added up or whose values are counted, one.
The first series of an entity counts its transactions, too.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from itertools import repeat
from typing import Final, NamedTuple, TypeVar

from ml_project.columns import coder
from ml_project.contract import Contract
from ml_project.contract_parts import ContractField, Feature
from ml_project.history import ADDING, LARGEST_MINOR, MICROSECONDS, minor_digits
from stores.decisions.timeline import HourlyTimeline, PastEvent, Timeline, added

T = TypeVar("T")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Series:
    """The transactions of one entity's keys, with one field.

    Attributes
    ----------
    field : str
        Empty where only transactions are counted.
    words : bool
        Whether the field's different values are counted, rather than added up.
    digits : int
        Decimals of the field's minor units.
    features : tuple of (int, Feature)
        Those that are made of it, with their places in ``contract.history``.
    """

    entity: str
    field: str
    words: bool
    digits: int
    features: tuple[tuple[int, Feature], ...]

    @cached_property
    def reach(self) -> int:
        """How far back it is asked for, in microseconds."""
        return max(each.window + each.delay for _place, each in self.features) * MICROSECONDS

    @cached_property
    def bounds(self) -> tuple[int, ...]:
        """How long before a transaction its windows begin and end, in microseconds, in ascending order."""
        ends = {each.delay for _place, each in self.features}
        return tuple(
            sorted(each * MICROSECONDS for each in ends | {each.delay + each.window for _, each in self.features})
        )

    @cached_property
    def windows(self) -> tuple[tuple[int, str, int, int], ...]:
        """Of each feature its place, its operator, and which of the bounds its window begins and ends with.

        Shorter windows come first.
        """
        order = {bound: place for place, bound in enumerate(self.bounds)}
        return tuple(
            (place, each.operator, order[(each.delay + each.window) * MICROSECONDS], order[each.delay * MICROSECONDS])
            for place, each in sorted(self.features, key=lambda asked: asked[1].window)
        )

    def fill(self, found: list[float], own: PastEvent, kept: Timeline | HourlyTimeline, others: Timeline) -> None:
        """Write features of a transaction, from others of its key, to their places.

        They are as `ml_project.history.compute_history` has them: sums are integers, and divided once.
        """
        scale: int = 10**self.digits
        moments = [own.at - bound for bound in self.bounds]
        running = kept.running(moments)
        if others:
            running = [added(*both) for both in zip(running, others.running(moments), strict=True)]
        if not self.bounds[0]:  # the transaction itself is in windows without a delay
            running[0] = added(running[0], (1, int(own.value is not None), own.value or 0, own.fraud))
        largest: dict[int, tuple[int, int | None]] = {}
        for place, operator, begin, end in self.windows:
            first, last = running[begin], running[end]
            if operator == "fraud_rate":
                found[place] = (last[3] - first[3]) / ((last[0] - first[0]) or 1)
            elif operator == "count":
                found[place] = float(last[0] - first[0])
            elif operator == "mean":
                present = last[1] - first[1]
                found[place] = float(last[2] - first[2]) / float(present * scale) if present else math.nan
            elif operator == "sum":
                found[place] = float(last[2] - first[2]) / scale if last[1] > first[1] else math.nan
            elif operator == "seconds_since_last":
                since, until = moments[begin], moments[end]
                lasts = [each for each in (kept.last(since, until), others.last(since, until)) if each is not None]
                found[place] = (own.at - max(lasts)) / MICROSECONDS if lasts else math.nan
            elif operator == "maximum":
                # of a longer window with the same end, only what the shorter one has not seen
                seen, most = largest.get(end, (end, None if self.bounds[end] else own.value))
                every = [most, kept.largest(moments[begin], moments[seen])]
                if others:
                    every.append(others.largest(moments[begin], moments[seen]))
                most = max((each for each in every if each is not None), default=None)
                largest[end] = begin, most
                found[place] = math.nan if most is None else float(most) / scale
            else:
                words = others.words(moments[begin], moments[end])
                if own.word is not None and not self.bounds[end]:
                    words.add(own.word)
                found[place] = float(kept.distinct(moments[begin], moments[end], words))


class HistoryEvent(NamedTuple):
    """A transaction for the history of its keys.

    Attributes
    ----------
    event_id : str
        Its own name: whatever comes twice counts once.
    number : int
        See `event_number`.
    at : int
        Microseconds since 1970.
    keys : tuple of str or None
        Of ``EventPlan.entities``.
    values : tuple of int or None
        Of ``EventPlan.summed`` in minor units.
    words : tuple of str or None
        Of ``EventPlan.counted``.
    fraud : int
        1 where it is known to be fraud.
    """

    event_id: str
    number: int
    at: int
    keys: tuple[str | None, ...]
    values: tuple[int | None, ...]
    words: tuple[str | None, ...]
    fraud: int = 0


Row = tuple[str | None, PastEvent]


@dataclass(frozen=True)
class EventPlan:
    """What a contract's history needs of a transaction.

    Attributes
    ----------
    entities, summed, counted : tuple of str
        Fields whose keys, minor units and values are kept.
    series : tuple of Series
    """

    contract: Contract
    entities: tuple[str, ...]
    summed: tuple[str, ...]
    counted: tuple[str, ...]
    series: tuple[Series, ...]

    @staticmethod
    @cache
    def of(contract: Contract) -> "EventPlan":
        """The plan of a contract; without series where it has no history."""
        fields = {each.name: each for each in contract.fields}
        entities = tuple(dict.fromkeys(each.by for each in contract.history if each.by))
        found: list[Series] = []
        for entity in entities:
            asked = [(place, each) for place, each in enumerate(contract.history) if each.by == entity]
            names = dict.fromkeys(each.of[0] for _place, each in asked if each.operator in ADDING) or {"": None}
            words = dict.fromkeys(each.of[0] for _place, each in asked if each.operator == "distinct")
            first = next(iter(names))
            for name in names:
                chosen = [
                    (place, each)
                    for place, each in asked
                    if (each.operator in ADDING and each.of[0] == name) or (not each.of and name == first)
                ]
                digits = minor_digits(fields[name]) if name else 0
                if chosen:
                    found.append(Series(entity, name, False, digits, tuple(chosen)))
            for name in words:
                chosen = [(place, each) for place, each in asked if each.operator == "distinct" and each.of[0] == name]
                found.append(Series(entity, name, True, 0, tuple(chosen)))
        summed = tuple(dict.fromkeys(each.field for each in found if each.field and not each.words))
        counted = tuple(dict.fromkeys(each.field for each in found if each.words))
        return EventPlan(contract, entities, summed, counted, tuple(found))

    @cached_property
    def reach(self) -> int:
        """How far back any feature asks, in microseconds."""
        return max((each.reach for each in self.series), default=0)

    @cached_property
    def _fields(self) -> dict[str, ContractField]:
        return {each.name: each for each in self.contract.fields}

    def event(self, event_id: str, at: int, given: Mapping[str, object], fraud: int = 0) -> HistoryEvent:
        """A transaction by the values of its fields: numbers as raw transactions have them, entities as text."""
        return next(self.events([event_id], [at], {name: [value] for name, value in given.items()}, [fraud]))

    def events(
        self,
        event_ids: Sequence[str],
        at: Sequence[int],
        given: Mapping[str, Sequence[object]],
        frauds: Sequence[int] | None = None,
    ) -> Iterator[HistoryEvent]:
        """The same of many, field by field."""
        count = len(event_ids)
        return map(
            HistoryEvent,
            event_ids,
            map(event_number, event_ids),
            at,
            _rows(count, [[_text(value) for value in given[name]] for name in self.entities]),
            _rows(count, [self._minor(name, given[name]) for name in self.summed]),
            _rows(count, [self._words(name, given[name]) for name in self.counted]),
            frauds or [0] * count,
        )

    def _minor(self, name: str, values: Sequence[object]) -> list[int | None]:
        scale = float(10 ** minor_digits(self._fields[name]))
        return [
            max(-LARGEST_MINOR, min(LARGEST_MINOR, round(value * scale)))
            if isinstance(value, float) and value == value
            else None
            for value in values
        ]

    def _words(self, name: str, values: Sequence[object]) -> list[str | None]:
        field = self._fields[name]
        if field.type != "category":
            return [_text(value) for value in values]
        # categories that are not listed are one value, as raw transactions have them
        code = coder(field.values)
        return [_text(code(value) if isinstance(value, str) else value) for value in values]

    @cached_property
    def slots(self) -> tuple[tuple[int, int, int], ...]:
        """Of each series, where an event has its key, value and word; -1 where it has none."""
        return tuple(
            (
                self.entities.index(each.entity),
                self.summed.index(each.field) if each.field and not each.words else -1,
                self.counted.index(each.field) if each.words else -1,
            )
            for each in self.series
        )

    def rows(self, event: HistoryEvent) -> list[Row]:
        """The key under which each series has a transaction, and how."""
        _name, number, at, keys, values, words, fraud = event
        return [
            (
                keys[key],
                PastEvent(number, at, values[value] if value >= 0 else None, words[word] if word >= 0 else None, fraud),
            )
            for key, value, word in self.slots
        ]


def _rows(count: int, columns: Sequence[Sequence[T]]) -> Iterator[tuple[T, ...]]:
    return zip(*columns, strict=True) if columns else repeat((), count)


@lru_cache(maxsize=2**14)  # looked up, kept and read again, a transaction is asked for three times within a moment
def event_number(event_id: str) -> int:
    """A number of 64 bits by which the transactions of one key and moment are told apart."""
    return int.from_bytes(hashlib.blake2b(event_id.encode(), digest_size=8).digest(), "little", signed=True)


def event_id(contract: str, transaction_id: str | None, prediction_id: str) -> str:
    """The id of a transaction among the past ones of a contract: the client's name for it, else its prediction's."""
    return f"{contract}\x1f{transaction_id or prediction_id}"


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * MICROSECONDS + since.microseconds


def _text(value: object) -> str | None:
    """A key or a value as it is compared: codes of categories and numbers in their shortest form."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return None if value != value else f"{value:.17g}"
    return None if value is None else str(value)
