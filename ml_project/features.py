"""A contract's features, from raw transactions to the ensemble's inputs: for training, pyfunc, gateway and Spark."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_project.operators import (
    OPERATORS,
    ComponentColumns,
    Floats,
    Known,
    ListOperator,
    Scale,
    Shares,
    fit_shares,
    present,
)

if TYPE_CHECKING:
    from ml_project.contract import Contract
    from ml_project.contract_parts import Feature

_BLOCK: Final = 8_192
"""Rows that are worked on at once: what lies between raw fields and features then fits into the processor's cache."""


@dataclass(frozen=True)
class _Copy:
    """Neighbouring fields that become neighbouring features as they are."""

    target: slice
    source: slice


class _Step(NamedTuple):
    """A computed feature: its place and operator, and where its arguments are: fields, or ``~place`` of features."""

    place: int
    compute: Callable[..., Any]
    sources: tuple[int, ...]
    columns: slice | list[int] | None
    """What a `ListOperator` takes."""
    known: Known
    above: float | None
    between: tuple[float, float] | None
    kept: bool
    """Whether a later feature is made of it."""
    may_miss: bool


@dataclass(frozen=True)
class FeatureTransform:
    """From raw transactions to the ensemble's inputs: a contract's features, with what they know of the training rows.

    Attributes
    ----------
    contract : Contract
    scales, shares : mapping
        Of each feature whose operator learns them.
    """

    contract: "Contract"
    scales: Mapping[str, Scale]
    shares: Mapping[str, Shares] = field(default_factory=dict)

    @classmethod
    def fit(cls, contract: "Contract", raw: Floats, weight: Floats) -> "FeatureTransform":
        """What the operators learn of raw transactions (n, fields) under weights (n,)."""
        fields = contract.scored_fields
        return cls(
            contract,
            {name: Scale.fit(*present(raw[:, place], weight)) for name, place in contract.scaled_features.items()},
            {
                name: fit_shares(raw[:, place], len(fields[place].values), weight)
                for name, place in contract.counted_features.items()
            },
        )

    def __call__(self, raw: Floats) -> NDArray[np.float32]:
        """The ensemble's inputs.

        Parameters
        ----------
        raw : ndarray of shape (n, fields)
            Transactions, columns as in ``contract.raw_fields``.

        Returns
        -------
        ndarray of shape (n, features), float32
            Columns as in ``contract.feature_names``.
        """
        copies, steps = self._plan
        features = np.empty((len(raw), len(self.contract.features)), dtype=np.float32)
        for begin in range(0, len(raw), _BLOCK):
            block, rows = features[begin : begin + _BLOCK], raw[begin : begin + _BLOCK]
            for copy in copies:
                block[:, copy.target] = rows[:, copy.source]
            lists: dict[tuple[int, ...], ComponentColumns] = {}
            kept: dict[int, Floats] = {}
            for target, compute, sources, chosen, known, above, between, keep, may_miss in steps:
                if chosen is None:
                    taken = [rows[:, place] if place >= 0 else kept[~place] for place in sources]
                    values = compute(taken, known)
                else:
                    columns = lists.get(sources)
                    if columns is None:
                        columns = lists[sources] = ComponentColumns(rows[:, chosen])
                    values = compute(columns)
                if above is not None:
                    values = _tested(values, values > above, may_miss)
                elif between is not None:
                    values = _tested(values, (between[0] <= values) & (values <= between[1]), may_miss)
                block[:, target] = values
                if keep:
                    kept[target] = np.asarray(values, dtype=np.float64)
        return features

    @cached_property
    def _plan(self) -> tuple[list[_Copy], list[_Step]]:
        contract = self.contract
        copies: list[_Copy] = []
        steps: list[_Step] = []
        needed = {argument for feature in contract.features for argument in contract.made_of(feature)}
        for place, feature in enumerate(contract.features):
            sources = tuple(self._source(argument) for argument in feature.sources)
            if feature.is_field and sources[0] >= 0:
                [source] = sources
                last = copies[-1] if copies else None
                if last and (last.target.stop, last.source.stop) == (place, source):
                    copies[-1] = _Copy(slice(last.target.start, place + 1), slice(last.source.start, source + 1))
                else:
                    copies.append(_Copy(slice(place, place + 1), slice(source, source + 1)))
                if feature.name not in needed:
                    continue
            steps.append(self._step(place, feature, sources, feature.name in needed))
        return copies, steps

    def _source(self, argument: str) -> int:
        fields = self.contract.raw_fields
        return fields.index(argument) if argument in fields else ~self.contract.feature_names.index(argument)

    def _step(self, place: int, feature: "Feature", sources: tuple[int, ...], kept: bool) -> _Step:
        operator, name = OPERATORS[feature.operator], feature.name
        columns = _selection(sources) if issubclass(operator, ListOperator) else None
        known: Known = self.scales.get(name) or self.shares.get(name)
        if feature.category is not None:
            values = self.contract.scored_fields[sources[0]].values
            known = float(values.index(feature.category)) if feature.category else -1.0
        limits = feature.above, feature.between
        return _Step(place, operator.compute, sources, columns, known, *limits, kept, name in self.contract.may_miss)


def _tested(values: Floats, answer: NDArray[np.bool_], may_miss: bool) -> Any:
    """A test of a missing value is missing."""
    return np.where(np.isnan(values), np.nan, answer) if may_miss else answer


def _selection(places: tuple[int, ...]) -> slice | list[int]:
    """Neighbouring columns are looked at where they lie."""
    first, last = places[0], places[-1]
    return slice(first, last + 1) if places == tuple(range(first, last + 1)) else list(places)
