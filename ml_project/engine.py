"""What fitting asks of rows, wherever they are: in this process's memory, or on the executors of a cluster.

An engine brings rows and models together; `fitting` says what is fitted, and in which order, for all engines alike.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from ml_project.dataset import Dataset
from ml_project.ensemble import Ensemble, EnsembleSettings, fit_ensemble
from ml_project.features import FeatureTransform
from ml_project.split import Fold, TimeSplit, forward_folds, split_by_time
from ml_project.statistics import FeatureStatistics
from ml_project.unseen_scores import ScoredRows


class Part(Protocol):
    """A stretch of labelled transactions: all of them, or those of a part of a split."""

    def __len__(self) -> int:
        """Rows."""

    @property
    def frauds(self) -> int:
        """Fraud rows, unweighted."""

    @property
    def days(self) -> float:
        """Days that the rows cover."""

    @property
    def first_moment(self) -> float:
        """Of the earliest row, in seconds (see `Dataset.moment`)."""

    @property
    def last_moment(self) -> float:
        """Of the latest row."""


PartT = TypeVar("PartT", bound=Part)


class Evaluated(NamedTuple):
    """Rows with the scores that a model gave them, in the same order."""

    rows: Dataset
    scores: ScoredRows


class Engine(Protocol[PartT]):
    """Splits, fits and scores. What it brings into this process stands for the whole part by its sampling weights."""

    @property
    def seed(self) -> int:
        """Of everything drawn at random."""

    @property
    def threads(self) -> int:
        """For fitting in this process."""

    def split(self, data: PartT) -> TimeSplit[PartT]:
        """See `split_by_time`."""

    def forward_folds(self, data: PartT) -> list[Fold[PartT]]:
        """See `split.forward_folds`."""

    def sample(self, part: PartT) -> Dataset:
        """Rows that stand for the part: all frauds, and all or some of the legitimate ones."""

    def fit(self, part: PartT, settings: EnsembleSettings) -> tuple[Ensemble, FeatureTransform]:
        """An ensemble, and the statistics that its features were computed with."""

    def statistics(self, part: PartT, transform: FeatureTransform) -> FeatureStatistics:
        """Of the part's features."""

    def score(self, part: PartT, ensemble: Ensemble, transform: FeatureTransform) -> Evaluated:
        """Scores of the part's rows: of all frauds, and of as many of the rest as curves and thresholds need."""


@dataclass(frozen=True)
class LocalEngine:
    """The engine of rows in memory: nothing is sampled.

    Attributes
    ----------
    seed, threads : int
        See `Engine`.
    folds : int
        Forward-chained folds.
    """

    seed: int = 0
    threads: int = 1
    folds: int = 3

    def split(self, data: Dataset) -> TimeSplit[Dataset]:
        """At fractions of the weight."""
        return split_by_time(data)

    def forward_folds(self, data: Dataset) -> list[Fold[Dataset]]:
        """At fractions of the weight."""
        return forward_folds(data, self.folds)

    def sample(self, part: Dataset) -> Dataset:
        """All rows."""
        return part

    def fit(self, part: Dataset, settings: EnsembleSettings) -> tuple[Ensemble, FeatureTransform]:
        """Same rows, settings, seed and threads, same trees."""
        contract = part.contract
        transform = FeatureTransform.fit(contract, part.raw, part.weight)
        features = transform(part.raw)
        return fit_ensemble(contract, features, part.label, part.weight, settings, self.seed, self.threads), transform

    def statistics(self, part: Dataset, transform: FeatureTransform) -> FeatureStatistics:
        """Exact."""
        return FeatureStatistics.fit(part.contract.feature_names, transform(part.raw), part.weight)

    def score(self, part: Dataset, ensemble: Ensemble, transform: FeatureTransform) -> Evaluated:
        """All rows."""
        return Evaluated(part, ScoredRows.of(part, transform(part.raw), ensemble))
