"""What an entity did before: features over windows of time, computed for whole tables.

A window over a key ends with the transaction that is asked for: it holds the key's transactions of ``(t - window, t]``,
those of the same moment as far as they came before it. One with a delay holds those of
``(t - delay - window, t - delay]``. Times count in whole microseconds, amounts in whole minor units, and there is one
division at the end: sums then do not depend on the order in which they are made, so that a gateway that adds up one
transaction after the other comes to the same bits as `compute_history` does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.contract import Contract
from ml_project.contract_parts import ContractField, Feature

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MICROSECONDS: Final = 1_000_000

LARGEST_MINOR: Final = 2**43
"""Minor units at which a value is held: a window of a million such values still has its sum in 64 bits."""

_DIGITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV"), 0),
    **dict.fromkeys(("XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
"""Decimals of the currencies that do not have two (ISO 4217)."""

_AMOUNT_DIGITS: Final = 2
_OTHER_DIGITS: Final = 6
_LARGEST: Final = 2**62


def minor_digits(field: ContractField) -> int:
    """How many decimals of a field's values are summed: none of integers, a currency's of amounts, six of others."""
    if field.type != "number":
        return 0
    return _DIGITS.get(field.unit, _AMOUNT_DIGITS) if field.role == "amount" else _OTHER_DIGITS


def minor_units(field: ContractField, values: Floats) -> Integers:
    """Values (n,) in whole minor units, 0 where one is missing."""
    scaled = np.rint(np.nan_to_num(values) * 10 ** minor_digits(field))
    whole: Integers = np.clip(scaled, -LARGEST_MINOR, LARGEST_MINOR).astype(np.int64)
    return whole


@dataclass(frozen=True)
class Events:
    """Transactions as history sees them, in the order in which they came.

    Attributes
    ----------
    at : ndarray of shape (n,), int64
        Microseconds since 1970.
    keys : mapping
        Of each entity that a feature is about, a number (n,) for each of its keys; -1 where there is none.
    amounts : mapping
        Of each field that is added up, its values (n,) in minor units.
    present : mapping
        Of the same fields, which values (n,) there are.
    codes : mapping
        Of each field whose different values are counted, a number (n,) for each of them; -1 where there is none.
    fraud : ndarray of shape (n,), bool
        What turned out to be fraud.
    """

    at: Integers
    keys: Mapping[str, Integers]
    amounts: Mapping[str, Integers] = field(default_factory=dict)
    present: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    codes: Mapping[str, Integers] = field(default_factory=dict)
    fraud: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def __len__(self) -> int:
        return len(self.at)


ADDING: Final = ("sum", "mean", "maximum")
"""Operators that add up, or compare, the values of a field."""


def compute_history(contract: Contract, events: Events, features: Sequence[Feature] | None = None) -> Floats:
    """Features of history for every transaction, from all of them.

    Time and memory grow with the number of transactions (times its logarithm for sorting and for ``maximum``),
    however many of them one key has.

    Parameters
    ----------
    contract : Contract
    events : Events
        In any order; of two at one moment, the first came first.
    features : sequence of Feature, optional
        By default ``contract.history``.

    Returns
    -------
    ndarray of shape (n, features)
        Columns as in ``features``; NaN where a transaction has no such key.
    """
    asked = contract.history if features is None else features
    fields = {each.name: each for each in contract.fields}
    found = np.full((len(events), len(asked)), np.nan)
    if not len(events):
        return found
    for entity in dict.fromkeys(each.by for each in asked if each.by):
        grouped = _Grouped(events.keys[entity], events.at)
        for place, feature in enumerate(asked):
            if feature.by == entity:
                found[grouped.order, place] = _over_windows(feature, fields, events, grouped)
    return found


class _Grouped:
    """Transactions sorted by key, then by time, then as they came; those without a key are left out.

    Attributes
    ----------
    order : ndarray of shape (m,)
        The transactions' places, sorted.
    """

    def __init__(self, keys: Integers, at: Integers) -> None:
        with_key = np.flatnonzero(keys >= 0)
        self.order = with_key[np.lexsort((at[with_key], keys[with_key]))]
        self.at = at[self.order]
        key = keys[self.order]
        first = np.ones(len(key), dtype=np.bool_)
        first[1:] = key[1:] != key[:-1]
        self._group = np.cumsum(first) - 1
        self._begins = np.append(np.flatnonzero(first), len(key))
        self._edges: dict[int, Integers] = {}

    @cached_property
    def own(self) -> Integers:
        """Each transaction's place in the sorted order."""
        return np.arange(len(self.at))

    def edge(self, ago: int) -> Integers:
        """The place (m,) of the first transaction of the key that is later than ``ago`` seconds before each."""
        if ago not in self._edges:
            self._edges[ago] = np.concatenate([np.zeros(0, np.int64), *self._edge(ago * MICROSECONDS)])
        return self._edges[ago]

    def _edge(self, ago: int) -> Iterator[Integers]:
        # Key and time become one sorted number, of as many keys at once as 64 bits hold.
        if not len(self.at):
            return
        earliest = int(self.at.min()) - ago
        span = int(self.at.max()) - earliest + 1
        keys, most = len(self._begins) - 1, max(1, _LARGEST // span)
        for first in range(0, keys, most):
            begin, end = self._begins[first], self._begins[min(first + most, keys)]
            base = (self._group[begin:end] - first) * span - earliest
            at = self.at[begin:end]
            yield begin + np.searchsorted(base + at, base + (at - ago), side="right")


def _over_windows(feature: Feature, fields: Mapping[str, ContractField], events: Events, grouped: _Grouped) -> Floats:
    """Values (m,) of a feature in the sorted order."""
    order = grouped.order
    begin = grouped.edge(feature.delay + feature.window)
    end = grouped.edge(feature.delay) if feature.delay else grouped.own + 1
    if feature.operator == "fraud_rate":
        return fraud_rate(_within(events.fraud[order], begin, end), end - begin)
    if feature.operator == "count":
        return (end - begin).astype(np.float64)
    if feature.operator == "seconds_since_last":
        before = np.maximum(grouped.own - 1, 0)
        return seconds_since(grouped.at, np.where(begin < grouped.own, grouped.at[before], NEVER))
    [of] = feature.of
    if feature.operator == "distinct":
        return _distinct(events.codes[of][order], begin).astype(np.float64)
    amounts, present = events.amounts[of][order], events.present[of][order]
    counts, digits = _within(present, begin, end), minor_digits(fields[of])
    if feature.operator == "maximum":
        return in_units(
            largest_within(np.where(present, amounts, -_LARGEST), begin, end), np.minimum(counts, 1), digits
        )
    totals = _within(amounts, begin, end)
    return in_units(totals, counts if feature.operator == "mean" else np.minimum(counts, 1), digits)


NEVER: Final = np.iinfo(np.int64).min
"""The time of a transaction that there is not."""


def in_units(minor: Integers, count: Integers, digits: int) -> Floats:
    """Minor units (n,) divided by counts (n,) and brought to the field's own unit, in one division; NaN by 0."""
    divisor = count * 10**digits
    return np.where(divisor > 0, minor / np.maximum(divisor, 1), np.nan)


def fraud_rate(frauds: Integers, count: Integers) -> Floats:
    """Shares (n,) of frauds; 0 of nothing."""
    shares: Floats = frauds / np.maximum(count, 1)
    return shares


def seconds_since(at: Integers, last: Integers) -> Floats:
    """Seconds (n,) from the transactions before, whose times may be ``NEVER``."""
    there = last != NEVER
    return np.where(there, (at - np.where(there, last, at)) / MICROSECONDS, np.nan)


def _within(values: NDArray[np.int64] | NDArray[np.bool_], begin: Integers, end: Integers) -> Integers:
    """Sums of values (m,) over the places ``begin <= place < end``, (m,) each."""
    # The running sum may pass the end of 64 bits and come round: a difference is right all the same.
    running = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=running[1:])
    return running[end] - running[begin]


def largest_within(values: Integers, begin: Integers, end: Integers) -> Integers:
    """Largest of values (m,) over the places ``begin <= place < end`` (n,), at least one each.

    A range is covered by two that are a power of two long (Bender and Farach-Colton, "The LCA problem revisited",
    2000); they are made and used one length at a time.
    """
    found = np.empty_like(begin)
    powers = np.frexp((end - begin).astype(np.float64))[1] - 1
    largest = values.copy()
    for power in range(int(powers.max(initial=0)) + 1):
        rows = np.flatnonzero(powers == power)
        length = 1 << power
        found[rows] = np.maximum(largest[begin[rows]], largest[end[rows] - length])
        largest[:-length] = np.maximum(largest[:-length], largest[length:])
    return found


def _distinct(codes: Integers, begin: Integers) -> Integers:
    """How many different codes (m,) there are from ``begin`` on up to each place.

    A window counts the last of each code in it: a place counts for all windows from its own on until its code comes
    again, or until windows begin after it.
    """
    places = np.arange(len(codes))
    by_code = np.lexsort((places, codes))
    again = np.full(len(codes), len(codes))
    same = codes[by_code[1:]] == codes[by_code[:-1]]
    again[by_code[:-1][same]] = by_code[1:][same]
    left = np.searchsorted(begin, places, side="right")
    counted = codes >= 0
    steps = np.zeros(len(codes) + 1, dtype=np.int64)
    np.add.at(steps, places[counted], 1)
    np.add.at(steps, np.minimum(again, left)[counted], -1)
    return np.cumsum(steps[:-1])
