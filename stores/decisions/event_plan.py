"""What is kept of a transaction for the features of history, and how they are made of a key's transactions.

A contract asks for series: for each entity, and each field of its that is added up or whose values are counted, one.
The first series of an entity counts its transactions, too.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from itertools import repeat
from operator import add
from typing import Final, NamedTuple, TypeVar

from ml_project.columns import coder
from ml_project.contract import Contract
from ml_project.contract_parts import ContractField, Feature
from ml_project.history import ADDING, LARGEST_MINOR, MICROSECONDS, minor_digits
from stores.decisions.timeline import HourlyTimeline, PastEvent, Timeline

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
    def windows(self) -> tuple[tuple[int, int, tuple[tuple[int, str], ...]], ...]:
        """Delay and length of each window, in microseconds, and the places and operators of its features."""
        asked: dict[tuple[int, int], list[tuple[int, str]]] = {}
        for place, each in self.features:
            asked.setdefault((each.delay * MICROSECONDS, each.window * MICROSECONDS), []).append((place, each.operator))
        return tuple((delay, window, tuple(features)) for (delay, window), features in asked.items())

    def fill(self, found: list[float], own: PastEvent, kept: Timeline | HourlyTimeline, others: Timeline) -> None:
        """Write features of a transaction, from others of its key, to their places.

        They are as `ml_project.history.compute_history` has them: sums are integers, and divided once.
        """
        scale: int = 10**self.digits
        for delay, window, features in self.windows:
            until = own.at - delay
            after = until - window
            transactions, present, total, frauds = kept.sums(after, until)
            if others:
                more = others.sums(after, until)
                transactions, present, total, frauds = map(add, (transactions, present, total, frauds), more)
            if not delay:  # the transaction itself is in the window
                transactions, frauds = transactions + 1, frauds + own.fraud
                if own.value is not None:
                    present, total = present + 1, total + own.value
            for place, operator in features:
                if operator == "count":
                    value = float(transactions)
                elif operator == "mean":
                    value = float(total) / float(present * scale) if present else math.nan
                elif operator == "sum":
                    value = float(total) / scale if present else math.nan
                elif operator == "fraud_rate":
                    value = frauds / max(transactions, 1)
                elif operator == "seconds_since_last":
                    lasts = [each for each in (kept.last(after, until), others.last(after, until)) if each is not None]
                    value = (own.at - max(lasts)) / MICROSECONDS if lasts else math.nan
                elif operator == "maximum":
                    own_value = None if delay else own.value
                    every = (kept.largest(after, until), others.largest(after, until), own_value)
                    values = [each for each in every if each is not None]
                    value = float(max(values)) / scale if values else math.nan
                else:
                    words = others.words(after, until)
                    if own.word is not None and not delay:
                        words.add(own.word)
                    value = float(kept.distinct(after, until, words))
                found[place] = value


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
