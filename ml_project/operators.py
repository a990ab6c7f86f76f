"""The operators that features are made of.

An operator is one class. Its arithmetic is written once, over columns: the one row of a request, a table and a batch of
Spark's go through the same code, so that they cannot differ. What it has to know of the training rows (`Scale`) is
fitted in training and kept in the bundle. Those of history say only what is asked: `ml_project.history` answers.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SECONDS_PER_DAY: Final = 86_400

RATIO_GUARD: Final = 1e-3
"""A ratio divides by its second argument held at least this far from 0 (keeping its sign, 0 counts as positive)."""

CONSTANT: Final = 1e-12
"""Standard deviation over mean up to which values count as constant: the rest is rounding of their mean."""

_LAST_HOUR = np.nextafter(np.float32(24), np.float32(0))
"""The last float32 of a day: rounding must not turn a moment before midnight into hour 24."""


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of a column over the training rows."""

    mean: float
    std: float

    @classmethod
    def fit(cls, values: Floats, weight: Floats) -> "Scale":
        """Weighted mean and population standard deviation."""
        mean = float(np.average(values, weights=weight))
        return cls.of(mean, float(np.sqrt(np.average((values - mean) ** 2, weights=weight))))

    @classmethod
    def of(cls, mean: float, std: float) -> "Scale":
        """A constant column gets the deviation 1, so that its z-scores stay finite."""
        return cls(mean, std if std > CONSTANT * abs(mean) else 1.0)


Shares = tuple[float, ...]
"""How common a category's values are among the training rows: first all that are not listed, last the missing one."""


def category_places(codes: Floats, values: int) -> NDArray[np.intp]:
    """Places in `Shares` of a category's codes (n,), of which there are ``values``."""
    return np.where(np.isnan(codes), values + 1, codes + 1).astype(np.intp)


def fit_shares(codes: Floats, values: int, weight: Floats) -> Shares:
    """Shares of the rows' weight."""
    counts = np.bincount(category_places(codes, values), weights=weight, minlength=values + 2)
    return tuple((counts / weight.sum()).tolist())


def present(values: NDArray[Any], weight: Floats) -> tuple[NDArray[Any], Floats]:
    """The values (n,) that are there, with their weights; a single 0 where none is."""
    if not (missing := np.isnan(values)).any():
        return values, weight
    there = ~missing & (weight > 0)
    return (values[there], weight[there]) if there.any() else (np.zeros(1, values.dtype), np.ones(1))


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


_NUMBERS: Final = ("number", "integer")

Known = Scale | Shares | float | None
"""What an operator knows beside its arguments: something learnt, or the code of a category."""


class Operator(ABC):
    """One way of making a feature. A missing argument makes it missing.

    Attributes
    ----------
    arguments : int
        How many fields or earlier features it takes.
    types : tuple of str
        Types of the fields that it takes.
    of_features : bool
        Whether it takes earlier features, too.
    graded : bool
        Whether it has more values than 1 and 0.
    answers_missing : bool
        Whether it has a value where its argument is missing.
    learns : {'scale', 'shares'} or None
        What of its argument's training rows it knows: their `Scale`, or the `Shares` of a category's values.
    """

    arguments: ClassVar[int] = 1
    types: ClassVar[tuple[str, ...]] = _NUMBERS
    of_features: ClassVar[bool] = True
    graded: ClassVar[bool] = True
    answers_missing: ClassVar[bool] = False
    learns: ClassVar[str | None] = None

    @staticmethod
    @abstractmethod
    def compute(columns: Sequence[Floats], known: Any) -> Floats:
        """Values (n,) from the arguments' columns, each (n,); ``known`` is a `Known`."""


class ListOperator(ABC):
    """One way of making a feature of a list of fields, of any length."""

    types: ClassVar[tuple[str, ...]] = _NUMBERS
    of_features: ClassVar[bool] = False
    graded: ClassVar[bool] = True
    answers_missing: ClassVar[bool] = False
    learns: ClassVar[str | None] = None

    @staticmethod
    @abstractmethod
    def compute(columns: ComponentColumns) -> Floats:
        """Values (n,)."""


class Value(Operator):
    """The field as it is."""

    types = (*_NUMBERS, "boolean")

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

    types = (*_NUMBERS, "boolean", "category", "timestamp")
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


class HistoryOperator(Operator):
    """What an entity's transactions within a window come to, the one that is asked for included.

    The value is there before features are made: `ml_project.history` and the gateway's store compute it.

    Attributes
    ----------
    types : tuple of str
        Types of the field ``of`` that it is about; none where it is about the transactions themselves.
    delayed : bool
        Whether its window ends some time before the transaction.
    """

    arguments = 0
    types: ClassVar[tuple[str, ...]] = ()
    of_features = False
    delayed: ClassVar[bool] = False

    @staticmethod
    def compute(columns: Sequence[Floats], known: Known) -> Floats:  # noqa: ARG004
        """See `Operator`."""
        return columns[0]


class Count(HistoryOperator):
    """How many they are."""


class Sum(HistoryOperator):
    """Sum of a field over them."""

    arguments = 1
    types = _NUMBERS


class Mean(Sum):
    """Mean of a field over those that have it."""


class Maximum(Sum):
    """Largest value of a field among them."""


class Distinct(HistoryOperator):
    """How many different values of a field they have."""

    arguments = 1
    types = ("string", "category", "integer", "boolean")


class SecondsSinceLast(HistoryOperator):
    """Seconds since the one before, missing where there is none within the window."""


class FraudRate(HistoryOperator):
    """Share of frauds among them, 0 where there are none; the window ends before now, when labels are known."""

    delayed = True


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
    "count": Count,
    "sum": Sum,
    "mean": Mean,
    "maximum": Maximum,
    "distinct": Distinct,
    "seconds_since_last": SecondsSinceLast,
    "fraud_rate": FraudRate,
}
"""Every operator by its name in a contract. The set is closed: nothing in a contract is evaluated."""
