"""The MLflow project as its users run it: `mlflow run`, one entry point after another."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.support.commands import Commands
from tests.support.machine import ROOT
from tests.support.pipelines import BANK_ROWS, transactions

pytestmark = pytest.mark.slow

MlflowRun = Callable[..., None]


@pytest.fixture
def mlflow_run(commands: Commands, empty_mlflow_database: Path, tmp_path: Path) -> MlflowRun:
    """Runs an entry point in a folder that is not the project's, where MLflow has its tables already."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(empty_mlflow_database, elsewhere / "mlflow.db")

    def run(state: Path, entry_point: str, *parameters: str, server: bool = True) -> None:
        arguments = [argument for parameter in parameters for argument in ("-P", parameter)]
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "FRAUD_STATE_DIR": str(state),
            "MLFLOW_TRACKING_URI": f"sqlite:///{state / 'mlflow.db'}" if server else "",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        done = commands.run(
            *("run", str(ROOT), "-e", entry_point, "--env-manager", "local", *arguments),
            environment=environment,
            program="mlflow",
            folder=elsewhere,
            timeout=1200,
        )
        assert done.returncode == 0, f"{entry_point}: {done.stdout[-2000:]} {done.stderr[-3000:]}"

    return run


def test_main_and_then_the_later_steps_alone(
    mlflow_run: MlflowRun, empty_mlflow_database: Path, tmp_path: Path
) -> None:
    transactions(BANK_ROWS, seed=4).to_parquet(tmp_path / "bank.parquet")
    shutil.copy(empty_mlflow_database, tmp_path / "mlflow.db")
    mlflow_run(tmp_path, "main", f"data={tmp_path / 'bank.parquet'}", "trials=1")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    champion = client.get_model_version_by_alias("fraud-ensemble", "Production")
    assert str(champion.version) == "1"
    experiment = client.get_experiment_by_name("fraud-detection")
    assert experiment is not None
    launched = client.search_runs(["0"])[0]
    assert launched.data.tags["fraud.pipeline_run"] == champion.run_id

    # the steps before these two run in the other test
    mlflow_run(tmp_path, "train", "trials=2", "seed=1")
    mlflow_run(tmp_path, "threshold", "policy=f1")
    trained = client.search_runs([experiment.experiment_id], "tags.`fraud.step` = 'train'")[0]
    assert trained.info.status == "FINISHED"
    assert client.get_run(trained.info.run_id).data.tags["fraud.policy"] == "f1"
    mlflow_run(tmp_path, "promote", f"run_id={trained.info.run_id}")
    assert str(client.get_model_version_by_alias("fraud-ensemble", "Production").version) == "2"
    assert str(client.get_model_version_by_alias("fraud-ensemble", "Previous").version) == "1"

    mlflow_run(tmp_path, "rollback", "reason=two alerts too many")
    assert str(client.get_model_version_by_alias("fraud-ensemble", "Production").version) == "1"


def test_the_first_steps_without_a_server_leave_everything_where_the_commands_look(
    mlflow_run: MlflowRun, tmp_path: Path
) -> None:
    transactions(2_000, seed=3).to_parquet(tmp_path / "bank.parquet")
    state = tmp_path / "state"
    state.mkdir()
    mlflow_run(state, "ingest", f"data={tmp_path / 'bank.parquet'}", server=False)
    mlflow_run(state, "validate", server=False)
    here = MlflowClient(f"sqlite:///{state / 'mlflow.db'}")
    experiment = here.get_experiment_by_name("fraud-detection")
    assert experiment is not None
    (validated,) = here.search_runs([experiment.experiment_id], "tags.`fraud.step` = 'validate'")
    launcher = MlflowClient(f"sqlite:///{tmp_path / 'elsewhere' / 'mlflow.db'}")
    assert launcher.search_runs(["0"])[0].data.tags["fraud.pipeline_run"] == validated.info.run_id
