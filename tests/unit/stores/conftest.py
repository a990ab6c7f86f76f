"""A real MLflow store (SQLite, no server) with bundles in it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from ml_project.bundle import Bundle
from ml_project.policies import Thresholds
from stores.registry import BUNDLE_PATH, DIGEST_TAG, Registry

AddVersion = Callable[..., int]


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    """One database for all tests: making it takes seconds. Every test has a registered model of its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}", f"sqlite:///{folder / 'mlflow.db'}")
    client.create_experiment("stores", artifact_location=(folder / "artifacts").as_uri())
    return client


@pytest.fixture
def registry(mlflow_store: MlflowClient, request: pytest.FixtureRequest) -> Registry:
    return Registry(mlflow_store.tracking_uri, model_name=request.node.name.replace("/", "-"))


@pytest.fixture
def model(registry: Registry, mlflow_store: MlflowClient) -> str:
    """The name of a registered model without versions."""
    mlflow_store.create_registered_model(registry.model_name)
    return registry.model_name


@pytest.fixture
def add_version(model: str, mlflow_store: MlflowClient, tmp_path: Path) -> AddVersion:
    """Makes a version from a bundle (or none) as plain run artifacts; answers with its number."""

    def add(content: Bundle | None = None, digest: str | None = None) -> int:
        experiment = mlflow_store.get_experiment_by_name("stores")
        run = mlflow_store.create_run(experiment.experiment_id)
        if content is not None:
            content.write(tmp_path / run.info.run_id)
            mlflow_store.log_artifacts(run.info.run_id, str(tmp_path / run.info.run_id), f"model/{BUNDLE_PATH}")
        tags = {} if digest is None else {DIGEST_TAG: digest}
        source = f"{run.info.artifact_uri}/model"
        created = mlflow_store.create_model_version(model, source, run_id=run.info.run_id, tags=tags)
        return int(created.version)

    return add


@pytest.fixture(scope="session")
def other_bundle(bundle: Bundle) -> Bundle:
    """The same model under another threshold policy."""
    policies = {"f1": Thresholds(0.2, 0.8)}
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"policies": policies}))
