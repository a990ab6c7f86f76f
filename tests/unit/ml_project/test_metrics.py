from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from ml_project.dataset import Dataset
from ml_project.metrics import (
    Estimate,
    Ranker,
    RankingCurve,
    alerts_per_day_at,
    average_precision,
    calibration_error,
    cost_at,
    cost_within,
    estimate,
    losses,
    paired_difference,
    paired_savings,
    precision_at,
    precision_within,
    ranking_curve,
    ranking_metrics,
    recall_at,
    recall_at_fpr,
    recall_within,
    roc_auc,
    slices,
    threshold_metrics,
)
from tests.support.creditcard import CREDITCARD


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


class Rows(NamedTuple):
    label: np.ndarray
    weight: np.ndarray
    amount: np.ndarray
    score: np.ndarray

    @property
    def curve(self) -> RankingCurve:
        return ranking_curve(self.score, self.label, self.weight, self.amount)


def drawn(n: int, seed: int, distinct: int = 1000, rate: float = 0.2) -> Rows:
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < rate).astype(np.int8)
    label[:2] = (0, 1)
    score = np.round(np.clip(rng.normal(0.3 + 0.3 * label, 0.2), 0, 1) * distinct) / distinct
    return Rows(label, rng.uniform(0.5, 4, n), rng.exponential(80, n), score)


drawn_rows = st.builds(drawn, st.integers(2, 80), st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 10, 10**6]))


@given(drawn_rows)
def test_average_precision_and_auc_equal_scikit_learn(data: Rows):
    expected = average_precision_score(data.label, data.score, sample_weight=data.weight)
    assert average_precision(data.curve) == pytest.approx(expected)
    assert roc_auc(data.curve) == pytest.approx(roc_auc_score(data.label, data.score, sample_weight=data.weight))


@given(drawn_rows, st.floats(0, 1))
def test_recall_at_fpr_is_the_best_within_the_limit(data: Rows, limit: float):
    legitimate, fraud = (data.weight * (data.label == value) for value in (0, 1))
    best = 0.0
    for threshold in np.unique(data.score):
        alert = data.score >= threshold
        if legitimate[alert].sum() / legitimate.sum() <= limit:
            best = max(best, fraud[alert].sum() / fraud.sum())
    assert recall_at_fpr(limit)(data.curve) == pytest.approx(best)


@given(drawn_rows, st.floats(0, 1.1))
def test_figures_of_a_threshold_equal_a_count_by_hand(data: Rows, threshold: float):
    alert, fraud = data.score >= threshold, data.label == 1
    caught, alerts = data.weight[alert & fraud].sum(), data.weight[alert].sum()
    assert precision_at(threshold)(data.curve) == pytest.approx(caught / alerts if alerts else 0.0)
    assert recall_at(threshold)(data.curve) == pytest.approx(caught / data.weight[fraud].sum())
    assert alerts_per_day_at(threshold, 4.0)(data.curve) == pytest.approx(alerts / 4)
    cost = (data.weight * data.amount)[~alert & fraud].sum() + 5.0 * alerts
    assert cost_at(threshold, 5.0, 4.0)(data.curve) == pytest.approx(cost / 4)


def test_names_of_the_figures():
    assert list(ranking_metrics()) == ["average_precision", "roc_auc", "recall_at_fpr_0.01"]
    assert list(threshold_metrics(0.5, 5.0, 1.0)) == ["precision", "recall", "cost_per_day", "alerts_per_day"]


def test_interval_contains_the_point_and_narrows_with_rows():
    widths = []
    for n in (400, 6_400):
        data = drawn(n, seed=1, distinct=10**6)
        for figure in estimate(data, data.score, ranking_metrics(0.1), replicates=200).values():
            assert figure.low < figure.value < figure.high
        found = estimate(data, data.score, {"auc": roc_auc}, replicates=200)["auc"]
        widths.append(found.high - found.low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.4)


def test_interval_is_of_the_weighted_figure():
    data = drawn(2_000, seed=1, distinct=10**6)
    data = data._replace(weight=np.where(data.label == 0, 50.0, 1.0))
    found = estimate(data, data.score, {"ap": average_precision}, replicates=100)["ap"]
    assert found.low < average_precision(data.curve) < found.high
    assert found.high < average_precision(data._replace(weight=np.ones(2_000)).curve) / 2


def test_interval_covers_the_truth_about_95_times_in_100():
    truth = roc_auc(drawn(200_000, seed=0, distinct=10**6).curve)
    covered = 0
    for seed in range(1, 101):
        data = drawn(300, seed)
        found = estimate(data, data.score, {"auc": roc_auc}, replicates=120, seed=seed)["auc"]
        covered += found.low <= truth <= found.high
    assert 88 <= covered <= 100


def test_estimate_is_determined_by_its_seed():
    data = drawn(300, seed=2)
    first, same, other = (estimate(data, data.score, ranking_metrics(), 50, seed) for seed in (3, 3, 4))
    assert first == same
    assert first != other
    assert first["roc_auc"].value == other["roc_auc"].value


def test_integer_weights_equal_repeated_rows():
    data = drawn(200, seed=5)
    times = np.random.default_rng(5).integers(1, 4, 200)
    weighted = data._replace(weight=times.astype(float))
    repeated = Rows(*(values.repeat(times) for values in data._replace(weight=np.ones(200))))
    first, second = (estimate(d, d.score, ranking_metrics(0.1), 20) for d in (weighted, repeated))
    for name in first:
        assert first[name].value == pytest.approx(second[name].value)


def test_perfect_scores_have_no_uncertainty():
    data = drawn(100, seed=6)
    found = estimate(data, data.label.astype(float), {"ap": average_precision}, 50)["ap"]
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    assert str(found) == "1.000 [1.000, 1.000]"


def test_equal_scores_differ_by_nothing():
    data = drawn(300, seed=7)
    found = paired_difference(data, data.score, data.score / 2, replicates=50)["average_precision"]
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_paired_difference_is_antisymmetric_and_sees_a_better_model():
    data = drawn(1_000, seed=8)
    worse = np.random.default_rng(8).permutation(data.score)
    gain = paired_difference(data, data.score, worse, replicates=100)["average_precision"]
    loss = paired_difference(data, worse, data.score, replicates=100)["average_precision"]
    assert gain.low > 0
    assert (loss.value, loss.low, loss.high) == pytest.approx((-gain.value, -gain.high, -gain.low))
    assert gain.value == average_precision(data.curve) - average_precision(data._replace(score=worse).curve)


@pytest.mark.parametrize("frauds_first", [True, False])
def test_perfect_calibration_has_no_error_however_ties_are_ordered(frauds_first: bool):
    probability = np.repeat([0.1, 0.25, 0.5], 400)
    label = np.concatenate([np.arange(400) < 400 * p for p in (0.1, 0.25, 0.5)]).astype(np.int8)
    if not frauds_first:
        label = label.reshape(3, 400)[:, ::-1].ravel()
    data = Rows(label, np.full(1200, 2.0), np.ones(1200), probability)
    assert calibration_error(data, probability) == pytest.approx(0, abs=1e-12)


def test_labels_drawn_from_the_probabilities_are_calibrated():
    rng = np.random.default_rng(9)
    probability = rng.beta(0.3, 3, 100_000)
    data = Rows((rng.random(100_000) < probability).astype(np.int8), np.ones(100_000), np.ones(100_000), probability)
    assert calibration_error(data, probability) < 0.03
    assert calibration_error(data, probability / 3) == pytest.approx(2 / 3, abs=0.03)
    assert calibration_error(data, np.minimum(2 * probability, 1)) > 0.5
    assert calibration_error(data, np.full(100_000, probability.mean())) < 0.03


def test_bad_probabilities_have_a_large_error():
    label = np.array([1] * 10 + [0] * 990, dtype=np.int8)
    data = Rows(label, np.ones(1000), np.ones(1000), label.astype(float))
    assert calibration_error(data, np.zeros(1000)) == 1.0
    assert calibration_error(data, np.ones(1000)) == pytest.approx(99)
    assert calibration_error(data, 1.0 - label) == pytest.approx(100)


def test_figures_of_a_budget_equal_a_count_by_hand():
    label = np.array([1, 0, 1, 0, 1], dtype=np.int8)
    curve = ranking_curve(np.array([0.9, 0.8, 0.7, 0.6, 0.5]), label, np.ones(5), np.full(5, 100.0))
    assert (recall_within(3.5)(curve), precision_within(3.5)(curve)) == (2 / 3, 2 / 3)
    assert cost_within(3.5, review_cost=5.0, days=2.0)(curve) == (100 + 3 * 5) / 2
    assert (recall_within(0.5)(curve), precision_within(0.5)(curve)) == (0, 0)
    assert cost_within(0.5, review_cost=5.0, days=2.0)(curve) == 300 / 2


def test_a_detectable_difference_is_2_8_standard_errors():
    assert Estimate(0.0, -1.96, 1.96).detectable == pytest.approx(2.80, abs=0.005)
    assert Estimate(0.3, 0.3, 0.3).detectable == 0


def test_more_confidence_makes_a_wider_interval():
    rng = np.random.default_rng(0)
    label = (rng.random(500) < 0.2).astype(np.int8)
    data = Rows(label, np.ones(500), np.ones(500), label + rng.normal(0, 1, 500))
    other = label + rng.normal(0, 1, 500)
    (plain,) = paired_difference(data, data.score, other).values()
    (sure,) = paired_difference(data, data.score, other, confidence=0.99).values()
    assert sure.low < plain.low < plain.high < sure.high


def rows(amounts: list[float], labels: list[int], weights: list[float] | None = None) -> Dataset:
    raw = np.zeros((len(amounts), 30))
    raw[:, -1] = amounts
    weight = np.ones(len(amounts)) if weights is None else np.array(weights)
    return Dataset(CREDITCARD, raw, np.array(labels, dtype=np.int8), weight, np.arange(len(amounts), dtype=float))


def test_a_review_costs_its_price_and_a_missed_fraud_its_amount() -> None:
    data = rows([10, 20, 30, 40], [0, 0, 1, 1])
    found = losses(data, np.array([0.1, 0.5, 0.4, 0.9]), 0.5, review_cost=5.0)
    np.testing.assert_array_equal(found, [0, 5, 30, 5])


def test_savings_are_a_share_of_all_fraud_by_weight() -> None:
    data = rows([10, 100, 300], [0, 1, 1], [50, 1, 2])
    champion = losses(data, np.array([0.0, 0.9, 0.0]), 0.5, 5.0)
    challenger = losses(data, np.array([0.0, 0.9, 0.9]), 0.5, 5.0)
    gain = paired_savings(data, challenger, champion, replicates=200)
    assert gain.value == pytest.approx(2 * (300 - 5) / (100 + 2 * 300))
    assert gain.low >= 0
    assert paired_savings(data, champion, challenger, replicates=200).value == pytest.approx(-gain.value)


def test_equal_decisions_differ_by_nothing() -> None:
    data = rows([10, 100, 300], [0, 1, 1])
    lost = losses(data, np.array([0.0, 0.9, 0.0]), 0.5, 5.0)
    gain = paired_savings(data, lost, lost, replicates=200)
    assert (gain.value, gain.low, gain.high, gain.detectable) == (0, 0, 0, 0)


def test_a_difference_of_the_detectable_size_is_seen_four_times_in_five() -> None:
    rng = np.random.default_rng(5)
    data = rows([1.0] * 150, [1] * 149 + [0])
    noise = rng.normal(0, 1, (120, 150)) * (data.label == 1)
    size = float(np.mean([paired_savings(data, -n, 0 * n, replicates=200).detectable for n in noise[:20]]))
    found = [paired_savings(data, -(n + size * data.label), 0 * n, replicates=200, seed=k) for k, n in enumerate(noise)]
    assert 0.68 < np.mean([gain.low > 0 for gain in found]) < 0.92


def test_the_interval_is_that_of_drawing_every_row() -> None:
    rng = np.random.default_rng(2)
    label = rng.random(2_000) < 0.05
    data = rows(rng.lognormal(4, 1, 2_000).tolist(), label.astype(int).tolist(), rng.uniform(1, 3, 2_000).tolist())
    first, second = (losses(data, 0.5 * label + rng.normal(0, 0.3, 2_000), 0.5, 5.0) for _ in range(2))
    found = paired_savings(data, first, second, replicates=4_000)
    strata = [np.flatnonzero(data.label == value) for value in (0, 1)]
    draws = []
    for _ in range(4_000):
        drawn = np.concatenate([stratum[rng.integers(0, len(stratum), len(stratum))] for stratum in strata])
        weight = data.weight[drawn]
        stake = weight @ (data.amount[drawn] * data.label[drawn])
        draws.append(weight @ (second[drawn] - first[drawn]) / stake)
    assert [found.low, found.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.03)


def test_every_row_is_in_one_band_of_each_kind() -> None:
    raw = np.zeros((5, 30))
    raw[:, 0] = [0, 6 * 3600, 18 * 3600 - 1, 86_400 + 3600, 86_400 * 2 - 1]
    raw[:, -1] = [0, 9.99, 10, 100, 1e6]
    data = Dataset(CREDITCARD, raw, np.zeros(5, dtype=np.int8), np.ones(5), np.arange(5.0))
    found = {name: rows.tolist() for name, rows in slices(data, (10, 100), (6, 18)).items()}
    assert found == {
        "amount 0 to 10": [0, 1],
        "amount 10 to 100": [2],
        "amount from 100": [3, 4],
        "hour 0 to 6": [0, 3],
        "hour 6 to 18": [1, 2],
        "hour 18 to 24": [4],
    }
