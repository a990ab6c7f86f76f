"""A small real bundle, a fake registry in front of it, and the gateway on a loopback port."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI

from ml_project.baseline import Baseline
from ml_project.bundle import FORMAT_VERSION, Bundle, Manifest
from ml_project.calibration import Calibrator
from ml_project.card import Card
from ml_project.contract import Contract
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings, fit_ensemble
from ml_project.errors import FraudError
from ml_project.features import FeatureTransform
from ml_project.onnx_graph import ensemble_to_onnx
from ml_project.policies import Thresholds
from ml_project.scorer import Scorer, golden_rows
from ml_project.simulator import TELLING
from ml_project.statistics import FeatureStatistics, Histogram
from serving.app import create_app
from serving.live_model import ModelSlot
from serving.process import listen
from serving.routes.examples import MODEL, with_inputs
from serving.server import configured
from serving.settings import GatewaySettings
from stores.decisions import DecisionStore
from stores.production import LiveVersion
from stores.released import Promotions
from stores.releases import Release
from tests.support.creditcard import CREDITCARD, FEATURES, RAW_FEATURES

ROWS = 600


@dataclass
class FakeProduction:
    """Answers as `stores.production.Production` would, from memory."""

    live: LiveVersion | None = None
    failure: Exception | None = None
    scorers: dict[str, Scorer | Exception] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)
    cards: dict[str, Card] = field(default_factory=dict)
    past: Promotions = field(default_factory=lambda: Promotions("history", ()))

    def promote(self, version: int, scorer: Scorer | Exception, release: Release | None = None) -> None:
        digest = f"digest-of-{version}"
        self.scorers[digest] = scorer
        self.live = LiveVersion(version, digest, "release pointer" if release else "registry", release)

    def current(self) -> LiveVersion | None:
        if self.failure:
            raise self.failure
        return self.live

    def load(self, live: LiveVersion, threads: int = 0) -> Scorer:
        assert threads >= 0
        self.loads.append(live.digest)
        outcome = self.scorers[live.digest]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def card(self, live: LiveVersion) -> Card | None:
        return self.cards.get(live.digest)

    def promotions(self) -> Promotions:
        return self.past


@dataclass
class RunningGateway:
    """A gateway and a client of it."""

    client: httpx.Client
    slot: ModelSlot
    source: FakeProduction
    app: FastAPI

    def wait_for(self, version: int, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while self.slot.current is None or self.slot.current.live.version != version:
            assert time.monotonic() < deadline, f"version {version} did not go live: {self.slot.trouble}"
            time.sleep(0.005)


@pytest.fixture(scope="session")
def raw_rows() -> np.ndarray:
    """Transactions, shape (600, 30); the last 60 are frauds."""
    generator = np.random.default_rng(0)
    raw = generator.normal(size=(ROWS, len(RAW_FEATURES)))
    raw[:, 0] = np.sort(generator.uniform(0, 86_400, ROWS))
    raw[:, -1] = generator.exponential(80, ROWS)
    raw[-60:, RAW_FEATURES.index(TELLING)] -= 6
    return raw


@pytest.fixture(scope="session")
def make_scorer(raw_rows: np.ndarray) -> Callable[..., Scorer]:
    """Scorers over one small ensemble, with the alert threshold as wished."""
    label = np.zeros(ROWS, dtype=np.int8)
    label[-60:] = 1
    weight = np.ones(ROWS)
    transform = FeatureTransform.fit(CREDITCARD, raw_rows, weight)
    features = transform(raw_rows)
    settings = EnsembleSettings(
        blend_weight=0.1,
        forest=ForestSettings(trees=5, max_samples=64),
        booster=BoosterSettings(rounds=8, num_parallel_tree=1, max_depth=3, learning_rate=0.5),
    )
    ensemble = fit_ensemble(CREDITCARD, features, label, weight, settings)
    graph, booster = ensemble_to_onnx(ensemble, Calibrator()), bytes(ensemble.booster.save_raw("json"))
    statistics = FeatureStatistics.fit(FEATURES, features, weight)
    hybrid = ensemble.hybrid(features)
    scores = Histogram.fit(hybrid, weight)
    fitted = Baseline.fit(CREDITCARD, raw_rows, features, hybrid, weight)
    baseline = replace(fitted, decisions={"f1": (0.96, 0.03, 0.01)}, decision_rows=600.0)

    def make(alert: float = 0.5, decline: float = 0.8, contract: Contract = CREDITCARD) -> Scorer:
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            contract=contract,
            settings=asdict(settings),
            scales=dict(transform.scales),
            statistics=statistics,
            score_baseline=scores,
            baseline=baseline,
            policy="f1",
            policies={"f1": Thresholds(alert, decline)},
            data={"rows": ROWS},
            libraries={},
            golden_rows=(),
        )
        draft = Scorer(Bundle(manifest, graph, booster), threads=1)
        golden = golden_rows(draft, contract.translated(raw_rows[[0, 1, -1]], CREDITCARD))
        return Scorer(Bundle(manifest.model_copy(update={"golden_rows": golden}), graph, booster), threads=1)

    return make


@pytest.fixture(scope="session")
def scorer(make_scorer: Callable[..., Scorer]) -> Scorer:
    return make_scorer()


@pytest.fixture
def source() -> FakeProduction:
    """A registry in which nothing was promoted yet."""
    return FakeProduction()


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., contextlib.AbstractContextManager[RunningGateway]]:
    """Runs a gateway over a fake registry; settings as keywords."""

    @contextlib.contextmanager
    def run(
        source: FakeProduction,
        challenger: FakeProduction | None = None,
        store: DecisionStore | None = None,
        **settings: Any,
    ) -> Iterator[RunningGateway]:
        given = {"poll_seconds": 0.01, "state_dir": tmp_path_factory.mktemp("state"), **settings}
        app = create_app(GatewaySettings(**given), source, store, challenger=challenger)
        server = uvicorn.Server(configured(app, app.state.gateway.settings))
        listener = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                yield RunningGateway(client, app.state.gateway.slot, source, app)
        finally:
            server.should_exit = True
            thread.join()
            listener.close()

    return run


@pytest.fixture(scope="module")
def gateway(serve: Callable[..., Any], scorer: Scorer) -> Iterator[RunningGateway]:
    """A gateway that answers by version 3, for tests that do not change it."""
    source = FakeProduction()
    source.promote(3, scorer)
    with serve(source, max_batch_rows=1_000, max_body_bytes=1_000_000) as running:
        running.wait_for(3)
        yield running


@pytest.fixture(scope="session")
def card() -> Card:
    """The one of the API's examples."""
    return Card.model_validate(with_inputs(MODEL["card"], CREDITCARD))


@pytest.fixture(scope="session")
def legitimate(raw_rows: np.ndarray) -> dict[str, Any]:
    """A transaction as a client sends it."""
    return dict(zip(RAW_FEATURES, raw_rows[0].tolist(), strict=True))


@pytest.fixture(scope="session")
def fraudulent(raw_rows: np.ndarray) -> dict[str, Any]:
    return dict(zip(RAW_FEATURES, raw_rows[-1].tolist(), strict=True))


@pytest.fixture
def unavailable() -> FraudError:
    from ml_project.errors import Unavailable

    return Unavailable("The MLflow server at http://user:secret@host:5000 does not answer.", "Start it.")
