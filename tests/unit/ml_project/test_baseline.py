import numpy as np
import pytest

from ml_project.baseline import BINS, HOURS, SCORE, Baseline, decision_shares, effective_rows
from ml_project.bundle import Bundle, Manifest
from ml_project.policies import NEVER, Thresholds
from tests.support.creditcard import CREDITCARD, FEATURES, WATCHED

RAW = np.empty((0, 30))
"""Of a contract without categories nothing is read of it."""


@pytest.fixture
def features() -> np.ndarray:
    """Noon and midnight differ in V1; nothing happens at other hours."""
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=(4_000, len(FEATURES))).astype(np.float32)
    drawn[:, 0] = np.where(np.arange(4_000) % 4 == 0, 0.5, 12.5)
    drawn[drawn[:, 0] == 0.5, FEATURES.index("V1")] += 10
    return drawn


def test_shares_are_those_of_the_hour(features: np.ndarray) -> None:
    baseline = Baseline.fit(CREDITCARD, RAW, features, np.abs(features[:, 1]).astype(float), np.ones(len(features)))
    assert set(baseline.shares) == set(WATCHED) == {*FEATURES, SCORE} - {"Time"}
    assert baseline.rows == (1_000.0, *[0.0] * 11, 3_000.0, *[0.0] * 11)
    shares = np.array(baseline.shares["V1"])
    assert shares.shape == (HOURS, BINS)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    edges = np.array(baseline.edges["V1"])
    midnight = features[features[:, 0] < 1, FEATURES.index("V1")].astype(float)
    np.testing.assert_allclose(shares[0, 0], (midnight <= edges[0]).mean(), atol=1e-6)
    assert shares[0, -1] > 0.3
    assert shares[12, -1] == 0
    # an hour that nobody has seen yet is taken for an average one
    np.testing.assert_allclose(shares[5], 0.1, atol=1e-3)


def test_weights_equal_repeated_rows(features: np.ndarray) -> None:
    few, times = features[:500], np.random.default_rng(1).integers(1, 4, 500)
    score = np.abs(few[:, 1]).astype(float)
    weighted = Baseline.fit(CREDITCARD, RAW, few, score, times.astype(float))
    repeated = Baseline.fit(CREDITCARD, RAW, few.repeat(times, axis=0), score.repeat(times), np.ones(times.sum()))
    assert weighted.edges == repeated.edges
    assert weighted.shares == repeated.shares
    assert weighted.rows[0] < repeated.rows[0]


def test_effective_rows_and_decision_shares_by_hand() -> None:
    assert effective_rows(np.ones(7)) == 7
    assert effective_rows(np.array([1.0, 1.0, 2.0])) == pytest.approx(16 / 6)
    assert effective_rows(np.empty(0)) == 0
    score, weight = np.array([0.1, 0.5, 0.8, 0.9]), np.array([6.0, 1.0, 2.0, 1.0])
    assert decision_shares(score, weight, Thresholds(0.5, 0.9)) == pytest.approx((0.6, 0.3, 0.1))
    assert decision_shares(score, weight, Thresholds(NEVER, NEVER)) == (1, 0, 0)


def test_a_manifest_brings_its_baseline_back(bundle: Bundle) -> None:
    again = Manifest.model_validate_json(bundle.manifest.to_bytes())
    assert again.drift_baseline == bundle.manifest.baseline
