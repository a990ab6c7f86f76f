"""The operators that features are made by, and a contract's features: for training, pyfunc, gateway and Spark.

An operator is one class. Its arithmetic is written once, over columns: the one row of a request, a table and a batch of
Spark's go through the same code, so that they cannot differ.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_project.operators import (
    HISTORY_OPERATORS,
    NUMERIC,
    SECONDS_PER_DAY,
    Floats,
    Known,
    ListOperator,
    Operator,
    Scale,
    Shares,
    category_places,
    fit_shares,
    present,
)

if TYPE_CHECKING:
    from ml_project.contract import Contract
    from ml_project.contract_parts import Feature

RATIO_GUARD: Final = 1e-3
"""A ratio divides by its second argument held at least this far from 0 (keeping its sign, 0 counts as positive)."""

_LAST_HOUR = np.nextafter(np.float32(24), np.float32(0))
"""The last float32 of a day: rounding must not turn a moment before midnight into hour 24."""

_BLOCK: Final = 8_192
"""Rows that are worked on at once: what lies between raw fields and features then fits into the processor's cache."""


class ComponentColumns:
    """Columns (n, k) that an operator takes together; what several operators need of them is computed once."""

    __slots__ = ("_magnitude", "values")

    def __init__(self, values: Floats) -> None:
        # Row by row in memory: the order of a sum, and with it its last digits, follows the layout.
        self.values = np.ascontiguousarray(values)
        self._magnitude: Floats | None = None

    @property
    def magnitude(self) -> Floats:
        """Absolute values, (n, k)."""
        if self._magnitude is None:
            self._magnitude = np.abs(self.values)
        return self._magnitude


class Value(Operator):
    """The field as it is."""

    types = (*NUMERIC, "boolean")

    @staticmethod
    def compute(columns: Sequence[Floats], known: Known) -> Floats:  # noqa: ARG004
        """See `Operator`."""
        return columns[0]


class Log1p(Operator):
    """Natural logarithm of 1 + the value, which is at least 0."""

    @staticmethod
    def compute(columns: Sequence[Floats], known: Known) -> Floats:  # noqa: ARG004
        """See `Operator`."""
        return np.log1p(columns[0])


class ZScore(Operator):
    """Standard deviations from the training rows' mean."""

    of_features = False
    learns = "scale"

    @staticmethod
    def compute(columns: Sequence[Floats], known: Scale) -> Floats:
        """See `Operator`."""
        scores: Floats = (columns[0] - known.mean) / known.std
        return scores


class Ratio(Operator):
    """The first divided by the second, which is held away from 0; see ``RATIO_GUARD``."""

    arguments = 2

    @staticmethod
    def compute(columns: Sequence[Floats], known: Known) -> Floats:  # noqa: ARG004
        """See `Operator`."""
        dividend, divisor = columns
        guarded = np.copysign(np.maximum(np.abs(divisor), RATIO_GUARD), divisor + 0.0)
        quotient: Floats = dividend / guarded
        return quotient


class HourOfDay(Operator):
    """Hour of day, 0 <= h < 24, of seconds that count from a midnight; that of a timestamp is in UTC."""

    types = ("timestamp",)
    of_features = False

    @staticmethod
    def compute(columns: Sequence[Floats], known: Known) -> Floats:  # noqa: ARG004
        """See `Operator`."""
        hours: Floats = np.minimum(np.mod(columns[0], SECONDS_PER_DAY) / 3600, _LAST_HOUR)
        return hours


_THURSDAY: Final = 3
"""1 January 1970, where Monday is 0."""


class DayOfWeek(Operator):
    """Day of the week in UTC, Monday 0 to Sunday 6, of seconds since 1970."""

    types = ("timestamp",)
    of_features = False

    @staticmethod
    def compute(columns: Sequence[Floats], known: Known) -> Floats:  # noqa: ARG004
        """See `Operator`."""
        days: Floats = np.mod(np.floor(columns[0] / SECONDS_PER_DAY) + _THURSDAY, 7)
        return days


class Weekend(Operator):
    """1 on Saturday and Sunday in UTC, else 0."""

    types = ("timestamp",)
    of_features = False
    graded = False

    @staticmethod
    def compute(columns: Sequence[Floats], known: Known) -> Floats:
        """See `Operator`."""
        day = DayOfWeek.compute(columns, known)
        return np.where(np.isnan(day), day, day >= _SATURDAY)


_SATURDAY: Final = 5


class OneHot(Operator):
    """1 where a category has one value, else 0; a contract has one of them for each value."""

    types = ("category",)
    of_features = False
    graded = False
    answers_missing = True

    @staticmethod
    def compute(columns: Sequence[Floats], known: float) -> Floats:
        """See `Operator`."""
        hits: Floats = (columns[0] == known).astype(np.float64)
        return hits


class Frequency(Operator):
    """How common a category's value was among the training rows, 0 to 1."""

    types = ("category",)
    of_features = False
    answers_missing = True
    learns = "shares"

    @staticmethod
    def compute(columns: Sequence[Floats], known: Shares) -> Floats:
        """See `Operator`."""
        shares: Floats = np.array(known)[category_places(columns[0], len(known) - 2)]
        return shares


class Missing(Operator):
    """1 where the field has no value, else 0."""

    types = (*NUMERIC, "boolean", "category", "timestamp")
    of_features = False
    graded = False
    answers_missing = True

    @staticmethod
    def compute(columns: Sequence[Floats], known: Known) -> Floats:  # noqa: ARG004
        """See `Operator`."""
        return np.isnan(columns[0]).astype(np.float64)


class Variance(ListOperator):
    """Population variance of a row's fields."""

    @staticmethod
    def compute(columns: ComponentColumns) -> Floats:
        """See `ListOperator`."""
        # By ufuncs: on the one row of a request, ndarray.var and mean take longer to begin than to finish.
        values, count = columns.values, columns.values.shape[1]
        centred = values - np.add.reduce(values, axis=1, keepdims=True) / count
        variance: Floats = np.add.reduce(centred * centred, axis=1) / count
        return variance


class MaxAbs(ListOperator):
    """Largest absolute value of a row's fields."""

    @staticmethod
    def compute(columns: ComponentColumns) -> Floats:
        """See `ListOperator`."""
        largest: Floats = np.maximum.reduce(columns.magnitude, axis=1)
        return largest


class MeanAbs(ListOperator):
    """Mean absolute value of a row's fields."""

    @staticmethod
    def compute(columns: ComponentColumns) -> Floats:
        """See `ListOperator`."""
        mean: Floats = np.add.reduce(columns.magnitude, axis=1) / columns.values.shape[1]
        return mean


OPERATORS: Final[Mapping[str, type[Operator] | type[ListOperator]]] = {
    "value": Value,
    "log1p": Log1p,
    "zscore": ZScore,
    "ratio": Ratio,
    "hour_of_day": HourOfDay,
    "day_of_week": DayOfWeek,
    "weekend": Weekend,
    "one_hot": OneHot,
    "frequency": Frequency,
    "missing": Missing,
    "variance": Variance,
    "max_abs": MaxAbs,
    "mean_abs": MeanAbs,
    **HISTORY_OPERATORS,
}
"""Every operator by its name in a contract. The set is closed: nothing in a contract is evaluated."""


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
