import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ml_project.contract import Contract
from ml_project.dataset import Dataset
from ml_project.ensemble import (
    BoosterSettings,
    EnsembleSettings,
    ForestSettings,
    IsolationMap,
    anomaly_scores,
    blend,
    feature_aucs,
    fit_booster,
    fit_ensemble,
    fit_forest,
    monotone_directions,
    without,
)
from ml_project.features import FeatureTransform
from tests.support.creditcard import CREDITCARD, FEATURES, LEFT_OUT


@pytest.fixture(scope="module")
def features(transactions: Dataset) -> np.ndarray:
    return FeatureTransform.fit(CREDITCARD, transactions.raw, transactions.weight)(transactions.raw)


@pytest.fixture(scope="module")
def fit(features: np.ndarray, transactions: Dataset, small_settings: EnsembleSettings):
    def fitted(settings: EnsembleSettings = small_settings, seed: int = 0):
        return fit_ensemble(CREDITCARD, features, transactions.label, transactions.weight, settings, seed)

    return fitted


def test_same_seed_same_trees(fit, features: np.ndarray):
    first, same, other = fit(seed=1), fit(seed=1), fit(seed=2)
    assert first.booster.save_raw("ubj") == same.booster.save_raw("ubj")
    np.testing.assert_array_equal(first.hybrid(features), same.hybrid(features))
    assert first.isolation_map == same.isolation_map
    assert first.booster.save_raw("ubj") != other.booster.save_raw("ubj")
    assert not np.array_equal(first.isolation(features), other.isolation(features))


def split_features(ensemble) -> tuple[set[str], set[str]]:
    forest = {FEATURES[f] for tree in ensemble.forest.estimators_ for f in tree.tree_.feature if f >= 0}
    boosted = ensemble.booster.trees_to_dataframe()["Feature"]
    return forest, set(boosted) - {"Leaf"}


def test_excluded_features_are_never_split_on(fit, features: np.ndarray):
    ensemble = fit()
    for used in split_features(ensemble):
        assert used
        assert not used & set(LEFT_OUT)
    changed = features.copy()
    changed[:, [FEATURES.index(name) for name in LEFT_OUT]] = 1e9
    np.testing.assert_array_equal(ensemble.hybrid(changed), ensemble.hybrid(features))


def test_without_exclusion_they_are_used(fit, small_settings: EnsembleSettings):
    settings = EnsembleSettings(0.2, small_settings.forest, small_settings.booster, excluded=())
    assert set(LEFT_OUT) & split_features(fit(settings))[0]


def test_masking_leaves_the_input_alone(features: np.ndarray):
    before = features.copy()
    masked = without(CREDITCARD, features, ("V14",))
    np.testing.assert_array_equal(features, before)
    assert not masked[:, FEATURES.index("V14")].any()
    np.testing.assert_array_equal(np.delete(masked, FEATURES.index("V14"), 1), np.delete(features, 14, 1))


def test_scores_lie_between_0_and_1_and_blend(fit, features: np.ndarray, transactions: Dataset):
    ensemble = fit()
    isolation, boosted = ensemble.isolation(features), ensemble.boosted(features)
    for scores in (isolation, boosted, ensemble.hybrid(features)):
        assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_allclose(ensemble.hybrid(features), 0.2 * isolation + 0.8 * boosted)
    assert roc_auc_score(transactions.label, isolation) > 0.8
    assert roc_auc_score(transactions.label, boosted) > 0.95


def test_blend_ends():
    first, second = np.array([0.1]), np.array([0.7])
    assert (blend(first, second, 0.0)[0], blend(first, second, 1.0)[0]) == (0.7, 0.1)


def test_aucs_equal_scikit_learn(features: np.ndarray, transactions: Dataset):
    expected = [roc_auc_score(transactions.label, column, sample_weight=transactions.weight) for column in features.T]
    np.testing.assert_allclose(feature_aucs(features, transactions.label, transactions.weight), expected)


def test_directions_follow_the_aucs():
    aucs = np.array([0.9, 0.75, 0.74, 0.5, 0.26, 0.25, 0.0, 1.0, *[0.5] * 29])
    assert monotone_directions(CREDITCARD, aucs, 0.75) == (1, 1, 0, 0, 0, -1, -1, 1, *[0] * 29)
    assert monotone_directions(CREDITCARD, np.clip(aucs, 0.01, 0.99), 1.0) == (0,) * 37


def test_a_contract_may_fix_the_directions_or_leave_them_free():
    given = {"V1": "increasing", "V2": "decreasing", "V3": "none"}
    document = CREDITCARD.to_dict()
    for feature in document["features"]:
        feature["monotone"] = given.get(feature["name"], feature["monotone"])
    contract = Contract.model_validate(document)
    assert monotone_directions(contract, np.full(37, 0.9), 0.75)[:5] == (1, 1, -1, 0, 1)


def test_predictions_respect_the_directions(fit, features: np.ndarray, transactions: Dataset):
    ensemble = fit()
    seen = without(CREDITCARD, features, LEFT_OUT)
    directions = monotone_directions(CREDITCARD, feature_aucs(seen, transactions.label, transactions.weight), 0.75)
    assert {1, -1} <= set(directions)
    rows = features[np.r_[np.flatnonzero(transactions.label)[:30], :30]]
    for column, direction in enumerate(directions):
        if direction:
            grid = np.quantile(features[:, column], np.linspace(0, 1, 25))
            moved = np.repeat(rows[None], 25, axis=0)
            moved[:, :, column] = grid[:, None]
            scores = ensemble.boosted(moved.reshape(-1, 37)).reshape(25, -1)
            assert (direction * np.diff(scores, axis=0) >= -1e-7).all(), FEATURES[column]


def test_directions_can_be_switched_off(features: np.ndarray, transactions: Dataset):
    free = fit_booster(
        CREDITCARD, features, transactions.label, transactions.weight, BoosterSettings(rounds=5, monotone_auc=1.0), 0, 1
    )
    bound = fit_booster(CREDITCARD, features, transactions.label, transactions.weight, BoosterSettings(rounds=5), 0, 1)
    assert free.save_raw("ubj") != bound.save_raw("ubj")


def test_frauds_in_the_outermost_thousandth_of_a_feature_need_more_bins(transactions: Dataset):
    """With 256 of them, those above the limit share theirs with legitimate rows."""
    count = 20_000
    rng = np.random.default_rng(0)
    features = np.zeros((count, 37), dtype=np.float32)
    features[:, 0] = rng.permutation(count)
    label = (features[:, 0] >= count - 20).astype(np.int8)
    exact, coarse = (
        fit_booster(
            CREDITCARD,
            features,
            label,
            np.ones(count),
            BoosterSettings(rounds=20, colsample_bynode=1.0, min_child_weight=0.1, max_bin=max_bin),
            0,
            1,
        ).inplace_predict(features)
        for max_bin in (20_000, 256)
    )
    lowest, highest = exact[label == 1].min(), exact[label == 0].max()
    assert lowest > 0.5 > highest
    assert coarse[label == 1].min() <= coarse[label == 0].max()


def test_booster_weights_matter(features: np.ndarray, transactions: Dataset):
    settings = BoosterSettings(rounds=5)
    weighted, plain = (
        fit_booster(CREDITCARD, features, transactions.label, weight, settings, 0, 1)
        for weight in (transactions.weight, np.ones(len(transactions)))
    )
    assert weighted.save_raw("ubj") != plain.save_raw("ubj")


def test_forest_draws_by_weight():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2_000, 37)).astype(np.float32)
    features[:1_000, 0] += 100
    for weight, rare in ((np.repeat([1.0, 99.0], 1_000), 0), (np.repeat([99.0, 1.0], 1_000), 1)):
        forest = fit_forest(features, weight, ForestSettings(50, 64), 0)
        means = anomaly_scores(forest, features).reshape(2, -1).mean(axis=1)
        assert means[rare] > means[1 - rare] + 0.01
    never_left = fit_forest(features, np.repeat([0.0, 1.0], 1_000), ForestSettings(50, 64), 0)
    assert max(tree.tree_.threshold[tree.tree_.feature == 0].max(initial=-9) for tree in never_left.estimators_) < 50


def test_forest_on_fewer_rows_than_a_tree_wants():
    features = np.random.default_rng(0).normal(size=(40, 37)).astype(np.float32)
    forest = fit_forest(features, np.ones(40), ForestSettings(trees=3, max_samples=256), 0)
    assert forest.max_samples_ == 40
    assert np.isfinite(anomaly_scores(forest, features)).all()


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50), st.floats(-1, 2))
def test_isolation_map_is_bounded_and_half_is_zero(anomaly: list[float], other: float):
    values = np.array(anomaly)
    mapping = IsolationMap.fit(values, np.ones(len(values)))
    mapped = mapping(values)
    assert ((mapped >= 0) & (mapped <= 1)).all()
    assert 0 <= mapping(np.array([other]))[0] <= 1
    assert (mapped == 0).sum() >= len(values) / 2
    if values.max() > mapping.low:
        assert mapped[np.argmax(values)] == 1
    assert (np.diff(mapping(np.sort(values))) >= 0).all()


def test_isolation_map_by_hand():
    mapping = IsolationMap.fit(np.array([0.2, 0.4, 0.8]), np.array([1.0, 5.0, 1.0]))
    assert mapping == IsolationMap(0.4, 0.8)
    np.testing.assert_allclose(mapping(np.array([0.3, 0.4, 0.5, 0.8, 0.9])), [0, 0, 0.25, 1, 1])


def test_settings_survive_a_manifest(small_settings: EnsembleSettings):
    kept = json.loads(json.dumps(asdict(small_settings)))
    assert EnsembleSettings.from_dict(kept) == small_settings
