"""From rows and frozen settings to a draft bundle: the evaluation twin, and the refit that ships.

The twin is fitted on train, calibrated on validation and measured on test. The refit has the same settings and sees all
rows, because frauds are few; its calibration and thresholds come from forward scores: each block of rows is scored by a
model fitted on what came before it.

Tuning fits the same folds again and again: `PreparedFold` keeps their features, bins and forests, so that a trial costs
its booster alone.
"""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from ml_project.baseline import Baseline
from ml_project.bundle import FORMAT_VERSION, Bundle, Manifest
from ml_project.calibration import Calibrator, fit_calibrator
from ml_project.dataset import Dataset
from ml_project.engine import Engine, PartT
from ml_project.ensemble import (
    BoosterSettings,
    Ensemble,
    EnsembleSettings,
    ForestSettings,
    IsolationMap,
    anomaly_scores,
    blend,
    booster_matrix,
    booster_parameters,
    feature_aucs,
    filled,
    fit_forest,
    monotone_directions,
    training_medians,
    without,
)
from ml_project.features import FeatureTransform
from ml_project.metrics import Ranker, average_precision
from ml_project.onnx_graph import ensemble_to_onnx
from ml_project.scorer import Scorer, golden_rows
from ml_project.split import Fold, TimeSplit
from ml_project.statistics import Histogram
from ml_project.unseen_scores import ScoredRows

GOLDEN_ROWS = 8
LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn")


@dataclass(frozen=True)
class Fitted:
    """A fitted ensemble, its draft bundle (no thresholds yet) and the unseen rows that those will come from.

    Attributes
    ----------
    unseen : ScoredRows
        Scores of rows that the scoring model had not seen: validation for the twin, forward scores for the refit.
    """

    ensemble: Ensemble
    transform: FeatureTransform
    calibrator: Calibrator
    bundle: Bundle
    unseen: ScoredRows

    def score(self, data: Dataset) -> ScoredRows:
        """Scores of further rows."""
        return ScoredRows.of(data, self.transform(data.raw), self.ensemble)


def _finish(
    engine: Engine[PartT],
    part: PartT,
    fit: tuple[Ensemble, FeatureTransform],
    unseen: ScoredRows,
    seen: PartT,
    settings: EnsembleSettings,
    origin: dict[str, Any],
) -> Fitted:
    """What was fitted on ``part``, as a draft bundle; ``seen`` is the latest part that anything of it comes from."""
    ensemble, transform = fit
    calibrator = fit_calibrator(unseen.hybrid, unseen.label, unseen.weight)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        contract=transform.contract,
        settings=asdict(settings.resolved(transform.contract)),
        scales=dict(transform.scales),
        shares=dict(transform.shares),
        statistics=engine.statistics(part, transform),
        score_baseline=Histogram.fit(unseen.hybrid, unseen.weight),
        policy="",
        policies={},
        data=origin | {"rows": len(part), "frauds": part.frauds, "seen_until": seen.last_moment},
        libraries={name: version(name) for name in LIBRARIES}
        | {"xgboost": _xgboost_version(), "python": platform.python_version()},
        golden_rows=(),
    )
    draft = Bundle(manifest, ensemble_to_onnx(ensemble, calibrator), bytes(ensemble.booster.save_raw("json")))
    scorer = Scorer(draft, threads=1)
    sample = engine.sample(part)
    features = transform(sample.raw)
    hybrid = scorer.score_features(features).hybrid
    manifest = manifest.model_copy(
        update={
            "golden_rows": golden_rows(scorer, _spread(sample, hybrid)),
            "baseline": Baseline.fit(transform.contract, sample.raw, features, hybrid, sample.weight),
        }
    )
    return Fitted(ensemble, transform, calibrator, Bundle(manifest, draft.onnx, draft.booster), unseen)


def _xgboost_version() -> str:
    import xgboost

    return str(xgboost.__version__)


def _spread(data: Dataset, hybrid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Raw rows from the lowest to the highest score, half of them frauds."""
    chosen = []
    for label in (0, 1):
        rows = np.flatnonzero(data.label == label)
        ranked = rows[np.argsort(hybrid[rows], kind="stable")]
        chosen.append(ranked[np.linspace(0, len(ranked) - 1, GOLDEN_ROWS // 2).astype(int)])
    golden: NDArray[np.float64] = data.raw[np.concatenate(chosen)]
    return golden


def fit_twin(
    split: TimeSplit[PartT], settings: EnsembleSettings, engine: Engine[PartT], origin: dict[str, Any]
) -> Fitted:
    """The evaluation twin: fitted on train, calibrated on validation.

    Parameters
    ----------
    origin : dict
        Where the rows come from (source, digest): goes into the manifest.
    """
    fit = engine.fit(split.train, settings)
    unseen = engine.score(split.validation, *fit).scores
    return _finish(engine, split.train, fit, unseen, split.validation, settings, origin | {"role": "twin"})


def score_forward(fold: Fold[PartT], settings: EnsembleSettings, engine: Engine[PartT]) -> ScoredRows:
    """The future's scores by an ensemble fitted on the past."""
    return engine.score(fold.future, *engine.fit(fold.past, settings)).scores


def fit_refit(
    data: PartT,
    settings: EnsembleSettings,
    engine: Engine[PartT],
    origin: dict[str, Any],
    on_fold: Callable[[int], None] = lambda _fold: None,
) -> Fitted:
    """The refit: fitted on all rows, calibrated on forward scores. ``on_fold`` hears of each finished fold."""
    parts = []
    for number, fold in enumerate(engine.forward_folds(data)):
        parts.append(score_forward(fold, settings, engine))
        on_fold(number)
    unseen = ScoredRows.concatenate(parts)
    return _finish(engine, data, engine.fit(data, settings), unseen, data, settings, origin | {"role": "refit"})


def parity(fitted: Fitted, data: Dataset, rows: int = 10_000) -> float:
    """Largest difference between the bundle's ONNX scores and scikit-learn's and XGBoost's, over the latest rows.

    Probabilities are compared at the same hybrid score: near 1 the log-odds make the last digit of its float32, which
    XGBoost rounds in another order, a difference in the fifth digit of the probability.
    """
    tail = data.take(slice(-rows, None))
    features = fitted.transform(tail.raw)
    reference = ScoredRows.of(tail, features, fitted.ensemble)
    scores = Scorer(fitted.bundle, threads=1).score_features(features)
    return float(
        max(
            np.abs(scores.isolation - reference.isolation).max(),
            np.abs(scores.boosted - reference.boosted).max(),
            np.abs(scores.hybrid - reference.hybrid).max(),
            np.abs(scores.probability - fitted.calibrator.probability(scores.hybrid)).max(),
        )
    )


def thin(data: Dataset, legitimate_rows: int, seed: int) -> Dataset:
    """All frauds and a random sample of the legitimate rows, whose weights grow so that totals stay the same."""
    legitimate = np.flatnonzero(data.label == 0)
    if len(legitimate) <= legitimate_rows:
        return data
    kept = np.sort(np.random.default_rng(seed).choice(legitimate, legitimate_rows, replace=False))
    factor = data.weight[legitimate].sum() / data.weight[kept].sum()
    weight = np.where(data.label == 0, data.weight * factor, data.weight)
    rows = np.sort(np.concatenate([kept, np.flatnonzero(data.label == 1)]))
    return replace(data, weight=weight).take(rows)


@dataclass
class PreparedFold:
    """A fold's arrays, binned matrices and scored forests."""

    past: NDArray[np.float32]
    past_data: Dataset
    future: NDArray[np.float32]
    future_data: Dataset
    medians: NDArray[np.float32] | None
    aucs: NDArray[np.float64]
    seed: int
    threads: int
    _isolation: dict[ForestSettings, NDArray[np.float64]] = field(default_factory=dict)
    _matrices: dict[int, xgb.QuantileDMatrix] = field(default_factory=dict)

    @classmethod
    def prepare(cls, fold: Fold[Dataset], excluded: tuple[str, ...], seed: int, threads: int) -> "PreparedFold":
        """Features, with scales of the past only."""
        contract = fold.past.contract
        transform = FeatureTransform.fit(contract, fold.past.raw, fold.past.weight)
        past = without(contract, transform(fold.past.raw), excluded)
        future = without(contract, transform(fold.future.raw), excluded)
        aucs = feature_aucs(past, fold.past.label, fold.past.weight)
        medians = training_medians(contract, past, fold.past.weight)
        return cls(past, fold.past, future, fold.future, medians, aucs, seed, threads)

    def isolation(self, settings: ForestSettings) -> NDArray[np.float64]:
        """The future's isolation scores by a forest fitted on the past."""
        if settings not in self._isolation:
            past, future = (filled(features, self.medians) for features in (self.past, self.future))
            forest = fit_forest(past, self.past_data.weight, settings, self.seed)
            mapping = IsolationMap.fit(anomaly_scores(forest, past), self.past_data.weight)
            self._isolation[settings] = mapping(anomaly_scores(forest, future))
        return self._isolation[settings]

    def boosted(self, settings: BoosterSettings) -> NDArray[np.float64]:
        """The future's probabilities by XGBoost fitted on the past."""
        directions = monotone_directions(self.past_data.contract, self.aucs, settings.monotone_auc)
        parameters = booster_parameters(settings, directions, self.seed, self.threads)
        booster = xgb.train(parameters, self._matrix(settings.max_bin), num_boost_round=settings.rounds)
        return np.asarray(booster.inplace_predict(self.future), dtype=np.float64)

    def _matrix(self, max_bin: int) -> xgb.QuantileDMatrix:
        if max_bin not in self._matrices:
            data = self.past_data
            self._matrices[max_bin] = booster_matrix(
                data.contract, self.past, data.label, data.weight, max_bin, self.threads
            )
        return self._matrices[max_bin]

    def hybrid(self, settings: EnsembleSettings) -> NDArray[np.float64]:
        """The future's hybrid scores."""
        return blend(self.isolation(settings.forest), self.boosted(settings.booster), settings.blend_weight)

    def average_precision(self, settings: EnsembleSettings) -> float:
        """Average precision on the future."""
        ranker = Ranker(self.hybrid(settings), self.future_data.label, self.future_data.amount)
        return average_precision(ranker.curve(self.future_data.weight))
