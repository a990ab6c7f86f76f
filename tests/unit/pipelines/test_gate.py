from dataclasses import replace

import numpy as np
import pytest

from ml_project.bundle import Bundle
from ml_project.dataset import Dataset
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.fitting import FitOptions, fit_twin
from ml_project.simulator import simulate
from ml_project.split import split_by_time
from pipelines.gate import GateLimits, GateReport, judge

METRICS = {"test_recall_at_fpr_0.01": 0.8, "test_calibration_error": 0.2, "parity_max_difference": 1e-6}
SMALL = EnsembleSettings(forest=ForestSettings(trees=10), booster=BoosterSettings(rounds=15, num_parallel_tree=1))
USELESS = replace(SMALL, booster=BoosterSettings(rounds=1, num_parallel_tree=1, max_depth=1, learning_rate=1e-6))


@pytest.fixture(scope="module")
def data() -> Dataset:
    (chunk,) = simulate(6_000, seed=3, fraud_rate=0.04)
    return Dataset(chunk.raw, chunk.label, np.ones(len(chunk.label)), chunk.raw[:, 0])


def twin(data: Dataset, settings: EnsembleSettings, source: str = "file") -> Bundle:
    return fit_twin(split_by_time(data), settings, FitOptions(), {"source": source, "digest": "d"}).bundle


@pytest.fixture(scope="module")
def good(data: Dataset) -> Bundle:
    return twin(data, SMALL)


@pytest.fixture(scope="module")
def useless(data: Dataset) -> Bundle:
    return twin(data, replace(USELESS, excluded=tuple(f"V{i}" for i in range(1, 29))))


def verdict(report: GateReport, name: str) -> bool:
    return next(check.passed for check in report.checks if check.name.startswith(name))


def test_the_first_version_passes_without_a_champion(data: Dataset, good: Bundle) -> None:
    assert judge(GateLimits.load(), METRICS, good, split_by_time(data).test, None).passed


@pytest.mark.parametrize(
    ("metric", "value", "words"),
    [
        ("test_recall_at_fpr_0.01", 0.3, "recall"),
        ("test_calibration_error", 5.0, "calibration"),
        ("parity_max_difference", 1e-3, "parity"),
    ],
)
def test_each_limit_can_refuse(data: Dataset, good: Bundle, metric: str, value: float, words: str) -> None:
    report = judge(GateLimits.load(), {**METRICS, metric: value}, good, split_by_time(data).test, None)
    assert not report.passed
    assert words in report.failures
    assert [check.passed for check in report.checks].count(False) == 1


def test_an_equal_candidate_is_not_worse_but_not_superior(data: Dataset, good: Bundle) -> None:
    limits, test = GateLimits.load(), split_by_time(data).test
    assert judge(limits, METRICS, good, test, good, 1).passed
    superior = judge(limits.model_copy(update={"superiority": True}), METRICS, good, test, good, 1)
    assert not verdict(superior, "average precision against version 1")


def test_a_worse_candidate_is_refused(data: Dataset, good: Bundle, useless: Bundle) -> None:
    test = split_by_time(data).test
    assert not verdict(judge(GateLimits.load(), METRICS, useless, test, good, 1), "average precision")
    assert verdict(judge(GateLimits.load(), METRICS, good, test, useless, 1), "average precision")


def test_simulated_never_replaces_real(data: Dataset, good: Bundle) -> None:
    simulated, test = twin(data, SMALL, "simulated"), split_by_time(data).test
    assert not verdict(judge(GateLimits.load(), METRICS, simulated, test, good, 1), "real beats simulated")
    assert verdict(judge(GateLimits.load(), METRICS, good, test, simulated, 1), "real beats simulated")


def test_rows_that_the_champion_has_seen_do_not_count(data: Dataset, good: Bundle) -> None:
    seen_all = good.manifest.model_copy(update={"data": {**good.manifest.data, "seen_until": float(data.moment[-1])}})
    champion = Bundle(seen_all, good.onnx, good.booster)
    report = judge(GateLimits.load(), METRICS, good, split_by_time(data).test, champion, 1)
    assert not verdict(report, "average precision")
    assert "0 frauds that neither has seen" in report.failures
