"""A real MLflow store with four versions that the gate let pass, and movers in front of it.

Small twins and the evidence that a gate would have of them.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from ml_project.bundle import Bundle
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.fitting import fit_twin
from ml_project.policies import PolicySettings, Thresholds, choose_thresholds
from ml_project.simulator import simulate
from ml_project.split import split_by_time
from pipelines.promotion.evidence import Champion, Evidence, ShippedBundle
from pipelines.promotion.mover import Mover, Seal
from pipelines.promotion.report import GateLimits
from pipelines.promotion.verify import Verification, verify
from pipelines.training.model_logging import model_parts
from stores.attestation import Statement, TrustedKeys
from stores.history import History
from stores.moves import Kind
from stores.registry import Registry
from stores.released import GATE_TAG, SIGNATURE_TAG, require_signed
from stores.releases import Releases, open_releases
from tests.support.creditcard import CREDITCARD
from tests.unit.pipelines.promotion.mortal import KEY
from tests.unit.stores.conftest import AddVersion, add_version, mlflow_store, model, registry

__all__ = ["add_version", "mlflow_store", "model", "registry"]


def variant(bundle: Bundle, alert: float) -> Bundle:
    """The same model with another threshold, hence with another digest."""
    policies = {"f1": Thresholds(alert, 0.95), "cost": Thresholds(0.01, 0.99)}
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"policies": policies}))


@pytest.fixture(autouse=True)
def _no_progress_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@pytest.fixture
def versions(registry: Registry, add_version: AddVersion, bundle: Bundle) -> list[int]:
    """Versions 1 to 4."""
    numbers = []
    for alert in (0.1, 0.2, 0.3, 0.4):
        made = variant(bundle, alert)
        numbers.append(add_version(made, made.digest))
        registry.tag(numbers[-1], GATE_TAG, "true")
    return numbers


@pytest.fixture
def history(registry: Registry) -> History:
    return History(registry.tracking_uri, registry.model_name)


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """Where releases are published."""
    return tmp_path / "releases"


@pytest.fixture
def releases(released: Path) -> Releases:
    return open_releases(str(released))


@pytest.fixture
def mover(registry: Registry, history: History, releases: Releases) -> Mover:
    return Mover(registry, history, releases, "anna", "1.0", Seal(KEY))


@pytest.fixture
def other(registry: Registry, history: History, releases: Releases) -> Mover:
    """A second person's."""
    return Mover(registry, history, releases, "bob", "1.0", Seal(KEY))


@pytest.fixture
def check(registry: Registry, history: History, releases: Releases) -> Callable[[], Verification]:
    """What `verify` says now."""
    return lambda: verify(registry, history, releases)


def statement(registry: Registry, version: int) -> Statement:
    """What the promotion signed of a version that may answer."""
    found, trust = registry.version(version), TrustedKeys([KEY.public])
    signature = found.tags.get(SIGNATURE_TAG)
    require_signed(trust, registry.model_name, version, found.digest or "", signature)
    return trust.read(signature)


def promoted(mover: Mover, *versions: int) -> None:
    """Make versions Production, one after another."""
    for version in versions:
        mover.move(mover.settle(), Kind.PROMOTE, mover.registry.version(version), "better")


SMALL = EnsembleSettings(forest=ForestSettings(trees=10), booster=BoosterSettings(rounds=15, num_parallel_tree=1))
USELESS = replace(
    SMALL,
    booster=BoosterSettings(rounds=1, num_parallel_tree=1, max_depth=1, learning_rate=1e-6),
    excluded=tuple(f"V{i}" for i in range(1, 29)),
)


def finished_twin(data: Dataset, settings: EnsembleSettings, source: str = "file") -> Bundle:
    """A twin with thresholds, as the step threshold leaves it."""
    fitted = fit_twin(split_by_time(data), settings, LocalEngine(), {"source": source, "digest": "d"})
    thresholds = choose_thresholds("recall_at_fpr", fitted.unseen.curve, PolicySettings(fpr=0.01), fitted.unseen.days)
    update = {"policy": "recall_at_fpr", "policies": {"recall_at_fpr": thresholds}}
    return Bundle(fitted.bundle.manifest.model_copy(update=update), fitted.bundle.onnx, fitted.bundle.booster)


def signature_of(bundle: Bundle) -> str:
    """Of its pyfunc, as JSON."""
    with TemporaryDirectory() as scratch:
        return json.dumps(model_parts(bundle, Path(scratch))["signature"].to_dict(), sort_keys=True)


@pytest.fixture(scope="session")
def data() -> Dataset:
    (chunk,) = simulate(6_000, seed=3, fraud_rate=0.04)
    return Dataset(CREDITCARD, chunk.raw, chunk.label, np.ones(len(chunk.label)), chunk.raw[:, 0])


@pytest.fixture(scope="session")
def good(data: Dataset) -> Bundle:
    return finished_twin(data, SMALL)


@pytest.fixture(scope="session")
def useless(data: Dataset) -> Bundle:
    return finished_twin(data, USELESS)


@pytest.fixture(scope="session")
def limits() -> GateLimits:
    return GateLimits.load().model_copy(update={"replicates": 300})


@pytest.fixture(scope="session")
def evidence(data: Dataset, good: Bundle) -> Evidence:
    """A faultless first candidate."""
    shipped = ShippedBundle(good.digest, signature_of(good), good, golden_difference=0.0, latency_ratio=1.1)
    return Evidence(
        parity=1e-6,
        review_cost=5.0,
        alerts_per_day=200.0,
        twin=good,
        test=split_by_time(data).test,
        shipped=shipped,
        validated=True,
        champion=None,
    )


def against(evidence: Evidence, champion: Bundle | None, source: str = "file") -> Evidence:
    """The same candidate with a champion before it."""
    return replace(
        evidence, champion=Champion(1, champion, source, None if champion is None else signature_of(champion))
    )
