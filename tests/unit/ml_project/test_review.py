"""The random sample of approvals, and how labels are weighted for it."""

from itertools import pairwise

import numpy as np
import pytest

from ml_project.review import corrected, drawn_for_review
from ml_project.simulator import simulate
from stores.decisions.segments import segment_prediction_ids

IDS = segment_prediction_ids("0190a5f2-1111-7222-8333-444444000000", 50_000)


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.2])
def test_the_sample_is_as_large_as_the_rate_says(rate: float) -> None:
    expected = rate * len(IDS)
    assert abs(len(drawn_for_review(IDS, rate)) - expected) < 4 * expected**0.5


def test_a_larger_sample_holds_a_smaller() -> None:
    samples = [set(drawn_for_review(IDS, rate)) for rate in (0, 0.001, 0.01, 0.5, 1)]
    assert all(smaller <= larger for smaller, larger in pairwise(samples))
    assert (samples[0], len(samples[-1])) == (set(), len(IDS))


def test_the_draw_is_the_same_for_ever() -> None:
    """Labels of years past are weighted by it."""
    assert [drawn_for_review(IDS[:1], rate) for rate in (0.3890, 0.3891)] == [[], [0]]


NEITHER = False, False, False


def rows(*parts: tuple[int, bool, bool, bool]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Columns of so many rows that are (alert, fraud, sampled), one in ten of the approvals drawn."""
    alert, fraud, sampled = (np.concatenate([np.full(part[0], part[k]) for part in parts]) for k in (1, 2, 3))
    return alert, fraud, np.where(sampled, 0.1, 0.0), np.ones(len(alert))


def test_the_sample_tells_how_many_frauds_approvals_count_for() -> None:
    # 1,000 approvals; of 100 sampled 5 are frauds, of the other 900 only 5 are known: the truth is about 50
    sampled = ((5, False, True, True), (95, False, False, True))
    found = corrected(*rows((20, True, True, False), *sampled, (5, False, True, False), (895, *NEITHER)))
    assert (found.approvals, found.known, found.sampled, found.sampled_frauds) == (1_000, 10, 100, 5)
    assert found.frauds == pytest.approx(50)
    assert found.weight[:20] == pytest.approx(1.0)
    assert found.weight[20:25] == pytest.approx(5.0)
    assert found.weight[25:120] == pytest.approx(950 / 990)
    assert found.weight.sum() == pytest.approx(1_020)


def test_nothing_is_corrected_where_the_sample_finds_no_more_than_chance() -> None:
    # one fraud in a sample of 20 would say 50 of 1,000; with 4 known ones it is seen once in thirteen times
    found = corrected(*rows((1, False, True, True), (19, False, False, True), (3, False, True, False), (977, *NEITHER)))
    assert found.frauds == found.known
    assert found.frauds == 4
    assert found.weight == pytest.approx(1.0)


def test_known_frauds_are_never_scaled_down() -> None:
    found = corrected(*rows((200, False, False, True), (50, False, True, False), (750, False, False, False)))
    assert found.frauds == found.known == 50


def test_a_sample_drawn_at_changing_rates_counts_each_as_what_it_stands_for() -> None:
    alert, fraud, rate, weight = rows((8, False, True, True), (92, False, False, True), (900, *NEITHER))
    rate[:4] = rate[8:54] = 0.2
    rate[4:8] = rate[54:100] = 0.05
    found = corrected(alert, fraud, rate, weight)
    # 4 of 50 at either rate
    assert found.frauds == pytest.approx(1_000 * (4 / 0.2 + 4 / 0.05) / (50 / 0.2 + 50 / 0.05))
    rate[4:8], rate[54:100] = 0.2, 0.2
    assert corrected(alert, fraud, rate, weight).frauds == pytest.approx(80)


def test_thinned_approvals_count_as_what_they_stand_for() -> None:
    alert, fraud, rate, weight = rows((5, False, True, True), (95, False, False, True), (450, *NEITHER))
    weight[100:] = 2.0
    found = corrected(alert, fraud, rate, weight)
    assert found.approvals == 1_000
    assert found.frauds == pytest.approx(50)
    assert found.weight[fraud].sum() == pytest.approx(50)
    assert found.weight.sum() == pytest.approx(1_000)


def test_a_sample_of_everything_leaves_nothing_to_correct() -> None:
    for labels in ([(5, False, True, True), (95, False, False, True)], [(5, True, True, False)]):
        found = corrected(*rows(*labels))
        assert found.frauds == found.known


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Which of 30,000 simulated transactions are frauds, about 600."""
    (chunk,) = simulate(30_000, seed=5, fraud_rate=0.02)
    return chunk.label == 1


def reviewed(truth: np.ndarray, seed: int, reported: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Alerts that miss half of all frauds, and labels from alerts, the random sample and customers' reports."""
    rng = np.random.default_rng(seed)
    alert = np.where(truth, rng.random(len(truth)) < 0.5, rng.random(len(truth)) < 0.001)
    rate = np.zeros(len(truth))
    rate[drawn_for_review([f"{seed}-{row}" for row in range(len(truth))], 0.05)] = 0.05
    return alert, truth & (alert | (rate > 0) | (rng.random(len(truth)) < reported)), rate, np.ones(len(truth))


def test_the_true_fraud_rate_is_recovered_on_simulated_traffic(truth: np.ndarray) -> None:
    ratios, naive = [], []
    for seed in range(20):
        alert, known, rate, weight = reviewed(truth, seed, reported=0.1)
        found = corrected(alert, known, rate, weight)
        assert found.frauds > found.known
        ratios.append(found.weight[known].sum() / truth.sum())
        naive.append(known.sum() / truth.sum())
    assert np.mean(naive) < 0.6
    # a sample of 5 % holds 15 of the 300 missed frauds, which tells their number to a quarter of it
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.06)
    assert all(0.7 < ratio < 1.35 for ratio in ratios)


def test_traffic_whose_frauds_are_all_reported_is_left_alone(truth: np.ndarray) -> None:
    found = [corrected(*reviewed(truth, seed, reported=1.0)) for seed in range(20)]
    assert sum(each.frauds > each.known for each in found) <= 3
