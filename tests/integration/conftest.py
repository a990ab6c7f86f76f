"""Whole pipelines on small data, in this process or as real ones."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml_project.schema import LABEL, RAW_FEATURES
from ml_project.simulator import simulate
from pipelines.promotion.promote import Promotion
from pipelines.settings import PipelineSettings
from pipelines.tracking import Run
from pipelines.training.steps import run_main
from pipelines.training.train import Measurement
from stores.mlflow_client import quiet_mlflow


def transactions(rows: int, seed: int) -> pd.DataFrame:
    """Simulated transactions, 1.5 % of them frauds, as a file of a bank's own would hold them."""
    chunks = list(simulate(rows, seed=seed, fraud_rate=0.015))
    frame = pd.DataFrame(np.concatenate([chunk.raw for chunk in chunks]), columns=list(RAW_FEATURES))
    return frame.assign(**{LABEL: np.concatenate([chunk.label for chunk in chunks])})


@dataclass(frozen=True)
class Execution:
    """A finished pipeline and what it was given."""

    settings: PipelineSettings
    run: Run
    measured: Measurement
    promotion: Promotion


@pytest.fixture(scope="session")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Execution:
    """`main` once, on 12,000 transactions from a file, with SQLite stores."""
    folder = tmp_path_factory.mktemp("pipeline")
    file = folder / "bank.csv"
    transactions(12_000, seed=4).to_csv(file, index=False)
    quiet_mlflow()
    settings = PipelineSettings(state_dir=folder / "var", tracking_uri="", data=str(file), trials=3, threads=2)
    return Execution(settings, *run_main(settings))


@pytest.fixture
def own_settings(executed: Execution, tmp_path: Path) -> PipelineSettings:
    """A registry of one's own in which version 1 was promoted by `main`, for tests that change it."""
    shutil.copy(executed.settings.mlflow_database, tmp_path / "mlflow.db")
    shutil.copytree(executed.settings.releases, tmp_path / "releases")
    return executed.settings.model_copy(update={"state_dir": tmp_path})
