"""The ensemble: an isolation forest, a boosted forest, and their blend. Fitted here, run as ONNX (see ``onnx_graph``).

The isolation forest never sees labels and flags what is unlike the rest; XGBoost learns known fraud. Their blend is the
hybrid score: ``hybrid = w * iso + (1 - w) * xgb``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from ml_project.contract import Contract
from ml_project.operators import present
from ml_project.statistics import Ranked, weighted_quantile


@dataclass(frozen=True)
class ForestSettings:
    """Isolation forest: number of trees and rows per tree."""

    trees: int = 100
    max_samples: int = 256


@dataclass(frozen=True)
class BoosterSettings:
    """XGBoost, with the library's own names where it has one (see its page "XGBoost Parameters").

    Attributes
    ----------
    num_parallel_tree : int
        Each round grows a small random forest: on a few hundred frauds the mean of several trees holds up on later
        rows where a single tree follows noise.
    monotone_auc : float
        A feature whose direction is to be learnt, and which alone separates the classes with at least this ROC-AUC (or
        at most 1 minus it) on the training rows, may only raise (only lower) the score; 1 switches this off. Keeps
        trees from carving pockets around single frauds.
    max_bin : int
        Places of a feature's values at which a tree may split. Frauds that lie in a feature's outermost thousandth, as
        large amounts do, need more than the library's 256: see docs/league.md.
    """

    rounds: int = 60
    num_parallel_tree: int = 4
    max_depth: int = 5
    learning_rate: float = 0.15
    subsample: float = 0.7
    colsample_bynode: float = 0.35
    min_child_weight: float = 2.0
    reg_lambda: float = 1.0
    scale_pos_weight: float = 10.0
    monotone_auc: float = 0.75
    max_bin: int = 256


@dataclass(frozen=True)
class EnsembleSettings:
    """Everything that tuning chooses; frozen, the same for the evaluation twin and the refit.

    Attributes
    ----------
    excluded : tuple of str or None
        Features that the trees do not see; None: those that the contract leaves out.
    """

    blend_weight: float = 0.02
    forest: ForestSettings = field(default_factory=ForestSettings)
    booster: BoosterSettings = field(default_factory=BoosterSettings)
    excluded: tuple[str, ...] | None = None

    def resolved(self, contract: Contract) -> "EnsembleSettings":
        """With the excluded features by name."""
        return replace(self, excluded=contract.left_out) if self.excluded is None else self

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EnsembleSettings":
        """The inverse of ``dataclasses.asdict``, as a bundle's manifest keeps it."""
        return cls(
            values["blend_weight"],
            ForestSettings(**values["forest"]),
            BoosterSettings(**values["booster"]),
            None if values["excluded"] is None else tuple(values["excluded"]),
        )


@dataclass(frozen=True)
class IsolationMap:
    """Anomaly scores to 0..1: 0 up to the training median, 1 from the training maximum on, straight between.

    Half of all rows are then exactly 0, so that a blend leaves the order of ordinary rows to the boosted model.
    """

    low: float
    high: float

    @classmethod
    def fit(cls, anomaly: NDArray[np.float64], weight: NDArray[np.float64]) -> "IsolationMap":
        """Weighted median and maximum of the training rows' anomaly scores."""
        low, high = float(weighted_quantile(anomaly, weight, [0.5])[0]), float(anomaly.max())
        return cls(low, high if high > low else low + 1e-6)

    def __call__(self, anomaly: NDArray[np.floating]) -> NDArray[np.float64]:
        """Mapped scores, same shape."""
        return np.clip((np.asarray(anomaly, dtype=np.float64) - self.low) / (self.high - self.low), 0.0, 1.0)


def anomaly_scores(forest: IsolationForest, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """``2 ** (-E[h(x)] / c(n))`` of Liu, Ting and Zhou, "Isolation Forest", ICDM 2008; 0..1, higher is more unusual."""
    return np.asarray(-forest.score_samples(features), dtype=np.float64)


def fit_forest(
    features: NDArray[np.float32], weight: NDArray[np.float64], settings: ForestSettings, seed: int
) -> IsolationForest:
    """An isolation forest on rows drawn in proportion to their sampling weight."""
    rows = np.random.default_rng(seed).choice(
        len(features), size=min(len(features), settings.trees * settings.max_samples), p=weight / weight.sum()
    )
    max_samples = min(settings.max_samples, len(rows))
    forest = IsolationForest(n_estimators=settings.trees, max_samples=max_samples, random_state=seed)
    return forest.fit(features[rows])


@dataclass(frozen=True)
class Ensemble:
    """A fitted ensemble and its reference scores by scikit-learn and XGBoost, which the ONNX graph must reproduce.

    Attributes
    ----------
    medians : ndarray of shape (f,) or None
        What the isolation forest sees where a feature is missing; None where none can be. XGBoost sees it as missing.
    """

    forest: IsolationForest
    booster: xgb.Booster
    isolation_map: IsolationMap
    blend_weight: float
    medians: NDArray[np.float32] | None = None

    def isolation(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Isolation scores mapped to 0..1, shape (n,)."""
        return self.isolation_map(anomaly_scores(self.forest, filled(features, self.medians)))

    def boosted(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """XGBoost's probabilities, shape (n,)."""
        return np.asarray(self.booster.inplace_predict(features), dtype=np.float64)

    def hybrid(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Hybrid scores, shape (n,)."""
        return blend(self.isolation(features), self.boosted(features), self.blend_weight)


def training_medians(
    contract: Contract, features: NDArray[np.float32], weight: NDArray[np.float64]
) -> NDArray[np.float32] | None:
    """Weighted median of each feature's values that are there, (f,); None where a contract's cannot be missing."""
    if not contract.may_miss:
        return None
    medians = [weighted_quantile(*present(column, weight), [0.5])[0] for column in features.T]
    return np.array(medians, dtype=np.float32)


def filled(features: NDArray[np.float32], medians: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Features (n, f) with medians in place of what is missing."""
    return features if medians is None else np.where(np.isnan(features), medians, features)


def blend(isolation: NDArray[np.float64], boosted: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """``w * iso + (1 - w) * xgb``."""
    return weight * isolation + (1 - weight) * boosted


def fit_booster(
    contract: Contract,
    features: NDArray[np.float32],
    label: NDArray[np.int8],
    weight: NDArray[np.float64],
    settings: BoosterSettings,
    seed: int,
    threads: int,
) -> xgb.Booster:
    """XGBoost on a contract's features (n, f), labels (n,) and sampling weights (n,)."""
    matrix = booster_matrix(contract, features, label, weight, settings.max_bin, threads)
    directions = monotone_directions(contract, feature_aucs(features, label, weight), settings.monotone_auc)
    return xgb.train(booster_parameters(settings, directions, seed, threads), matrix, num_boost_round=settings.rounds)


def booster_matrix(
    contract: Contract,
    features: NDArray[np.float32],
    label: NDArray[np.int8],
    weight: NDArray[np.float64],
    max_bin: int,
    threads: int,
) -> xgb.QuantileDMatrix:
    """Rows binned once, for any number of fits with as many bins."""
    names = list(contract.feature_names)
    return xgb.QuantileDMatrix(
        features, label=label, weight=weight, feature_names=names, max_bin=max_bin, nthread=threads
    )


def booster_parameters(
    settings: BoosterSettings, directions: tuple[int, ...], seed: int, threads: int
) -> dict[str, object]:
    """What ``xgboost.train`` takes."""
    named = asdict(settings)
    for not_of_xgboost in ("rounds", "monotone_auc"):
        del named[not_of_xgboost]
    return {
        **named,
        "objective": "binary:logistic",
        "eval_metric": "aucpr",
        "tree_method": "hist",
        "monotone_constraints": directions,
        "seed": seed,
        "nthread": threads,
    }


def feature_aucs(
    features: NDArray[np.float32], label: NDArray[np.int8], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """ROC-AUC of each feature alone as a score, shape (f,): the frauds' mean rank among the legitimate rows.

    Source: Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    Radiology 143 (1982).
    """
    fraud, legitimate = label == 1, label == 0
    frauds, weights = features[fraud], weight[legitimate]
    aucs = []
    for place, column in enumerate(features.T):
        ranked = Ranked.of(*present(column[legitimate], weights))
        scores, share = present(frauds[:, place], weight[fraud])
        below, at_most = ranked.weight_up_to(scores, inclusive=False), ranked.weight_up_to(scores)
        aucs.append(np.average((below + at_most) / 2, weights=share) / ranked.cumulative[-1])
    return np.array(aucs)


_DIRECTIONS: Final = {"none": 0, "increasing": 1, "decreasing": -1}


def monotone_directions(contract: Contract, aucs: NDArray[np.float64], threshold: float) -> tuple[int, ...]:
    """Per feature 1, -1 or 0: as the contract says, or learnt; see ``BoosterSettings.monotone_auc``."""
    return tuple(
        int(auc >= threshold) - int(auc <= 1 - threshold)
        if feature.monotone == "learnt"
        else _DIRECTIONS[feature.monotone]
        for feature, auc in zip(contract.features, aucs.tolist(), strict=True)
    )


def without(contract: Contract, features: NDArray[np.float32], excluded: tuple[str, ...]) -> NDArray[np.float32]:
    """A copy in which excluded features are constant, so that no tree can split on them."""
    masked = features.copy()
    masked[:, contract.places(excluded)] = 0.0
    return masked


def fit_ensemble(
    contract: Contract,
    features: NDArray[np.float32],
    label: NDArray[np.int8],
    weight: NDArray[np.float64],
    settings: EnsembleSettings,
    seed: int = 0,
    threads: int = 1,
) -> Ensemble:
    """Fit both forests on a contract's features (n, f), labels (n,) and sampling weights (n,).

    The result depends on the arguments alone: same rows, settings, seed and threads, same trees.
    """
    seen = without(contract, features, settings.resolved(contract).excluded or ())
    medians = training_medians(contract, seen, weight)
    known = filled(seen, medians)
    forest = fit_forest(known, weight, settings.forest, seed)
    booster = fit_booster(contract, seen, label, weight, settings.booster, seed, threads)
    mapping = IsolationMap.fit(anomaly_scores(forest, known), weight)
    return Ensemble(forest, booster, mapping, settings.blend_weight, medians)
