"""Forward-chained folds prepared once, so that a trial costs its fits alone: features, bins and forests are kept."""

from dataclasses import dataclass, field

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from ml_project.curve import Ranker
from ml_project.dataset import Dataset
from ml_project.ensemble import (
    BoosterSettings,
    EnsembleSettings,
    ForestSettings,
    IsolationMap,
    anomaly_scores,
    blend,
    booster_matrix,
    booster_parameters,
    feature_aucs,
    fit_forest,
    monotone_directions,
    without,
)
from ml_project.features import AmountStatistics, compute_features
from ml_project.metrics import average_precision
from ml_project.split import Fold


def thin(data: Dataset, legitimate_rows: int, seed: int) -> Dataset:
    """All frauds and a random sample of the legitimate rows, whose weights grow so that totals stay the same."""
    legitimate = np.flatnonzero(data.label == 0)
    if len(legitimate) <= legitimate_rows:
        return data
    kept = np.sort(np.random.default_rng(seed).choice(legitimate, legitimate_rows, replace=False))
    factor = data.weight[legitimate].sum() / data.weight[kept].sum()
    weight = np.where(data.label == 0, data.weight * factor, data.weight)
    rows = np.sort(np.concatenate([kept, np.flatnonzero(data.label == 1)]))
    return Dataset(data.raw, data.label, weight, data.moment).take(rows)


@dataclass
class PreparedFold:
    """A fold's arrays, binned matrix and scored forests."""

    past: NDArray[np.float32]
    past_data: Dataset
    future: NDArray[np.float32]
    future_data: Dataset
    matrix: xgb.QuantileDMatrix
    aucs: NDArray[np.float64]
    seed: int
    threads: int
    _isolation: dict[ForestSettings, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def prepare(cls, fold: Fold[Dataset], excluded: tuple[str, ...], seed: int, threads: int) -> "PreparedFold":
        """Features (amount statistics of the past only) and bins."""
        amount = AmountStatistics.fit(fold.past.amount, fold.past.weight)
        past = without(compute_features(fold.past.raw, amount), excluded)
        future = without(compute_features(fold.future.raw, amount), excluded)
        matrix = booster_matrix(past, fold.past.label, fold.past.weight, threads)
        aucs = feature_aucs(past, fold.past.label, fold.past.weight)
        return cls(past, fold.past, future, fold.future, matrix, aucs, seed, threads)

    def isolation(self, settings: ForestSettings) -> NDArray[np.float64]:
        """The future's isolation scores by a forest fitted on the past."""
        if settings not in self._isolation:
            forest = fit_forest(self.past, self.past_data.weight, settings, self.seed)
            mapping = IsolationMap.fit(anomaly_scores(forest, self.past), self.past_data.weight)
            self._isolation[settings] = mapping(anomaly_scores(forest, self.future))
        return self._isolation[settings]

    def boosted(self, settings: BoosterSettings) -> NDArray[np.float64]:
        """The future's probabilities by XGBoost fitted on the past."""
        directions = monotone_directions(self.aucs, settings.monotone_auc)
        parameters = booster_parameters(settings, directions, self.seed, self.threads)
        booster = xgb.train(parameters, self.matrix, num_boost_round=settings.rounds)
        return np.asarray(booster.inplace_predict(self.future), dtype=np.float64)

    def hybrid(self, settings: EnsembleSettings) -> NDArray[np.float64]:
        """The future's hybrid scores."""
        return blend(self.isolation(settings.forest), self.boosted(settings.booster), settings.blend_weight)

    def average_precision(self, settings: EnsembleSettings) -> float:
        """Average precision on the future."""
        ranker = Ranker(self.hybrid(settings), self.future_data.label, self.future_data.amount)
        return average_precision(ranker.curve(self.future_data.weight))
