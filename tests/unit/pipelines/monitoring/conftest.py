"""Decisions as a gateway would have kept them, and reports of them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_project.baseline import decision_shares
from ml_project.bundle import Manifest
from ml_project.scorer import Scorer
from ml_project.simulator import simulate
from pipelines.monitoring.figures import MonitorLimits, measure_by_label, watched_figures
from pipelines.monitoring.kept_decisions import UNLABELLED, KeptDecisions
from pipelines.monitoring.report import MonitorReport
from pipelines.monitoring.window import Window
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionStore, migrate, open_engine

DAY = datetime(2026, 3, 1, tzinfo=UTC)
END = DAY + timedelta(days=1)
WINDOW = Window(DAY, END)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DecisionStore]:
    engine = open_engine(f"sqlite:///{tmp_path}/decisions.db")
    migrate(engine)
    yield DecisionStore(engine)
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Any) -> PipelineSettings:
    return PipelineSettings(state_dir=tmp_path, replicates=100)  # type: ignore[call-arg]


@pytest.fixture(scope="session")
def manifest(small_scorer: Scorer, transactions: Any) -> Manifest:
    """The small bundle's, with the mix of decisions that it gives."""
    given = small_scorer.bundle.manifest
    assert given.baseline is not None
    hybrid = small_scorer.score(transactions.raw).hybrid
    shares = {name: decision_shares(hybrid, transactions.weight, each) for name, each in given.policies.items()}
    return given.model_copy(update={"baseline": replace(given.baseline, decisions=shares, decision_rows=4_000)})


@pytest.fixture(scope="session")
def decide(small_scorer: Scorer) -> Callable[..., KeptDecisions]:
    """Simulated decisions of one day; options as for `simulate`, and the share of rows with a label."""

    def decided(rows: int = 2_000, seed: int = 0, labelled: float = 0.0, **options: Any) -> KeptDecisions:
        (chunk,) = simulate(rows, seed=seed, days=1, **{"fraud_rate": 0.02, **options})
        scores = small_scorer.score(chunk.raw)
        thresholds = small_scorer.thresholds
        told = np.random.default_rng(seed).random(rows) < labelled
        return KeptDecisions(
            raw=chunk.raw,
            amount=chunk.raw[:, -1],
            hybrid=scores.hybrid,
            probability=scores.probability,
            latency_ms=np.linspace(1, 10, rows),
            alert_threshold=np.full(rows, thresholds.alert),
            weight=np.ones(rows),
            decision=np.digitize(scores.hybrid, [thresholds.alert, thresholds.decline]).astype(np.int8),
            label=np.where(told | (chunk.label == 1), chunk.label, UNLABELLED).astype(np.int8),
            moment=DAY.timestamp() + chunk.raw[:, 0],
            review_rate=(scores.hybrid >= thresholds.alert).astype(np.float64),
            single=np.ones(rows, dtype=bool),
            keys=np.zeros((rows, 0), dtype=np.uint64),
        )

    return decided


@pytest.fixture
def report(
    decide: Callable[..., KeptDecisions], manifest: Manifest, settings: PipelineSettings
) -> Callable[..., MonitorReport]:
    """A report of simulated decisions."""

    def made(rows: KeptDecisions) -> MonitorReport:
        limits, now = MonitorLimits.load(), DAY + timedelta(days=30)
        labelled = measure_by_label(rows, WINDOW, now, settings, limits.labelled, 0.8)
        watched = watched_figures(rows, manifest, WINDOW, limits)
        return MonitorReport("fraud-ensemble", "3", WINDOW, now, True, watched, labelled, [])

    return made
