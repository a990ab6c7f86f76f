import logging
import socket
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from ml_project.bundle import FILES, Bundle, read_bundle
from ml_project.errors import InvalidBundle, InvalidInput, Unavailable
from stores.mlflow_client import quiet_mlflow, translated
from stores.registry import CHALLENGER, DIGEST_TAG, PRODUCTION, Registry


def aliases(client: MlflowClient, model: str) -> dict[str, int]:
    return {name: int(version) for name, version in client.get_registered_model(model).aliases.items()}


def test_nothing_registered_yet(registry: Registry):
    assert registry.resolve(PRODUCTION) is None


def test_an_alias_that_nothing_has(registry: Registry, add_version):
    add_version()
    assert registry.resolve(PRODUCTION) is None


@pytest.mark.parametrize("spelling", ["Production", "production", "PRODUCTION"])
def test_aliases_resolve_without_case(registry: Registry, mlflow_store: MlflowClient, add_version, spelling: str):
    add_version()
    number = add_version(digest="ab" * 32)
    mlflow_store.set_registered_model_alias(registry.model_name, spelling, str(number))
    found = registry.resolve(PRODUCTION)
    assert (found.version, found.digest, found.tags) == (2, "ab" * 32, {DIGEST_TAG: "ab" * 32})
    assert found.run_id == mlflow_store.get_model_version(registry.model_name, "2").run_id
    assert registry.resolve(CHALLENGER) is None


@pytest.mark.parametrize(("ours", "theirs"), [(1, 2), (2, 1)])
def test_of_twins_the_one_that_we_did_not_move_wins(
    registry: Registry, mlflow_store: MlflowClient, add_version, caplog, ours: int, theirs: int
):
    for _ in range(2):
        add_version()
    registry.move(PRODUCTION, ours)
    mlflow_store.set_registered_model_alias(registry.model_name, "production", str(theirs))
    with caplog.at_level(logging.WARNING):
        assert registry.resolve(PRODUCTION).version == theirs
    assert "['Production', 'production'] differ only in case" in caplog.text
    assert f"following version {theirs}" in caplog.text


def test_twins_that_agree_raise_no_warning(registry: Registry, mlflow_store: MlflowClient, add_version, caplog):
    add_version()
    registry.move(PRODUCTION, 1)
    mlflow_store.set_registered_model_alias(registry.model_name, "production", "1")
    assert registry.resolve(PRODUCTION).version == 1
    assert not caplog.records


def test_twins_without_a_move_of_ours_resolve_to_the_newer(registry: Registry, mlflow_store, add_version):
    for number, alias in enumerate(("production", "Production", "PRODUCTION"), start=1):
        add_version()
        mlflow_store.set_registered_model_alias(registry.model_name, alias, str(number))
    assert registry.resolve(PRODUCTION).version == 3


def test_a_move_folds_twins_into_one(registry: Registry, mlflow_store: MlflowClient, add_version):
    for _ in range(3):
        add_version()
    registry.move(CHALLENGER, 1)
    registry.move(PRODUCTION, 1)
    mlflow_store.set_registered_model_alias(registry.model_name, "production", "2")
    mlflow_store.set_registered_model_alias(registry.model_name, "PRODUCTION", "1")
    registry.move(PRODUCTION, 3)
    assert aliases(mlflow_store, registry.model_name) == {"Production": 3, "Challenger": 1}
    assert registry.resolve(PRODUCTION).version == 3


def test_a_version_without_a_digest(registry: Registry, add_version):
    assert registry.version(add_version()).digest is None


def test_an_unknown_version(registry: Registry, add_version):
    add_version()
    with pytest.raises(InvalidInput, match="There is no version 7"):
        registry.version(7)


def test_tags_of_a_version(registry: Registry, add_version):
    number = add_version()
    registry.tag(number, "gate.passed", "true")
    assert registry.version(number).tags == {"gate.passed": "true"}


def test_find_gives_the_newest_version_of_a_run(registry: Registry, mlflow_store: MlflowClient, add_version):
    first = registry.version(add_version())
    add_version()
    again = mlflow_store.create_model_version(registry.model_name, "file:///nowhere", run_id=first.run_id)
    assert registry.find(first.run_id).version == int(again.version) == 3
    assert registry.find("no-such-run") is None


def test_find_bundle_gives_the_newest_version_with_these_files(registry: Registry, add_version):
    for digest in ("a" * 64, "b" * 64, "a" * 64, "c" * 64):
        add_version(digest=digest)
    assert registry.find_bundle("a" * 64).version == 3
    assert registry.find_bundle("d" * 64) is None


def test_download_brings_the_bundle_whole(registry: Registry, add_version, bundle: Bundle, tmp_path: Path):
    number = add_version(bundle, bundle.digest)
    folder = tmp_path / "cache" / "x"
    registry.download_bundle(number, folder)
    assert read_bundle(folder, bundle.digest).files == bundle.files
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["x"]


def test_the_bundle_of_a_version_is_checked(registry: Registry, add_version, bundle: Bundle, other_bundle: Bundle):
    signed, forged, unsigned = (
        add_version(bundle, bundle.digest),
        add_version(bundle, other_bundle.digest),
        add_version(bundle),
    )
    assert registry.bundle(registry.version(signed)).files == bundle.files
    with pytest.raises(InvalidBundle, match="has the digest"):
        registry.bundle(registry.version(forged), require_digest=False)
    with pytest.raises(InvalidBundle, match=r"Version 3 has no digest tag. Register it with `promote`"):
        registry.bundle(registry.version(unsigned))
    assert registry.bundle(registry.version(unsigned), require_digest=False).files == bundle.files


def test_a_failed_download_leaves_nothing(registry: Registry, add_version, tmp_path: Path):
    number = add_version()
    with pytest.raises(Unavailable):
        registry.download_bundle(number, tmp_path / "cache" / "x")
    assert list((tmp_path / "cache").iterdir()) == []


def test_register_a_logged_model(
    registry: Registry, mlflow_store: MlflowClient, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import mlflow

    from pipelines.tracking import DataPart, Run
    from pipelines.training.model_logging import log_model

    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    experiment = mlflow_store.get_experiment_by_name("stores").experiment_id
    run = Run(mlflow_store, mlflow_store.create_run(experiment).info.run_id, experiment)
    # over HTTP the server resolves a logged model; a SQL store in this process does it by the global URI
    mlflow.set_tracking_uri(mlflow_store.tracking_uri)
    tags = {DIGEST_TAG: bundle.digest, "data.source": "simulated"}
    try:
        model = log_model(run, bundle, DataPart("rows", "d1"))
        registered = [registry.register(f"models:/{model}", run.id, tags, "First.") for _ in range(2)]
    finally:
        mlflow.set_tracking_uri(None)
    assert [(found.version, found.run_id, found.digest) for found in registered] == [
        (1, run.id, bundle.digest),
        (2, run.id, bundle.digest),
    ]
    assert mlflow_store.get_model_version(registry.model_name, "1").description == "First."
    assert registry.find(run.id) == registry.version(2)
    registry.download_bundle(1, tmp_path / "x")
    assert read_bundle(tmp_path / "x", bundle.digest).files == bundle.files


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_an_absent_server_is_told_within_seconds(closed_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    uri = f"http://127.0.0.1:{closed_port}"
    registry = Registry(uri)
    with pytest.raises(Unavailable, match=f"The MLflow server at {uri} does not answer") as caught:
        registry.resolve(PRODUCTION)
    assert "Check MLFLOW_TRACKING_URI" in str(caught.value)
    with pytest.raises(Unavailable):
        registry.move(PRODUCTION, 1)


def test_an_error_without_words_is_translated_too():
    with pytest.raises(Unavailable, match="as it should: OSError"), translated("http://x"):
        raise OSError


def test_the_client_is_made_quick_to_give_up_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch):
    import os

    names = ("TIMEOUT", "MAX_RETRIES")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"):
        monkeypatch.setenv(name, "kept")
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    quiet_mlflow()
    assert [os.environ[f"MLFLOW_HTTP_REQUEST_{name}"] for name in names] == ["3", "1"]
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "kept"
