"""The model under test: a small bundle, or any registered version with ``--model-version V``.

The version is read as its users would read it: the pyfunc from the registry that MLFLOW_TRACKING_URI names (or the
state folder's), the bundle checked against the registry's digest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc.model import PythonModelContext

from ml_project.bundle import Bundle
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings
from ml_project.fitting import fit_twin
from ml_project.policies import PolicySettings, choose_thresholds
from ml_project.scorer import Scorer
from ml_project.simulator import simulate
from ml_project.split import split_by_time
from tests.support.creditcard import CREDITCARD, RAW_FEATURES


@dataclass(frozen=True)
class Model:
    """A version: its pyfunc, and its bundle for what the pyfunc does not tell."""

    predict: Callable[[pd.DataFrame], pd.DataFrame]
    bundle: Bundle
    scorer: Scorer


def _small_bundle() -> Bundle:
    (chunk,) = simulate(6_000, seed=11, fraud_rate=0.02)
    data = Dataset(CREDITCARD, chunk.raw, chunk.label, np.ones(len(chunk.label)), chunk.raw[:, 0])
    settings = EnsembleSettings(blend_weight=0.1, booster=BoosterSettings(rounds=20), excluded=())
    fitted = fit_twin(split_by_time(data), settings, LocalEngine(), {"source": "simulated", "digest": "0" * 64})
    thresholds = choose_thresholds("f1", fitted.unseen.curve, PolicySettings(), fitted.unseen.days)
    manifest = fitted.bundle.manifest.model_copy(update={"policy": "f1", "policies": {"f1": thresholds}})
    return Bundle(manifest, fitted.bundle.onnx, fitted.bundle.booster)


def _small(folder: Path) -> Model:
    from pipelines.training.pyfunc_model import FraudEnsemble

    bundle = _small_bundle()
    bundle.write(folder)
    context = PythonModelContext({"bundle": str(folder)}, {})
    ensemble = FraudEnsemble()
    ensemble.load_context(context)
    return Model(lambda frame: ensemble.predict(context, frame), bundle, Scorer(bundle))


def _registered(number: int) -> Model:
    import mlflow

    from pipelines.settings import PipelineSettings
    from stores.registry import Registry

    settings = PipelineSettings.model_validate({})
    mlflow.set_tracking_uri(settings.mlflow_uri)
    registry = Registry(settings.mlflow_uri, settings.model_name)
    bundle = registry.bundle(registry.version(number))
    pyfunc = mlflow.pyfunc.load_model(f"models:/{settings.model_name}/{number}")
    return Model(pyfunc.predict, bundle, Scorer(bundle))


@pytest.fixture(scope="session")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    number: int | None = request.config.getoption("--model-version")
    folder = tmp_path_factory.mktemp("model") / "bundle"
    return _small(folder) if number is None else _registered(number)


@pytest.fixture(scope="session")
def transactions() -> pd.DataFrame:
    """1,000 simulated transactions, 50 of them frauds or so, that no version was trained on."""
    (chunk,) = simulate(1_000, seed=99, fraud_rate=0.05)
    return pd.DataFrame(chunk.raw, columns=list(RAW_FEATURES))
