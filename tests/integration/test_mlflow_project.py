"""The MLflow project as its users run it: `mlflow run`, one entry point after another."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.support.machine import REAL_SAMPLE, missing

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def mlflow_run(state: Path, entry_point: str, *parameters: str) -> None:
    arguments = [argument for parameter in parameters for argument in ("-P", parameter)]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "run",
        str(ROOT),
        "-e",
        entry_point,
        "--env-manager",
        "local",
        *arguments,
    ]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "FRAUD_STATE_DIR": str(state),
        "MLFLOW_TRACKING_URI": f"sqlite:///{state / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    done = subprocess.run(command, cwd=state, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{entry_point}: {done.stdout[-2000:]} {done.stderr[-3000:]}"


def test_main_and_then_every_step_alone(tmp_path: Path) -> None:
    if not REAL_SAMPLE.is_file():
        missing(str(REAL_SAMPLE))
    mlflow_run(tmp_path, "main", f"data={REAL_SAMPLE}", "trials=2")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    champion = client.get_model_version_by_alias("fraud-ensemble", "Production")
    assert str(champion.version) == "1"
    experiment = client.get_experiment_by_name("fraud-detection")
    assert experiment is not None
    launched = client.search_runs(["0"])[0]
    assert launched.data.tags["fraud.pipeline_run"] == champion.run_id

    mlflow_run(tmp_path, "ingest", f"data={REAL_SAMPLE}")
    mlflow_run(tmp_path, "validate")
    mlflow_run(tmp_path, "train", "trials=3", "seed=1")
    mlflow_run(tmp_path, "threshold", "policy=f1")
    trained = client.search_runs([experiment.experiment_id], "tags.`fraud.step` = 'train'")[0]
    assert trained.info.status == "FINISHED"
    assert client.get_run(trained.info.run_id).data.tags["fraud.policy"] == "f1"
    mlflow_run(tmp_path, "promote", f"run_id={trained.info.run_id}")
    assert str(client.get_model_version_by_alias("fraud-ensemble", "Production").version) == "2"
    assert str(client.get_model_version_by_alias("fraud-ensemble", "Previous").version) == "1"

    mlflow_run(tmp_path, "rollback", "reason=two alerts too many")
    assert str(client.get_model_version_by_alias("fraud-ensemble", "Production").version) == "1"
