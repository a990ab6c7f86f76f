"""Splits by time. Fraud moves: a random split lets a model look into the future and says too much."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ml_project.dataset import Dataset
from ml_project.errors import InvalidInput

MIN_FRAUDS = 5
"""Frauds that every part needs before a figure measured on it means anything."""


@dataclass(frozen=True)
class TimeSplit:
    """Train, validation and test, each later than the one before."""

    train: Dataset
    validation: Dataset
    test: Dataset

    @property
    def fitted(self) -> Dataset:
        """Train and validation together: everything the evaluation twin has seen."""
        return concatenate(self.train, self.validation)


@dataclass(frozen=True)
class Fold:
    """A step of forward chaining: fit on ``past``, score ``future``."""

    past: Dataset
    future: Dataset


def concatenate(first: Dataset, second: Dataset) -> Dataset:
    """Two data sets, the second later than the first."""
    return Dataset(
        np.concatenate([first.raw, second.raw]),
        np.concatenate([first.label, second.label]),
        np.concatenate([first.weight, second.weight]),
        np.concatenate([first.moment, second.moment]),
    )


def _cuts(data: Dataset, fractions: list[float]) -> list[int]:
    """Row numbers where the given fractions of total weight are reached, never inside one moment."""
    cumulative = np.cumsum(data.weight)
    rows = np.searchsorted(cumulative, np.array(fractions) * cumulative[-1], side="left")
    return [int(np.searchsorted(data.moment, data.moment[min(row, len(data) - 1)], side="left")) for row in rows]


def _require_frauds(part: Dataset, name: str) -> None:
    if part.frauds < MIN_FRAUDS:
        raise InvalidInput(
            f"The {name} part has {part.frauds} frauds; at least {MIN_FRAUDS} are needed.",
            "Bring more rows, or rows over a longer time.",
        )


def split_by_time(data: Dataset, train: float = 0.6, validation: float = 0.2) -> TimeSplit:
    """Cut at fractions of the total weight.

    Raises
    ------
    InvalidInput
        When a part has fewer than ``MIN_FRAUDS`` frauds.
    """
    first, second = _cuts(data, [train, train + validation])
    split = TimeSplit(data.take(slice(0, first)), data.take(slice(first, second)), data.take(slice(second, None)))
    for name, part in (("training", split.train), ("validation", split.validation), ("test", split.test)):
        _require_frauds(part, name)
    return split


def forward_folds(data: Dataset, folds: int = 3, start: float = 0.4) -> list[Fold]:
    """Forward chaining: the first fold fits on the first ``start`` of the weight; each next one on all before it.

    Source: Dal Pozzolo et al., "Credit card fraud detection: a realistic modeling and a novel learning strategy",
    IEEE TNNLS 29 (2018): evaluation has to respect the order in which transactions and labels arrive.
    """
    edges = [*_cuts(data, [start + (1 - start) * k / folds for k in range(folds)]), len(data)]
    chain = [Fold(data.take(slice(0, a)), data.take(slice(a, b))) for a, b in pairwise(edges)]
    for number, fold in enumerate(chain, start=1):
        _require_frauds(fold.past, f"past of fold {number}")
        _require_frauds(fold.future, f"future of fold {number}")
    return chain


def with_label_delay(fold: Fold, seconds: float) -> Fold:
    """The fold as it could have been lived: labels of the last ``seconds`` before the future had not come in yet.

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
