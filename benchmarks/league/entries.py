"""The models that take part, and what their settings were chosen on.

Ours are the platform's own ensemble, as a training fits it: a gateway can serve it. That of the closed class is a bag
of several, which differ in their seeds alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from benchmarks.league.protocol import CHOICE_WEEKS, training_rows
from benchmarks.league.transactions import League
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.history import Integers

Score = Callable[[Dataset], NDArray[np.float64]]

_UNTIL: Final = "to 7 August 2018"
_CHOSEN: Final = f"weeks from {CHOICE_WEEKS[0]:%-d %B} {_UNTIL}"


@dataclass(frozen=True)
class Entry:
    """A model of the league.

    Attributes
    ----------
    key, name : str
        For files, and for people.
    features : {'authors', 'ours'}
        What it sees.
    days : int
        Days of training.
    chosen_on : str
        What its settings come from.
    fit : callable
        From training rows to a score of later rows.
    """

    key: str
    name: str
    features: Literal["authors", "ours"]
    days: int
    chosen_on: str
    fit: Callable[[Dataset], Score]

    def fitted(self, league: League, first_day: date) -> Callable[[Integers], NDArray[np.float64]]:
        """From rows of the league to scores, by a model that knows what was known when a week began."""
        data = league.authors if self.features == "authors" else league.ours
        score = self.fit(data.take(training_rows(league, first_day, self.days)))
        return lambda rows: score(data.take(rows))


def recipe(**settings: object) -> Callable[[Dataset], Score]:
    """XGBoost with the settings that the authors publish: 100 trees of depth 3, learning rate 0.1."""
    parameters = {"objective": "binary:logistic", "max_depth": 3, "learning_rate": 0.1, "nthread": 1, **settings}

    def fit(past: Dataset) -> Score:
        booster = xgb.train(parameters, xgb.DMatrix(past.raw, label=past.label, nthread=1), num_boost_round=100)
        return lambda later: np.asarray(booster.inplace_predict(later.raw, predict_type="margin"), dtype=np.float64)

    return fit


def platform(settings: EnsembleSettings, seeds: Sequence[int] = (0,)) -> Callable[[Dataset], Score]:
    """The platform's ensemble; of several seeds, the mean of their hybrid scores."""

    def fit(past: Dataset) -> Score:
        fitted = [LocalEngine(seed).fit(past, settings) for seed in seeds]

        def score(later: Dataset) -> NDArray[np.float64]:
            features = fitted[0][1](later.raw)
            mean: NDArray[np.float64] = np.mean([ensemble.hybrid(features) for ensemble, _ in fitted], axis=0)
            return mean

        return score

    return fit


_SMALL_FOREST: Final = ForestSettings(trees=10)

CLOSED: Final = EnsembleSettings(
    blend_weight=0.0,
    forest=_SMALL_FOREST,
    booster=BoosterSettings(
        rounds=200,
        num_parallel_tree=1,
        max_depth=4,
        learning_rate=0.05,
        subsample=0.7,
        colsample_bynode=0.5,
        min_child_weight=0.5,
        scale_pos_weight=1.0,
        monotone_auc=1.0,
        max_bin=4096,
    ),
)
OPEN_DAYS: Final = 30
OPEN: Final = EnsembleSettings(
    blend_weight=0.0,
    forest=_SMALL_FOREST,
    booster=BoosterSettings(
        rounds=120,
        num_parallel_tree=4,
        max_depth=4,
        learning_rate=0.08,
        subsample=0.7,
        colsample_bynode=0.5,
        min_child_weight=2.0,
        scale_pos_weight=1.0,
        monotone_auc=1.0,
        max_bin=1024,
    ),
)

RECIPE: Final = "recipe"
ENTRIES: Final = (
    Entry(
        "recipe_today",
        "authors' recipe, XGBoost's defaults of today",
        "authors",
        7,
        "published",
        recipe(),
    ),
    Entry(
        RECIPE,
        "authors' recipe, XGBoost's defaults of their time (exact splits, base score 0.5)",
        "authors",
        7,
        "published",
        recipe(tree_method="exact", base_score=0.5),
    ),
    Entry(
        "closed",
        "platform, closed class",
        "authors",
        7,
        f"weeks from 6 June {_UNTIL}",
        platform(CLOSED, seeds=range(5)),
    ),
    Entry("open", "platform, open class", "ours", OPEN_DAYS, _CHOSEN, platform(OPEN)),
)


@dataclass(frozen=True)
class Published:
    """A model of the handbook (chapters 5 to 7): means of the four test weeks; None where it says nothing."""

    name: str
    roc_auc: float | None
    average_precision: float | None
    card_precision: float | None


PUBLISHED: Final = (
    Published("XGBoost", 0.869, 0.687, 0.303),
    Published("random forest", 0.870, 0.678, None),
    Published("balanced bagging", 0.879, 0.680, 0.305),
    Published("feed-forward network", None, 0.675, None),
    Published("LSTM", None, 0.665, None),
    Published("decision tree", 0.797, 0.579, 0.284),
    Published("logistic regression", 0.868, None, None),
)
