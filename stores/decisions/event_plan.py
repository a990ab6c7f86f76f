"""What is kept of a transaction for the features of history, and what a few transactions of one key come to.

A contract asks for series: for each entity, and each field of its that is added up or whose values are counted, one.
The first series of an entity counts its transactions, too.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from itertools import accumulate
from typing import Final, NamedTuple

import numpy as np

from ml_project.columns import coder
from ml_project.contract import Contract
from ml_project.contract_parts import ContractField, Feature
from ml_project.history import ADDING, LARGEST_MINOR, MICROSECONDS, minor_digits

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class PastEvent(NamedTuple):
    """A kept transaction of a key, as one series has it."""

    at: int
    """Microseconds since 1970."""
    value: int | None
    """Of the series' field in minor units, where that is added up."""
    word: str | None
    """Of the series' field, where its different values are counted."""
    fraud: int


class Totals(NamedTuple):
    """What the transactions of a key in a window come to."""

    transactions: int
    present: int
    """How many of them have a value."""
    total: int
    largest: int | None
    frauds: int
    words: frozenset[str]
    last: int | None
    """When the last one was."""


NOTHING: Final = Totals(0, 0, 0, None, 0, frozenset(), None)


def with_event(totals: Totals, event: PastEvent) -> Totals:
    """The totals and one transaction more, but for ``last``: a window that includes it asks for the one before."""
    here = event.value is not None
    values = [each for each in (totals.largest, event.value) if each is not None]
    return Totals(
        totals.transactions + 1,
        totals.present + here,
        totals.total + (event.value or 0),
        max(values, default=None),
        totals.frauds + event.fraud,
        totals.words if event.word is None else totals.words | {event.word},
        totals.last,
    )


def joined(first: Totals, second: Totals) -> Totals:
    """The totals of both."""
    values = [each for each in (first.largest, second.largest) if each is not None]
    lasts = [each for each in (first.last, second.last) if each is not None]
    return Totals(
        first.transactions + second.transactions,
        first.present + second.present,
        first.total + second.total,
        max(values, default=None),
        first.frauds + second.frauds,
        first.words | second.words,
        max(lasts, default=None),
    )


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

    def window(self, feature: Feature, at: int) -> tuple[int, int]:
        """After and up to which moment a feature of a transaction takes others."""
        end = at - feature.delay * MICROSECONDS
        return end - feature.window * MICROSECONDS, end

    def value(self, feature: Feature, at: int, totals: Totals) -> float:
        """A feature of a transaction, as `ml_project.history.compute_history` has it."""
        if feature.operator == "count":
            return float(totals.transactions)
        if feature.operator == "fraud_rate":
            return totals.frauds / max(totals.transactions, 1)
        if feature.operator == "seconds_since_last":
            return np.nan if totals.last is None else (at - totals.last) / MICROSECONDS
        if feature.operator == "distinct":
            return float(len(totals.words))
        scale = int(10**self.digits)
        if not totals.present:
            return np.nan
        if feature.operator == "maximum":
            return float(totals.largest or 0) / scale
        return float(totals.total) / float(totals.present * scale if feature.operator == "mean" else scale)

    def values(self, own: PastEvent, events: Sequence[PastEvent]) -> list[tuple[int, float]]:
        """Features of a transaction by place, from all others of its key in reach, the earliest first."""
        ats = [event.at for event in events]
        present = list(accumulate((event.value is not None for event in events), initial=0))
        total = list(accumulate((event.value or 0 for event in events), initial=0))
        frauds = list(accumulate((event.fraud for event in events), initial=0))
        found = []
        for place, feature in self.features:
            after, until = self.window(feature, own.at)
            begin, end = bisect_right(ats, after), bisect_right(ats, until)
            inside = events[begin:end] if feature.operator in ("maximum", "distinct") else ()
            totals = Totals(
                end - begin,
                present[end] - present[begin],
                total[end] - total[begin],
                max((event.value for event in inside if event.value is not None), default=None),
                frauds[end] - frauds[begin],
                frozenset(event.word for event in inside if event.word is not None),
                ats[end - 1] if end > begin else None,
            )
            included = totals if feature.delay else with_event(totals, own)
            found.append((place, self.value(feature, own.at, included)))
        return found


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """A transaction for the history of its keys.

    Attributes
    ----------
    event_id : str
        Its own name: whatever comes twice counts once.
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
    at: int
    keys: tuple[str | None, ...]
    values: tuple[int | None, ...]
    words: tuple[str | None, ...]
    fraud: int = 0


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
        return HistoryEvent(
            event_id,
            at,
            tuple(_text(given[name]) for name in self.entities),
            tuple(self._minor(name, given[name]) for name in self.summed),
            tuple(self._word(name, given[name]) for name in self.counted),
            fraud,
        )

    def _minor(self, name: str, value: object) -> int | None:
        if not isinstance(value, float) or value != value:
            return None
        scaled = round(value * float(10 ** minor_digits(self._fields[name])))
        return max(-LARGEST_MINOR, min(LARGEST_MINOR, scaled))

    def _word(self, name: str, value: object) -> str | None:
        field = self._fields[name]
        # categories that are not listed are one value, as raw transactions have them
        return _text(coder(field.values)(value) if field.type == "category" and isinstance(value, str) else value)

    def key(self, series: Series, event: HistoryEvent) -> str | None:
        """The key under which a series has a transaction."""
        return event.keys[self.entities.index(series.entity)]

    def row(self, series: Series, event: HistoryEvent) -> PastEvent:
        """A transaction as a series has it."""
        value = event.values[self.summed.index(series.field)] if series.field and not series.words else None
        word = event.words[self.counted.index(series.field)] if series.words else None
        return PastEvent(event.at, value, word, event.fraud)


def event_id(contract: str, transaction_id: str | None, prediction_id: str) -> str:
    """The id of a transaction among the past ones of a contract: the client's name for it, else its prediction's."""
    return f"{contract}\x1f{transaction_id or prediction_id}"


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * MICROSECONDS + since.microseconds


def _text(value: object) -> str | None:
    """A key or a value as it is compared: codes of categories and numbers in their shortest form."""
    if isinstance(value, float):
        return None if value != value else f"{value:.17g}"
    return None if value is None else str(value)
