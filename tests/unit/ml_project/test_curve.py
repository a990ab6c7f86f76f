import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, roc_curve

from ml_project.curve import Ranker, RankingCurve, ranking_curve


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """Score, label, weight, amount of rows of both classes; few distinct scores, so many ties."""
    n = draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    score = rng.integers(0, draw(st.sampled_from([1, 4, 1000])) + 1, n) / 1000
    label = (rng.random(n) < draw(st.sampled_from([0.1, 0.5]))).astype(np.int8)
    label[:2] = (0, 1)
    return score, label, rng.uniform(0.1, 5, n), rng.exponential(80, n)


@given(scored())
def test_every_point_equals_a_count_by_hand(rows):
    score, label, weight, amount = rows
    curve = ranking_curve(*rows)
    np.testing.assert_array_equal(curve.score, np.unique(score)[::-1])
    for k, threshold in enumerate(curve.score):
        alert = score >= threshold
        assert curve.caught[k] == pytest.approx(weight[alert & (label == 1)].sum())
        assert curve.false_alerts[k] == pytest.approx(weight[alert & (label == 0)].sum())
        assert curve.caught_amount[k] == pytest.approx((weight * amount)[alert & (label == 1)].sum())
        assert curve.alerts[k] == pytest.approx(weight[alert].sum())
        missed = (weight * amount)[~alert & (label == 1)].sum()
        assert curve.cost(7.0)[k] == pytest.approx(missed + 7 * weight[alert].sum())
    assert curve.frauds == pytest.approx(weight[label == 1].sum())
    assert curve.legitimate == pytest.approx(weight[label == 0].sum())
    assert curve.fraud_amount == pytest.approx((weight * amount)[label == 1].sum())


@given(scored())
def test_precision_recall_and_rates_equal_scikit_learn(rows):
    score, label, weight, _ = rows
    curve = ranking_curve(*rows)
    precision, recall, _ = precision_recall_curve(label, score, sample_weight=weight)
    np.testing.assert_allclose(curve.precision, precision[:-1][::-1])
    np.testing.assert_allclose(curve.recall, recall[:-1][::-1])
    rate, caught, _ = roc_curve(label, score, sample_weight=weight, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, rate[1:], atol=1e-12)
    np.testing.assert_allclose(curve.recall, caught[1:], atol=1e-12)


@given(scored())
def test_counts_never_fall_and_end_at_the_totals_exactly(rows):
    curve = ranking_curve(*rows)
    for counts in (curve.caught, curve.false_alerts, curve.alerts):
        assert (np.diff(counts) >= 0).all()
    assert curve.recall[-1] == 1.0
    assert curve.false_positive_rate[-1] == 1.0


@given(scored(), st.integers(0, 2**32 - 1))
def test_weight_zero_drops_a_row_and_two_repeats_it(rows, seed: int):
    score, label, _, amount = rows
    times = np.random.default_rng(seed).integers(0, 3, len(score))
    times[:2] = 1
    weighted = Ranker(score, label, amount).curve(times.astype(float))
    repeated = ranking_curve(score.repeat(times), label.repeat(times), np.ones(times.sum()), amount.repeat(times))
    # a score whose rows all weigh nothing may stand in the curve, with the counts of the point above it
    at = [weighted.at(score) for score in repeated.score]
    np.testing.assert_array_equal(weighted.caught[at], repeated.caught)
    np.testing.assert_array_equal(weighted.false_alerts[at], repeated.false_alerts)
    np.testing.assert_allclose(weighted.caught_amount[at], repeated.caught_amount)


@given(scored(), st.floats(-0.1, 1.1))
def test_at_finds_the_last_alerting_point(rows, threshold: float):
    curve = ranking_curve(*rows)
    alerting = np.flatnonzero(curve.score >= threshold)
    assert curve.at(threshold) == (alerting[-1] if len(alerting) else -1)


def test_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(0)
    rows = (rng.integers(0, 5, 50) / 5, (rng.random(50) < 0.3).astype(np.int8), np.ones(50), np.ones(50))
    order = rng.permutation(50)
    first, second = ranking_curve(*rows), ranking_curve(*(values[order] for values in rows))
    for name in RankingCurve.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
