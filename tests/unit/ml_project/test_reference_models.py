import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import fit_ensemble
from ml_project.features import FeatureTransform
from ml_project.reference_models import SEED_RECIPE, fit_logistic_regression, fit_seed_recipe
from ml_project.split import TimeSplit
from tests.support.creditcard import CREDITCARD


@pytest.fixture(scope="module", params=[fit_seed_recipe, fit_logistic_regression])
def fit(request: pytest.FixtureRequest):
    return request.param


def test_scores_rank_later_frauds_far_above_chance(fit, split: TimeSplit):
    score = fit(split.train, LocalEngine(seed=1))(split.test)
    assert score.shape == (len(split.test),)
    assert ((score >= 0) & (score <= 1)).all()
    chance = np.average(split.test.label, weights=split.test.weight)
    assert average_precision_score(split.test.label, score, sample_weight=split.test.weight) > 0.6 > 20 * chance


def test_same_seed_same_scores(fit, split: TimeSplit):
    first, second = (fit(split.train, LocalEngine(seed=1))(split.test) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_rows_are_scored_one_by_one(fit, split: TimeSplit):
    score = fit(split.train, LocalEngine(seed=1))
    np.testing.assert_allclose(score(split.test)[:20], score(split.test.take(slice(0, 20))), rtol=1e-12)


def test_seed_recipe_is_the_fixed_blend(split: TimeSplit):
    amount = FeatureTransform.fit(CREDITCARD, split.train.raw, split.train.weight)
    features, later = (amount(data.raw) for data in (split.train, split.test))
    ensemble = fit_ensemble(CREDITCARD, features, split.train.label, split.train.weight, SEED_RECIPE, seed=1)
    expected = 0.4 * ensemble.isolation(later) + 0.6 * ensemble.boosted(later)
    np.testing.assert_allclose(fit_seed_recipe(split.train, LocalEngine(seed=1))(split.test), expected)
    assert len(ensemble.forest.estimators_) == 100
    assert len(ensemble.booster.get_dump()) == 100
    depth = max(line.count("\t") for tree in ensemble.booster.get_dump() for line in tree.splitlines())
    assert 1 < depth <= 5


def test_an_extreme_amount_does_not_bend_the_regression(split: TimeSplit):
    score = fit_logistic_regression(split.train, LocalEngine())
    found = []
    for amount in (1e6, 1e9):
        raw = split.test.raw.copy()
        raw[:, 29] = amount
        found.append(score(Dataset(CREDITCARD, raw, split.test.label, split.test.weight, split.test.moment)))
    np.testing.assert_array_equal(found[0], found[1])
    assert 1e-6 < np.median(found[0]) < 0.5
