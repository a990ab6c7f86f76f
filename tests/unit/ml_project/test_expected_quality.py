import numpy as np
import pytest
from numpy.typing import NDArray

from ml_project.expected_quality import Recalibration, expected_figures
from ml_project.metrics import average_precision, precision_at, ranking_curve, recall_at

METRICS = {"average_precision": average_precision, "precision": precision_at(0.3), "recall": recall_at(0.3)}

Floats = NDArray[np.float64]


def rows(count: int, seed: int, wrong: float = 0.0) -> tuple[Floats, NDArray[np.int8], Floats]:
    """Probabilities whose log-odds are off by ``wrong``, the labels, and a weight of 1 each."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-5, 2.2, count)
    label = (rng.random(count) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    return 1 / (1 + np.exp(-(odds + wrong))), label, np.ones(count)


def truth(probability: Floats, label: NDArray[np.int8]) -> dict[str, float]:
    curve = ranking_curve(probability, label, np.ones(len(label)), np.ones(len(label)))
    return {name: metric(curve) for name, metric in METRICS.items()}


def test_right_probabilities_foretell_the_figures() -> None:
    inside = dict.fromkeys(METRICS, 0)
    for seed in range(30):
        probability, label, weight = rows(3_000, seed)
        asked = (probability, probability, weight, weight, METRICS, Recalibration())
        found = expected_figures(*asked, replicates=100, seed=seed + 100)
        for name, value in truth(probability, label).items():
            inside[name] += found[name].low <= value <= found[name].high
            assert found[name].high - found[name].low < 0.5
    assert min(inside.values()) >= 26


def test_labelled_rows_correct_probabilities_that_are_wrong() -> None:
    old, old_label, old_weight = rows(20_000, 1, wrong=1.5)
    checked = Recalibration.of(old, old_label, old_weight)
    assert checked.ratio is not None
    assert checked.ratio.high < 0.7
    assert checked.drifted(1.25)
    assert not checked.drifted(10)
    inside = corrected = 0
    for seed in range(30, 40):
        probability, label, weight = rows(5_000, seed, wrong=1.5)
        asked = (probability, probability, weight, weight, METRICS)
        wrong = expected_figures(*asked, Recalibration(), replicates=60)["average_precision"]
        right = expected_figures(*asked, checked, replicates=60)["average_precision"]
        value = truth(probability, label)["average_precision"]
        inside += wrong.low <= value <= wrong.high
        corrected += right.low <= value <= right.high
    assert inside <= 2
    assert corrected >= 8


def test_labels_that_have_come_are_not_drawn() -> None:
    probability, label, weight = rows(3_000, 7)
    found = expected_figures(
        probability, probability, weight, weight, METRICS, Recalibration(), known=label, replicates=20
    )
    for name, value in truth(probability, label).items():
        assert (found[name].low, found[name].value, found[name].high) == pytest.approx((value,) * 3)


def test_frauds_that_come_in_runs_make_less_certain() -> None:
    """Of a key with five transactions all are frauds or none; the probabilities are right, which single rows deny."""
    inside = {"rows": 0, "keys": 0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        odds = np.repeat(rng.normal(-4, 2, 600), 5)
        terminal = np.repeat(np.arange(600), 5)
        customer = rng.integers(0, 2_000, 3_000)
        probability = 1 / (1 + np.exp(-odds))
        label = (rng.random(600)[terminal] < probability).astype(np.int8)
        asked = probability, label, np.ones(3_000)
        for name, keys in (("rows", ()), ("keys", (customer, terminal))):
            ratio = Recalibration.of(*asked, keys).ratio
            assert ratio is not None
            inside[name] += ratio.low <= 1 <= ratio.high
    assert inside["rows"] <= 15
    assert inside["keys"] >= 17


def test_weights_count_as_rows() -> None:
    probability, label, _weight = rows(4_000, 3)
    half = probability < 0.5
    heavy = Recalibration.of(probability, label, np.where(half, 2.0, 1.0))
    repeated = Recalibration.of(
        np.append(probability, probability[half]), np.append(label, label[half]), np.ones(4_000 + int(half.sum()))
    )
    assert heavy.ratio is not None
    assert repeated.ratio is not None
    assert heavy.ratio.value == pytest.approx(repeated.ratio.value)


def test_rows_without_any_fraud_are_worth_nothing() -> None:
    nothing = np.zeros(50)
    found = expected_figures(nothing, nothing, nothing, nothing + 1, METRICS, Recalibration(), replicates=10)
    assert {each.high for each in found.values()} == {0.0}
