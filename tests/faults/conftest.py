"""A real MLflow server with several versions in it, real gateways before it, and a table of what was done to them."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from ml_project.bundle import Bundle
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.fitting import fit_twin
from ml_project.policies import Thresholds
from ml_project.scorer import Scorer
from ml_project.simulator import simulate
from ml_project.split import split_by_time
from stores.decisions import DecisionStore, open_engine
from stores.mlflow_client import quiet_mlflow
from stores.registry import BUNDLE_PATH, DIGEST_TAG, PRODUCTION, Registry
from stores.releases import open_releases
from tests.faults.clients import Acknowledged, Clients, Transactions
from tests.faults.figures import FIGURES, Figures, table
from tests.support.creditcard import CREDITCARD
from tests.support.gateway import Gateway
from tests.support.mlflow import MlflowServer

quiet_mlflow()


@pytest.fixture(scope="session")
def bundles() -> list[Bundle]:
    """Three models that score every transaction differently."""
    (chunk,) = simulate(3_000, seed=3, fraud_rate=0.03)
    data = Dataset(CREDITCARD, chunk.raw, chunk.label, np.ones(len(chunk.label)), chunk.raw[:, 0])
    made = []
    for number, weight in enumerate((0.2, 0.4, 0.6)):
        settings = EnsembleSettings(
            blend_weight=weight,
            forest=ForestSettings(trees=10, max_samples=64),
            booster=BoosterSettings(rounds=10 + number, num_parallel_tree=1, max_depth=4, learning_rate=0.3),
        )
        origin = {"source": "simulated", "digest": "0" * 64}
        draft = fit_twin(split_by_time(data), settings, LocalEngine(seed=number), origin).bundle
        manifest = draft.manifest.model_copy(update={"policy": "f1", "policies": {"f1": Thresholds(0.4, 0.7)}})
        made.append(Bundle(manifest, draft.onnx, draft.booster))
    return made


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_database: Path) -> Iterator[MlflowServer]:
    """A running server; who stops it starts it again."""
    with MlflowServer(tmp_path_factory.mktemp("mlflow"), empty_mlflow_database) as server:
        server.wait_until_up()
        yield server


class Model:
    """A registered model with the bundles as its versions 1, 2 and 3."""

    def __init__(self, server: MlflowServer, name: str, bundles: list[Bundle], folder: Path) -> None:
        self.registry = Registry(server.url, name)
        self.bundles = dict(enumerate(bundles, start=1))
        self.folders: dict[int, Path] = {}
        self._client = MlflowClient(server.url, server.url)
        self._client.create_registered_model(name)
        self._experiment = self._client.create_experiment(name)
        self._artifacts = server.artifacts
        for number, bundle in self.bundles.items():
            bundle.write(folder / f"model-{number}" / BUNDLE_PATH)
            assert self.add(folder / f"model-{number}", bundle.digest) == number

    def add(self, files: Path, digest: str) -> int:
        """A further version: a folder's files as its model, and what the registry says of their digest."""
        run = self._client.create_run(self._experiment).info
        self._client.log_artifacts(run.run_id, str(files), "model")
        created = self._client.create_model_version(
            self.registry.model_name, f"{run.artifact_uri}/model", run_id=run.run_id, tags={DIGEST_TAG: digest}
        )
        stored = self._artifacts / self._experiment / run.run_id / "artifacts/model" / BUNDLE_PATH
        self.folders[int(created.version)] = stored
        return int(created.version)

    def promote(self, number: int) -> None:
        self.registry.move(PRODUCTION, number)

    def publish(self, number: int, releases: Path) -> None:
        """Write the release pointer, as a promotion by our own command does."""
        open_releases(str(releases)).publish(
            self.bundles[number], self.registry.model_name, number, {"passed": True}, datetime.now(UTC)
        )


@pytest.fixture
def model(mlflow_server: MlflowServer, bundles: list[Bundle], request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    """A registered model of the test's own; Production names version 1."""
    made = Model(mlflow_server, request.node.name.replace("/", "-"), bundles, tmp_path)
    made.promote(1)
    return made


@pytest.fixture(scope="session")
def transactions(bundles: list[Bundle]) -> Transactions:
    (chunk,) = simulate(400, seed=8, fraud_rate=0.1)
    scorers = {str(number): Scorer(bundle, threads=1) for number, bundle in enumerate(bundles, start=1)}
    sent = Transactions(chunk.raw, scorers).told_apart()
    assert len(sent.raw) > 200
    return sent


@pytest.fixture
def make_gateway(mlflow_server: MlflowServer, model: Model, tmp_path: Path) -> Callable[..., Gateway]:
    """A gateway over the model, not started yet; settings as keywords."""

    def make(as_program: bool = False, **environment: str) -> Gateway:
        ours = {"MLFLOW_TRACKING_URI": mlflow_server.url, "FRAUD_MODEL_NAME": model.registry.model_name}
        return Gateway(tmp_path, as_program, **ours, **environment)

    return make


def lost(url: str, acknowledged: list[Acknowledged]) -> list[str]:
    """Which acknowledged predictions a database, asked directly, does not hold as they were answered."""
    missing: list[str] = []
    engine = open_engine(url)
    store = DecisionStore(engine)
    for start in range(0, len(acknowledged), 1_000):
        part = acknowledged[start : start + 1_000]
        found = store.find_all([one.prediction_id for one in part])
        for one in part:
            kept = found.get(one.prediction_id)
            answered = (one.hybrid_score, one.model_version)
            if kept is None or (kept.record.hybrid_score, kept.record.model_version) != answered:
                missing.append(one.prediction_id)
    engine.dispose()
    return missing


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """What this test did, for the table at the end."""
    started = time.monotonic()
    own = Figures(request.node.nodeid.rpartition("/")[2])
    request.config.stash.setdefault(FIGURES, []).append(own)
    yield own
    own.seconds = time.monotonic() - started


class Load:
    """Clients on a gateway, and what must hold of their answers when the faults are over."""

    def __init__(self, transactions: Transactions, figures: Figures) -> None:
        self.transactions, self._figures = transactions, figures

    def on(self, gateway: Gateway) -> Clients:
        return Clients(gateway.port, self.transactions)

    def expect_kept(
        self, clients: Clients, faults: int, url: str, acknowledged: list[Acknowledged] | None = None
    ) -> None:
        """The database holds what was acknowledged, or the part of it that is named."""
        missing = lost(url, clients.acknowledged if acknowledged is None else acknowledged)
        self._figures.take(clients, faults, len(missing))
        assert missing == []

    def expect_answers(self, clients: Clients, faults: int = 0) -> None:
        """Each request was answered, with 200 and by one version; ``faults`` if these are not counted yet."""
        if faults:
            self._figures.take(clients, faults)
        assert (clients.wrong, clients.refused, clients.unanswered) == ([], {}, [])


@pytest.fixture
def load(transactions: Transactions, figures: Figures) -> Load:
    return Load(transactions, figures)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    done = config.stash.get(FIGURES, [])
    if done:
        terminalreporter.section("faults")
        terminalreporter.write_line(table(done))
