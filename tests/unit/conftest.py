"""One small fitted ensemble and its bundle, shared by the tests of the core and the stores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_project.bundle import Bundle
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.fitting import Fitted, fit_twin
from ml_project.policies import Thresholds
from ml_project.scorer import Scorer
from ml_project.simulator import simulate
from ml_project.split import TimeSplit, split_by_time
from tests.support.creditcard import CREDITCARD


@pytest.fixture(scope="session")
def transactions() -> Dataset:
    """4,000 simulated transactions of two days, about 80 of them frauds; legitimate rows count 1 to 3."""
    (chunk,) = simulate(4_000, seed=3, fraud_rate=0.02)
    weight = np.where(chunk.label == 1, 1.0, np.random.default_rng(3).uniform(1, 3, len(chunk.label)))
    return Dataset(CREDITCARD, chunk.raw, chunk.label, weight, chunk.raw[:, 0])


@pytest.fixture(scope="session")
def split(transactions: Dataset) -> TimeSplit:
    return split_by_time(transactions)


@pytest.fixture(scope="session")
def small_settings() -> EnsembleSettings:
    """Quick to fit; the isolation forest has enough weight for an error in it to show."""
    return EnsembleSettings(
        blend_weight=0.2,
        forest=ForestSettings(trees=20, max_samples=64),
        booster=BoosterSettings(rounds=12, num_parallel_tree=2, max_depth=4, learning_rate=0.3),
    )


@pytest.fixture(scope="session")
def origin() -> dict[str, Any]:
    return {"source": "simulated", "digest": "0" * 64}


@pytest.fixture(scope="session")
def twin(split: TimeSplit, small_settings: EnsembleSettings, origin: dict[str, Any]) -> Fitted:
    """The evaluation twin of the small settings; its bundle has no thresholds yet."""
    return fit_twin(split, small_settings, LocalEngine(seed=1), origin)


@pytest.fixture(scope="session")
def bundle(twin: Fitted) -> Bundle:
    """A complete bundle."""
    policies = {"f1": Thresholds(0.3, 0.7), "cost": Thresholds(0.1, 0.9)}
    manifest = twin.bundle.manifest.model_copy(update={"policy": "f1", "policies": policies})
    return Bundle(manifest, twin.bundle.onnx, twin.bundle.booster)


@pytest.fixture
def bundle_folder(bundle: Bundle, tmp_path: Path) -> Path:
    """The bundle as three files, the test's own to spoil."""
    folder = tmp_path / "bundle"
    bundle.write(folder)
    return folder


@pytest.fixture(scope="session")
def small_scorer(bundle: Bundle) -> Scorer:
    return Scorer(bundle, threads=1)
