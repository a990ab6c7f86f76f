"""Whole pipelines on small data, in this process or as real ones."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from pipelines.settings import PipelineSettings
from pipelines.training.steps import run_main
from stores.mlflow_client import quiet_mlflow
from tests.support.pipelines import BANK_ROWS, Execution, transactions

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow's tables hold a path."""


@pytest.fixture(scope="session")
def executed(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_database: Path) -> Execution:
    """`main` once, on a bank's transactions from a file, with SQLite stores."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "var").mkdir()
    shutil.copy(empty_mlflow_database, folder / "var")
    file = folder / "bank.csv"
    transactions(BANK_ROWS, seed=4).to_csv(file, index=False)
    quiet_mlflow()
    os.environ["MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"] = "0.5"  # this training takes seconds
    settings = PipelineSettings(
        state_dir=folder / "var", tracking_uri="", data=str(file), trials=3, threads=2, replicates=100
    )
    return Execution(settings, *run_main(settings))


@pytest.fixture(autouse=True)
def _registry_of_main(request: pytest.FixtureRequest) -> None:
    """MLflow's client keeps one address for the whole process: a test may have left it at another store."""
    if "executed" in request.fixturenames:
        mlflow.set_tracking_uri(request.getfixturevalue("executed").settings.mlflow_uri)


@pytest.fixture
def own_settings(executed: Execution, tmp_path: Path) -> PipelineSettings:
    """A registry of one's own, files included, in which version 1 was promoted by `main`, for tests that change it."""
    theirs, mine = executed.settings.state_dir, tmp_path
    shutil.copy(executed.settings.mlflow_database, mine / "mlflow.db")
    shutil.copytree(executed.settings.releases, mine / "releases")
    shutil.copytree(theirs / "artifacts", mine / "artifacts")
    with closing(sqlite3.connect(mine / "mlflow.db")) as database, database:
        for table, column in _ADDRESSES:
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(theirs), str(mine)))
    return executed.settings.model_copy(update={"state_dir": mine})
