"""One registry, whatever the door: `mlflow run` without a server names a file of its own, and `up` runs a server."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipelines.settings import PipelineSettings, StackFile, join_running_stack
from pipelines.tracking import LAUNCHED_TAG, REGISTRY_TAG, Tracker


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FRAUD_TRACKING_URI", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("default", ["sqlite:////srv/mlflow.db", "file:///srv/mlruns"])
def test_the_default_of_mlflow_run_is_no_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, default: str) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "abc")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", default)
    ours = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert PipelineSettings(state_dir=tmp_path).mlflow_uri == ours  # type: ignore[call-arg]
    for name, value in (
        ("MLFLOW_TRACKING_URI", "http://mlflow:5000"),
        ("MLFLOW_TRACKING_URI", "sqlite:////srv/team.db"),
        ("FRAUD_TRACKING_URI", default),
    ):
        monkeypatch.setenv(name, value)
        assert PipelineSettings(state_dir=tmp_path).mlflow_uri == value  # type: ignore[call-arg]


def test_outside_of_mlflow_run_the_address_is_a_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/mlflow.db")
    assert PipelineSettings(state_dir=tmp_path).mlflow_uri == "sqlite:////srv/mlflow.db"  # type: ignore[call-arg]


def test_the_launched_run_points_to_the_pipeline_run_in_the_registry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_mlflow_database: Path
) -> None:
    for folder in (tmp_path, tmp_path / "elsewhere"):
        folder.mkdir(exist_ok=True)
        (folder / "mlflow.db").write_bytes(empty_mlflow_database.read_bytes())
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere' / 'mlflow.db'}"
    launcher = MlflowClient(elsewhere, elsewhere)
    launched = launcher.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", launched)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    settings = PipelineSettings(state_dir=tmp_path)  # type: ignore[call-arg]
    with Tracker(settings).pipeline_run("main") as run:
        pass
    tags = launcher.get_run(launched).data.tags
    assert (tags[LAUNCHED_TAG], tags[REGISTRY_TAG]) == (run.id, settings.mlflow_uri)
    assert MlflowClient(settings.mlflow_uri).get_run(run.id).info.status == "FINISHED"


@contextmanager
def stack(state: Path, **environment: str) -> Iterator[None]:
    """What `up` holds while it runs."""
    file = StackFile(state)
    file.write({"FRAUD_TRACKING_URI": "http://127.0.0.1:5123", **environment})
    with file.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_commands_find_the_stack_that_runs_over_their_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FRAUD_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("FRAUD_GATEWAY_URL", "http://mine:8000")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with stack(tmp_path, FRAUD_GATEWAY_URL="http://127.0.0.1:8123", FRAUD_CONTRACT="cards"):
        assert (tmp_path / "up.json").stat().st_mode & 0o777 == 0o600
        assert join_running_stack() == "http://127.0.0.1:5123"
    found = PipelineSettings()
    assert (found.mlflow_uri, found.contract) == ("http://127.0.0.1:5123", "cards")
    # what was set stays
    assert os.environ["FRAUD_GATEWAY_URL"] == "http://mine:8000"


def test_a_stack_that_was_killed_or_is_not_meant_is_not_joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FRAUD_STATE_DIR", str(tmp_path))
    assert join_running_stack() == ""
    with stack(tmp_path):
        monkeypatch.setenv("FRAUD_TRACKING_URI", "http://elsewhere:5000")
        assert join_running_stack() == ""
        monkeypatch.delenv("FRAUD_TRACKING_URI")
    # killed: its file is there still, but nobody holds its lock
    assert (tmp_path / "up.json").is_file()
    assert join_running_stack() == ""
    assert PipelineSettings().mlflow_server == ""
