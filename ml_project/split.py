"""Splits by time. Fraud moves: a random split lets a model look into the future and flatters it."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Generic, Protocol, TypeVar

import numpy as np

from ml_project.dataset import Dataset
from ml_project.errors import InvalidInput

MIN_FRAUDS = 5
"""Frauds that every part needs before a figure measured on it means anything."""


SPLIT: Final = (0.6, 0.8)
"""Shares of the weight at which validation and test begin."""

RowsT = TypeVar("RowsT")


@dataclass(frozen=True)
class TimeSplit(Generic[RowsT]):
    """Train, validation and test, each later than the one before: data sets, or what an engine knows them by."""

    train: RowsT
    validation: RowsT
    test: RowsT


@dataclass(frozen=True)
class Fold(Generic[RowsT]):
    """A step of forward chaining: fit on ``past``, score ``future``."""

    past: RowsT
    future: RowsT


def _cuts(data: Dataset, fractions: list[float]) -> list[int]:
    """Row numbers where the given fractions of total weight are reached, never inside one moment."""
    cumulative = np.cumsum(data.weight)
    rows = np.searchsorted(cumulative, np.array(fractions) * cumulative[-1], side="left")
    return [int(np.searchsorted(data.moment, data.moment[min(row, len(data) - 1)], side="left")) for row in rows]


class _Counted(Protocol):
    @property
    def frauds(self) -> int: ...


CountedT = TypeVar("CountedT", bound=_Counted)


def _require_frauds(part: _Counted, name: str) -> None:
    if part.frauds < MIN_FRAUDS:
        raise InvalidInput(
            f"The {name} part has {part.frauds} frauds; at least {MIN_FRAUDS} are needed.",
            "Provide more rows, or rows from a longer period.",
        )


def split_by_time(data: Dataset) -> TimeSplit[Dataset]:
    """Cut where the shares ``SPLIT`` of the total weight are reached.

    Raises
    ------
    InvalidInput
        When a part has fewer than ``MIN_FRAUDS`` frauds.
    """
    first, second = _cuts(data, [*SPLIT])
    return checked_split(data.take(slice(0, first)), data.take(slice(first, second)), data.take(slice(second, None)))


def checked_split(train: CountedT, validation: CountedT, test: CountedT) -> TimeSplit[CountedT]:
    """The parts as a split; raises `InvalidInput` when one has fewer than ``MIN_FRAUDS`` frauds."""
    for name, part in (("training", train), ("validation", validation), ("test", test)):
        _require_frauds(part, name)
    return TimeSplit(train, validation, test)


def forward_folds(data: Dataset, folds: int = 3, start: float = 0.4) -> list[Fold[Dataset]]:
    """Forward chaining: the first fold fits on the first ``start`` of the weight; each next one on all before it.

    Source: Dal Pozzolo et al., "Credit card fraud detection: a realistic modeling and a novel learning strategy",
    IEEE TNNLS 29 (2018): evaluation has to respect the order in which transactions and labels arrive.
    """
    edges = [*_cuts(data, fold_shares(folds, start)), len(data)]
    return checked_folds([Fold(data.take(slice(0, a)), data.take(slice(a, b))) for a, b in pairwise(edges)])


def fold_shares(folds: int, start: float = 0.4) -> list[float]:
    """Shares of the weight at which the folds' futures begin."""
    return [start + (1 - start) * k / folds for k in range(folds)]


def checked_folds(chain: list[Fold[CountedT]]) -> list[Fold[CountedT]]:
    """The folds; raises `InvalidInput` when a part of one has fewer than ``MIN_FRAUDS`` frauds."""
    for number, fold in enumerate(chain, start=1):
        _require_frauds(fold.past, f"past of fold {number}")
        _require_frauds(fold.future, f"future of fold {number}")
    return chain


def with_label_delay(fold: Fold[Dataset], seconds: float) -> Fold[Dataset]:
    """The fold as it would have been in operation: labels of the last ``seconds`` before the future are missing.

    Source: Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud Detection: Practical Handbook"
    (2022), chapter 5, prequential validation.

    Raises
    ------
    InvalidInput
        When fewer than ``MIN_FRAUDS`` frauds are left to learn from.
    """
    known = int(np.searchsorted(fold.past.moment, fold.future.moment[0] - seconds, side="left"))
    past = fold.past.take(slice(0, known))
    _require_frauds(past, "labelled past (before the label delay)")
    return Fold(past, fold.future)
