import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import RobustScaler, StandardScaler

from ml_project.statistics import HISTOGRAM_BINS, FeatureStatistics, Histogram, Moments, Ranked, weighted_quantile
from tests.support.creditcard import FEATURES


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), min_size=1, max_size=40), st.floats(0, 1))
def test_weighted_quantile_equals_that_of_repeated_rows(pairs: list[tuple[int, int]], share: float):
    values, times = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    repeated = np.sort(values.repeat(times.astype(int)))
    needed = share * len(repeated)
    expected = next(v for i, v in enumerate(repeated, start=1) if i >= needed)
    assert weighted_quantile(values, times, [share])[0] == expected


def test_histogram_by_hand():
    histogram = Histogram.fit(np.arange(1, 4001.0), np.ones(4000))
    np.testing.assert_allclose(histogram.edges, 200.0 * np.arange(1, HISTOGRAM_BINS), atol=1)
    np.testing.assert_allclose(histogram.shares, 1 / HISTOGRAM_BINS, atol=1 / 4000)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200),
    st.integers(0, 2**32 - 1),
)
def test_histogram_shares_sum_to_one_and_edges_rise(values: list[float], seed: int):
    weight = np.random.default_rng(seed).uniform(0.1, 3, len(values))
    histogram = Histogram.fit(np.array(values), weight)
    assert len(histogram.shares) == len(histogram.edges) + 1
    assert sum(histogram.shares) == pytest.approx(1)
    assert (np.diff(histogram.edges) > 0).all()
    inside = np.array(values) <= histogram.edges[0]
    assert histogram.shares[0] == pytest.approx(weight[inside].sum() / weight.sum())


def test_histogram_of_a_constant_has_two_bins():
    histogram = Histogram.fit(np.zeros(50), np.ones(50))
    assert (histogram.edges, histogram.shares) == ((0.0,), (1.0, 0.0))


def test_scales_equal_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    features = rng.normal(rng.uniform(-3, 3, 37), rng.uniform(0.5, 4, 37), (20_001, 37)).astype(np.float32)
    fitted = FeatureStatistics.fit(FEATURES, features, np.ones(len(features)))
    standard = StandardScaler().fit(features.astype(np.float64))
    robust = RobustScaler().fit(features.astype(np.float64))
    np.testing.assert_allclose(fitted.mean, standard.mean_)
    np.testing.assert_allclose(fitted.std, standard.scale_)
    np.testing.assert_allclose(fitted.median, robust.center_, atol=1e-6)
    np.testing.assert_allclose(fitted.iqr, robust.scale_, rtol=1e-3)
    np.testing.assert_allclose(fitted.standardise(features), standard.transform(features.astype(np.float64)), atol=1e-9)
    assert fitted.minimum == tuple(features.min(axis=0).astype(float))
    assert fitted.maximum == tuple(features.max(axis=0).astype(float))
    assert tuple(fitted.histograms) == FEATURES


def test_weights_equal_repeated_rows():
    rng = np.random.default_rng(1)
    features, times = rng.normal(size=(300, 37)).astype(np.float32), rng.integers(1, 4, 300)
    weighted = FeatureStatistics.fit(FEATURES, features, times.astype(float))
    repeated = FeatureStatistics.fit(FEATURES, features.repeat(times, axis=0), np.ones(times.sum()))
    for name in ("mean", "std", "median", "iqr"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e5 / 3])
def test_constant_feature_has_scale_one(value: float):
    features = np.full((1000, 37), np.float32(value))
    fitted = FeatureStatistics.fit(FEATURES, features, np.random.default_rng(2).uniform(1, 3, 1000))
    assert set(fitted.std) == set(fitted.iqr) == {1.0}
    assert np.abs(fitted.standardise(features)).max() < 1e-6


@pytest.mark.parametrize("cuts", [[100], [1, 299], [50, 60, 290]])
def test_moments_of_parts_add_up(cuts: list[int]):
    rng = np.random.default_rng(3)
    features = (rng.normal(size=(300, 37)) * 10.0 ** rng.integers(-3, 4, 37) + 7).astype(np.float32)
    weight = rng.uniform(1, 3, 300)
    parts = [Moments.of(*pair) for pair in zip(np.split(features, cuts), np.split(weight, cuts), strict=True)]
    total, whole = sum(parts[1:], start=parts[0]), Moments.of(features, weight)
    assert total.weight == pytest.approx(whole.weight)
    for name in ("mean", "variance", "minimum", "maximum"):
        np.testing.assert_allclose(getattr(total, name), getattr(whole, name), rtol=1e-9)
    told = Moments.from_bytes(whole.to_bytes())
    np.testing.assert_array_equal(told.weight, whole.weight)
    np.testing.assert_array_equal(told.variance, whole.variance)
    given_whole = FeatureStatistics.fit(FEATURES, features[:50], weight[:50], whole)
    assert given_whole.mean == FeatureStatistics.fit(FEATURES, features, weight).mean
    assert given_whole.median == FeatureStatistics.fit(FEATURES, features[:50], weight[:50]).median


def test_weight_up_to_a_limit():
    ranked = Ranked.of(np.array([3.0, 1.0, 2.0, 2.0]), np.array([1.0, 2.0, 4.0, 8.0]))
    np.testing.assert_array_equal(ranked.weight_up_to(np.array([0.0, 1.0, 2.0, 9.0])), [0, 2, 14, 15])
    np.testing.assert_array_equal(ranked.weight_up_to(np.array([1.0, 2.0]), inclusive=False), [0, 2])
