"""What every candidate is measured against on the same split: the seed's recipe and logistic regression."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings, fit_ensemble
from ml_project.features import FeatureTransform
from ml_project.statistics import FeatureStatistics

Score = Callable[[Dataset], NDArray[np.float64]]

SEED_RECIPE = EnsembleSettings(
    blend_weight=0.4,
    forest=ForestSettings(trees=100, max_samples=256),
    booster=BoosterSettings(
        rounds=100,
        num_parallel_tree=1,
        max_depth=5,
        learning_rate=0.1,
        subsample=1.0,
        colsample_bynode=1.0,
        min_child_weight=1.0,
        reg_lambda=1.0,
        scale_pos_weight=1.0,
        monotone_auc=1.0,
    ),
    excluded=(),
)
"""0.4 x IsolationForest + 0.6 x XGBoost, 100 trees each, depth 5, all features: the system that this one replaces."""

LOGISTIC_REGRESSION: dict[str, Any] = {"C": 0.1, "max_iter": 1000}
"""scikit-learn's parameters of it."""

_CLIP = 5.0
"""Standard deviations at which a linear model's inputs are cut: without it a few extreme rows bend the whole plane."""


def fit_seed_recipe(train: Dataset, engine: LocalEngine) -> Score:
    """The seed's fixed blend."""
    transform = FeatureTransform.fit(train.contract, train.raw, train.weight)
    features = transform(train.raw)
    ensemble = fit_ensemble(
        train.contract, features, train.label, train.weight, SEED_RECIPE, engine.seed, engine.threads
    )
    return lambda data: ensemble.hybrid(transform(data.raw))


def fit_logistic_regression(train: Dataset, engine: LocalEngine) -> Score:
    """Logistic regression on standardised features."""
    transform = FeatureTransform.fit(train.contract, train.raw, train.weight)
    features = transform(train.raw)
    statistics = FeatureStatistics.fit(train.contract.feature_names, features, train.weight)

    def scaled(values: NDArray[np.float32]) -> NDArray[np.float64]:
        # what is missing is put at the mean
        return np.nan_to_num(np.clip(statistics.standardise(values), -_CLIP, _CLIP))

    model = LogisticRegression(**LOGISTIC_REGRESSION, random_state=engine.seed)
    model.fit(scaled(features), train.label, sample_weight=train.weight)
    return lambda data: np.asarray(model.predict_proba(scaled(transform(data.raw)))[:, 1])
