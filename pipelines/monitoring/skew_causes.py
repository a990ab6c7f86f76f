"""Why a feature from history was served other than its definition gives it now: by what was not known at the time.

The definition is applied to what may have been known then: without transactions that came later, with the labels of
then, without what waited in a spool. Whichever gives exactly the value that was served explains it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.contract_parts import Feature
from ml_project.history import MICROSECONDS, Events, compute_history
from pipelines.monitoring.known_past import KnownEvent, KnownPast, as_events
from stores.decisions import Label
from stores.decisions.event_plan import EventPlan

_COMMIT_SECONDS: Final = 5.0
"""How long a transaction may take from its decision until other processes see it: as long as a write may take."""

_MOST_TRIED: Final = 16
"""Transactions about which it is not certain whether they were known; of more, the nearest in time are tried."""

_MOST_WORK: Final = 50_000_000
"""Transactions that are gone through to explain values, which takes half a minute; then only what is likeliest is
tried: with so much to explain, the share that differs is a breach by itself."""


class Cause(StrEnum):
    """Why a value differs, the gravest last."""

    LATE_LABEL = "late_label"
    LATE_EVENT = "late_event"
    STORE_AWAY = "store_away"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Served:
    """A sampled decision: its names, when it was asked for and decided, and what it was made with."""

    prediction_id: str
    number: int
    received: float
    decided: float
    partial: bool
    segment_id: str | None
    values: tuple[float, ...]


def same_value(first: float, second: float) -> bool:
    """Whether two values are the same bit for bit, or both missing."""
    return first == second or (np.isnan(first) and np.isnan(second))


_Guess = tuple[Cause, NDArray[np.intp], float]
"""Transactions that may have been known, in the order in which they came, and up to which moment labels were."""


class Memory:
    """What a gateway knew of a key when it decided, as far as that can be said afterwards.

    Attributes
    ----------
    events : Events
        All that is known by now.
    """

    def __init__(self, plan: EventPlan, past: KnownPast, labels_of: Callable[[str], list[Label]]) -> None:
        self.events = as_events(plan, (known.event for known in past.events))
        self._plan, self._known, self._labels_of = plan, past.events, labels_of
        self._came = np.array([known.came for known in past.events])
        self._labelled = np.array([known.labelled_at for known in past.events])
        self._spooled = np.array([known.spooled for known in past.events], dtype=np.bool_)
        self._segment = np.array([known.segment_id for known in past.events], dtype=object)
        self._of_key: dict[tuple[str, str], list[int]] = {}
        for place, known in enumerate(past.events):
            for entity, key in zip(plan.entities, known.event.keys, strict=True):
                if key is not None:
                    self._of_key.setdefault((entity, key), []).append(place)
        self._labels: dict[str, list[tuple[float, int]]] = {}
        self._work = 0

    def key(self, place: int, feature: Feature) -> str | None:
        """The key that a feature of a transaction is about."""
        return self._known[place].event.keys[self._plan.entities.index(str(feature.by))]

    def cause(self, served: Served, given: float, place: int, feature: Feature) -> Cause:
        """Why a value is not what the definition gives now."""
        if served.partial:
            return Cause.STORE_AWAY
        for cause, known, until in self._guesses(served, place, feature):
            if same_value(given, self._value(feature, known, place, until)):
                return cause
        return Cause.UNEXPLAINED

    def _guesses(self, served: Served, place: int, feature: Feature) -> Iterator[_Guess]:
        """What may have been known, the likeliest first."""
        at = self.events.at
        begin = at[place] - (feature.window + feature.delay) * MICROSECONDS
        near = np.array(self._of_key.get((str(feature.by), str(self.key(place, feature))), []), dtype=np.intp)
        near = near[(begin < at[near]) & (at[near] <= at[place]) & (near != place)]
        came, then = self._came[near], served.decided
        beside = (self._segment[near] == served.segment_id) & (served.segment_id is not None)
        # without a time of receipt a transaction counts as known here, and is tried below
        known = beside | ~(came > then)
        yield Cause.LATE_EVENT, near[known], np.inf
        yield Cause.LATE_LABEL, near, then
        yield Cause.LATE_EVENT, near[known], then
        if self._work > _MOST_WORK:
            return
        spooled = np.flatnonzero(known & self._spooled[near])[-_MOST_TRIED:]
        for count in range(len(spooled)):
            yield from _with_labels(Cause.STORE_AWAY, near[_without(known, spooled[count:])], then)
        doubtful = ~beside & (served.received - _COMMIT_SECONDS <= came) & (came <= then + _COMMIT_SECONDS)
        tried = np.flatnonzero(doubtful)[:_MOST_TRIED]
        for count, one in enumerate(tried):
            both = known | doubtful
            yield from _with_labels(Cause.LATE_EVENT, near[_without(both, tried[count:])], then)
            yield from _with_labels(Cause.LATE_EVENT, near[_without(both, tried[count : count + 1])], then)
            yield from _with_labels(Cause.LATE_EVENT, near[_without(known, np.array([one]))], then)
        nameless = np.flatnonzero(np.isnan(came))
        nameless = nameless[np.argsort(at[near[nameless]], kind="stable")][-_MOST_TRIED:]
        for count in range(len(nameless)):
            yield from _with_labels(Cause.LATE_EVENT, near[_without(known, nameless[count:])], then)

    def _value(self, feature: Feature, known: NDArray[np.intp], place: int, until: float) -> float:
        self._work += len(known)
        chosen = np.append(known, place)
        every = self.events
        fraud = every.fraud[chosen]
        for row in np.flatnonzero(self._labelled[chosen] > until).tolist():
            fraud[row] = self._fraud(self._known[chosen[row]], until)
        events = Events(
            every.at[chosen],
            {name: keys[chosen] for name, keys in every.keys.items()},
            {name: amounts[chosen] for name, amounts in every.amounts.items()},
            {name: present[chosen] for name, present in every.present.items()},
            {name: codes[chosen] for name, codes in every.codes.items()},
            fraud,
        )
        return float(compute_history(self._plan.contract, events, [feature])[-1, 0])

    def _fraud(self, known: KnownEvent, until: float) -> bool:
        """Whether a transaction was known to be fraud at a moment before its newest label."""
        if known.known_fraud or known.prediction_id is None:
            return bool(known.event.fraud)
        if known.prediction_id not in self._labels:
            given = self._labels_of(known.prediction_id)
            self._labels[known.prediction_id] = [(each.labelled_at.timestamp(), each.label) for each in given]
        told = [label for moment, label in self._labels[known.prediction_id] if moment <= until]
        return bool(told and told[-1])


def _with_labels(cause: Cause, known: NDArray[np.intp], until: float) -> Iterator[_Guess]:
    """With the labels of now, and with those of then."""
    yield cause, known, np.inf
    yield cause, known, until


def _without(mask: NDArray[np.bool_], others: NDArray[np.intp]) -> NDArray[np.bool_]:
    less = mask.copy()
    less[others] = False
    return less
