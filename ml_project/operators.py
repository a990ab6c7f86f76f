"""What an operator is, and what it has to know of the training rows, which is kept in the bundle.

Those that compute are in `features`. Those of history only say what is asked: `history` answers for whole tables, the
gateway's store for single transactions.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SECONDS_PER_DAY: Final = 86_400

CONSTANT: Final = 1e-12
"""Standard deviation over mean up to which values count as constant: the rest is rounding of their mean."""


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


NUMERIC: Final = ("number", "integer")

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
    types: ClassVar[tuple[str, ...]] = NUMERIC
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

    types: ClassVar[tuple[str, ...]] = NUMERIC
    of_features: ClassVar[bool] = False
    graded: ClassVar[bool] = True
    answers_missing: ClassVar[bool] = False
    learns: ClassVar[str | None] = None

    @staticmethod
    @abstractmethod
    def compute(columns: Any) -> Floats:
        """Values (n,) from a `features.ComponentColumns`."""


Delay = Literal["never", "possible", "needed"]


class HistoryOperator(Operator):
    """What an entity's transactions within a window come to, the one that is asked for included.

    The value is there before features are made: `ml_project.history` and the gateway's store compute it.

    Attributes
    ----------
    types : tuple of str
        Types of the field ``of`` that it is about; none where it is about the transactions themselves.
    delay : {'never', 'possible', 'needed'}
        Whether its window may, or has to, end some time before the transaction.
    """

    arguments = 0
    types: ClassVar[tuple[str, ...]] = ()
    of_features = False
    delay: ClassVar[Delay] = "never"

    @staticmethod
    def compute(columns: Sequence[Floats], known: Known) -> Floats:  # noqa: ARG004
        """See `Operator`."""
        return columns[0]


class Count(HistoryOperator):
    """How many they are."""

    delay: ClassVar[Delay] = "possible"


class Sum(HistoryOperator):
    """Sum of a field over them."""

    arguments = 1
    types = NUMERIC
    delay: ClassVar[Delay] = "possible"


class Mean(Sum):
    """Mean of a field over those that have it."""


class Maximum(Sum):
    """Largest value of a field among them."""

    delay: ClassVar[Delay] = "never"


class Distinct(HistoryOperator):
    """How many different values of a field they have."""

    arguments = 1
    types = ("string", "category", "integer", "boolean")


class SecondsSinceLast(HistoryOperator):
    """Seconds since the one before, missing where there is none within the window."""


class FraudRate(HistoryOperator):
    """Share of frauds among them, 0 where there are none; the window ends before now, when labels are known."""

    delay: ClassVar[Delay] = "needed"


HISTORY_OPERATORS: Final[Mapping[str, type[HistoryOperator]]] = {
    "count": Count,
    "sum": Sum,
    "mean": Mean,
    "maximum": Maximum,
    "distinct": Distinct,
    "seconds_since_last": SecondsSinceLast,
    "fraud_rate": FraudRate,
}
