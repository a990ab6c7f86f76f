import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from ml_project.calibration import CLIP, MIN_SLOPE, Calibrator, fit_calibrator, log_odds


def synthetic(slope: float, intercept: float, n: int = 200_000) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    odds = rng.normal(-2, 2, n)
    label = (rng.random(n) < 1 / (1 + np.exp(-(slope * odds + intercept)))).astype(np.int8)
    return 1 / (1 + np.exp(-odds)), label, rng.uniform(0.5, 2, n)


def test_probability_by_hand():
    score = np.array([0.5, 0.9, 0.1])
    np.testing.assert_allclose(Calibrator().probability(score), score)
    by_hand = 1 / (1 + np.exp(-(2 * np.log(9) - 1)))
    np.testing.assert_allclose(Calibrator(2.0, -1.0).probability(score)[1], by_hand)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.6, -1.5), (1.8, 0.7)])
def test_known_curve_is_recovered(slope: float, intercept: float):
    fitted = fit_calibrator(*synthetic(slope, intercept))
    assert fitted.slope == pytest.approx(slope, abs=0.03)
    assert fitted.intercept == pytest.approx(intercept, abs=0.05)


def test_equals_an_unpenalised_logistic_regression():
    score, label, weight = synthetic(0.8, -1.0, 20_000)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    reference.fit(log_odds(score)[:, None], label, sample_weight=weight)
    fitted = fit_calibrator(score, label, weight)
    assert fitted.slope == pytest.approx(reference.coef_[0, 0], abs=2e-3)
    assert fitted.intercept == pytest.approx(reference.intercept_[0], abs=2e-3)


def test_mean_probability_is_the_fraud_rate():
    score, label, weight = synthetic(0.7, -2.0, 20_000)
    probability = fit_calibrator(score, label, weight).probability(score)
    assert np.average(probability, weights=weight) == pytest.approx(np.average(label, weights=weight), abs=1e-4)


def test_weights_equal_repeated_rows():
    score, label, _ = synthetic(1.0, 0.0, 2_000)
    times = np.random.default_rng(1).integers(1, 4, 2_000)
    weighted = fit_calibrator(score, label, times.astype(float))
    repeated = fit_calibrator(score.repeat(times), label.repeat(times), np.ones(times.sum()))
    assert (weighted.slope, weighted.intercept) == pytest.approx((repeated.slope, repeated.intercept))


@given(st.floats(MIN_SLOPE, 50), st.floats(-20, 20), st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_curve_never_reorders_and_stays_in_range(slope: float, intercept: float, scores: list[float]):
    probability = Calibrator(slope, intercept).probability(np.sort(scores))
    assert (np.diff(probability) >= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()


DEGENERATE = {
    "perfect separation": (np.repeat([0.01, 0.99], 500), np.repeat([0, 1], 500)),
    "separated by a hair": (np.repeat([0.499, 0.501], 500), np.repeat([0, 1], 500)),
    "one fraud": (np.linspace(0, 0.9, 1000), np.arange(1000) == 999),
    "no fraud": (np.linspace(0, 0.9, 1000), np.zeros(1000)),
    "frauds only": (np.linspace(0, 0.9, 1000), np.ones(1000)),
    "scores 0 and 1": (np.repeat([0.0, 1.0], 500), np.repeat([0, 1], 500)),
    "scores 0 and 1 the wrong way": (np.repeat([0.0, 1.0], 500), np.repeat([1, 0], 500)),
    "one score": (np.full(1000, 0.3), np.arange(1000) % 10 == 0),
    "all scores 0": (np.zeros(1000), np.arange(1000) % 10 == 0),
}


@pytest.mark.parametrize("weight", [1.0, 1e5])
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_rows_give_a_finite_rising_curve(case: str, weight: float):
    score, label = DEGENERATE[case]
    fitted = fit_calibrator(score, label.astype(np.int8), np.full(len(score), weight))
    assert np.isfinite([fitted.slope, fitted.intercept]).all()
    assert fitted.slope >= MIN_SLOPE
    probability = fitted.probability(np.linspace(0, 1, 101))
    assert np.isfinite(probability).all()
    assert (np.diff(probability) >= 0).all()


def test_targets_are_smoothed_as_by_platt():
    score, label = np.repeat([0.0, 1.0], [100, 5]), np.repeat([0, 1], [100, 5]).astype(np.int8)
    low, high = fit_calibrator(score, label, np.ones(105)).probability(np.array([0.0, 1.0]))
    assert (low, high) == pytest.approx((1 / 102, 6 / 7))


def test_log_odds_are_clipped():
    np.testing.assert_allclose(log_odds(np.array([0.0, 1.0])), np.log(CLIP / (1 - CLIP)) * np.array([1, -1]))
    assert log_odds(np.array([0.5], dtype=np.float32))[0] == 0
