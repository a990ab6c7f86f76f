"""One store for every database, and records to put into it."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from stores.decisions import Chunk, DecisionRecord, DecisionStore, event_cache, key_pasts, migrate, open_engine
from tests.support.creditcard import KEPT

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    migrate(opened)
    yield opened
    opened.dispose()


@pytest.fixture
def store(engine: Engine) -> DecisionStore:
    return DecisionStore(engine)


@pytest.fixture(params=["one by one", "by hours", "never in memory"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How a store knows what keys did."""
    if request.param == "by hours":
        for module in (event_cache, key_pasts):
            monkeypatch.setattr(module, "MOST_SINGLE", 1)
    if request.param == "never in memory":
        monkeypatch.setattr(event_cache, "_MOST_HELD", 0)


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[DecisionStore]:
    """For what happens on our side of the database, and is the same on all of them."""
    opened = open_engine(f"sqlite:///{tmp_path}/decisions.db")
    migrate(opened)
    yield DecisionStore(opened)
    opened.dispose()


@pytest.fixture(scope="session")
def make_record() -> Callable[..., DecisionRecord]:
    """Records that differ in id, time and inputs; ``payload`` fixes the inputs."""
    numbers = itertools.count(1)

    def make(payload: float | None = None, **fields: Any) -> DecisionRecord:
        number = next(numbers)
        inputs = tuple(float(number if payload is None else payload) + i / 7 for i in range(30))
        defaults: dict[str, Any] = {
            "prediction_id": f"00000000-0000-7000-8000-{number:012x}",
            "received_at": START + timedelta(microseconds=number),
            "contract": KEPT,
            "inputs": inputs,
            "isolation_score": 0.1,
            "boosted_score": 0.2,
            "hybrid_score": 0.15,
            "fraud_probability": 0.01,
            "alert_threshold": 0.5,
            "decline_threshold": 0.9,
            "decision": "APPROVE",
            "model_version": "3",
            "bundle_digest": "d" * 64,
            "latency_ms": 1.25,
            "request_id": "request-1",
        }
        return DecisionRecord(**defaults | fields)

    return make


@pytest.fixture(scope="session")
def make_chunk() -> Callable[..., Chunk]:
    """Chunks whose every tenth row, beginning with row 1, is an alert with reasons."""
    generator = np.random.default_rng(5)

    def make(rows: int = 100, **fields: Any) -> Chunk:
        hybrid = np.where(np.arange(rows) % 10 == 1, 0.7, 0.2)
        defaults: dict[str, Any] = {
            "received_at": START,
            "contract": KEPT,
            "raw": generator.standard_normal((rows, 30)),
            "scores": np.stack([hybrid / 2, hybrid / 3, hybrid, hybrid / 5]),
            "decisions": ["REVIEW" if score >= 0.5 else "APPROVE" for score in hybrid],
            "alert_threshold": 0.5,
            "decline_threshold": 0.9,
            "model_version": "4",
            "bundle_digest": "e" * 64,
            "latency_ms": 9.5,
            "request_id": "request-2",
            "key_name": "batch",
            "reasons": {row: [{"feature": "risk", "value": -3.5, "contribution": 1.5}] for row in range(1, rows, 10)},
        }
        return Chunk(**defaults | fields)

    return make
