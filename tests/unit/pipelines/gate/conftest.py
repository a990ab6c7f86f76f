"""Small twins and the evidence that a gate would have of them."""

from dataclasses import replace

import numpy as np
import pytest

from ml_project.bundle import Bundle
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.fitting import fit_twin
from ml_project.policies import PolicySettings, choose_thresholds
from ml_project.simulator import simulate
from ml_project.split import split_by_time
from pipelines.gate import GateLimits
from pipelines.gate.evidence import Champion, Evidence, Shipped

SMALL = EnsembleSettings(forest=ForestSettings(trees=10), booster=BoosterSettings(rounds=15, num_parallel_tree=1))
USELESS = replace(
    SMALL,
    booster=BoosterSettings(rounds=1, num_parallel_tree=1, max_depth=1, learning_rate=1e-6),
    excluded=tuple(f"V{i}" for i in range(1, 29)),
)


def finished_twin(data: Dataset, settings: EnsembleSettings, source: str = "file") -> Bundle:
    """A twin with thresholds, as the step threshold leaves it."""
    fitted = fit_twin(split_by_time(data), settings, LocalEngine(), {"source": source, "digest": "d"})
    thresholds = choose_thresholds("recall_at_fpr", fitted.unseen.curve, PolicySettings(fpr=0.01), fitted.unseen.days)
    update = {"policy": "recall_at_fpr", "policies": {"recall_at_fpr": thresholds}}
    return Bundle(fitted.bundle.manifest.model_copy(update=update), fitted.bundle.onnx, fitted.bundle.booster)


@pytest.fixture(scope="session")
def data() -> Dataset:
    (chunk,) = simulate(6_000, seed=3, fraud_rate=0.04)
    return Dataset(chunk.raw, chunk.label, np.ones(len(chunk.label)), chunk.raw[:, 0])


@pytest.fixture(scope="session")
def good(data: Dataset) -> Bundle:
    return finished_twin(data, SMALL)


@pytest.fixture(scope="session")
def useless(data: Dataset) -> Bundle:
    return finished_twin(data, USELESS)


@pytest.fixture(scope="session")
def limits() -> GateLimits:
    return GateLimits.load().model_copy(update={"replicates": 300})


@pytest.fixture(scope="session")
def evidence(data: Dataset, good: Bundle) -> Evidence:
    """A faultless first candidate."""
    shipped = Shipped(good.digest, "signature", good, golden_difference=0.0, latency_ratio=1.1)
    return Evidence(
        parity=1e-6,
        review_cost=5.0,
        alerts_per_day=200.0,
        twin=good,
        test=split_by_time(data).test,
        shipped=shipped,
        validated=True,
        champion=None,
    )


def against(evidence: Evidence, champion: Bundle | None, source: str = "file") -> Evidence:
    """The same candidate with a champion before it."""
    return replace(evidence, champion=Champion(1, champion, source, "signature"))
