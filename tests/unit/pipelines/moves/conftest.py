"""A real MLflow store with four versions that the gate let pass, and movers in front of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ml_project.bundle import Bundle
from ml_project.policies import Thresholds
from pipelines.moves.mover import Mover
from pipelines.verify import Verification, verify
from stores.history import History
from stores.moves import Kind
from stores.registry import Registry
from stores.released import GATE_TAG
from stores.releases import Releases, open_releases
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
    return Mover(registry, history, releases, "anna", "1.0")


@pytest.fixture
def other(registry: Registry, history: History, releases: Releases) -> Mover:
    """A second person's."""
    return Mover(registry, history, releases, "bob", "1.0")


@pytest.fixture
def check(registry: Registry, history: History, releases: Releases) -> Callable[[], Verification]:
    """What `verify` says now."""
    return lambda: verify(registry, history, releases)


def promoted(mover: Mover, *versions: int) -> None:
    """Make versions Production, one after another."""
    for version in versions:
        mover.move(mover.settle(), Kind.PROMOTE, mover.registry.version(version), "better")
