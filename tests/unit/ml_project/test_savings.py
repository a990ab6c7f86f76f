import numpy as np
import pytest

from ml_project.dataset import Dataset
from ml_project.savings import losses, paired_savings


def rows(amounts: list[float], labels: list[int], weights: list[float] | None = None) -> Dataset:
    raw = np.zeros((len(amounts), 30))
    raw[:, -1] = amounts
    weight = np.ones(len(amounts)) if weights is None else np.array(weights)
    return Dataset(raw, np.array(labels, dtype=np.int8), weight, np.arange(len(amounts), dtype=float))


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
