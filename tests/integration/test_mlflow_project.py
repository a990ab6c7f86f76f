"""The MLflow project as its users run it: `mlflow run`, one entry point after another."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.support.commands import Commands
from tests.support.machine import ROOT
from tests.support.pipelines import BANK_ROWS, transactions
from tests.support.processes import clean_environment

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


def test_from_a_git_address_the_steps_find_each_other_where_they_were_started(
    tmp_path: Path, commands: Commands
) -> None:
    transactions(2_000, seed=3).to_parquet(tmp_path / "bank.parquet")
    repository, elsewhere = tmp_path / "a repository", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("contracts", "ml_project", "pipelines", "stores"):
        shutil.copytree(ROOT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("MLproject", "conda.yaml"):
        shutil.copy(ROOT / name, repository)
    git = ["git", "-C", str(repository), "-c", "user.name=anna", "-c", "user.email=anna@bank.example"]
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "The project")):
        subprocess.run([*git, *arguments], check=True)
    environment = clean_environment(
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", MLFLOW_DISABLE_TELEMETRY="true"
    )

    def run(entry_point: str, *parameters: str, **extra: str) -> "subprocess.CompletedProcess[str]":
        # MLflow takes a plain file:// address for a folder; one with an encoded space it leaves to git
        return commands.run(
            *("run", repository.as_uri(), "-e", entry_point, "--env-manager", "local", *parameters),
            environment=environment | extra,
            program="mlflow",
            folder=elsewhere,
            timeout=1200,
        )

    assert "%20" in repository.as_uri()
    for done in (run("ingest", "-P", f"data={tmp_path / 'bank.parquet'}"), run("validate")):
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        assert "Fetching project from file://" in done.stderr
    here = MlflowClient(f"sqlite:///{elsewhere / 'var' / 'mlflow.db'}")
    experiment = here.get_experiment_by_name("fraud-detection")
    assert experiment is not None
    (validated,) = here.search_runs([experiment.experiment_id], "tags.`fraud.step` = 'validate'")
    assert validated.info.status == "FINISHED"
    assert not (repository / "var").exists()

    lost = run("validate", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'tracking.db'}")
    assert lost.returncode != 0
    assert "where nothing stays. Set FRAUD_STATE_DIR to your own." in lost.stderr
    kept = run(
        "validate", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'tracking.db'}", FRAUD_STATE_DIR=str(elsewhere / "var")
    )
    assert kept.returncode == 0, kept.stdout[-2000:] + kept.stderr[-3000:]
