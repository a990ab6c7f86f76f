"""Decisions as a gateway keeps them, for tests that read a decision store."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from stores.decisions import Chunk, DecisionRecord
from tests.support.creditcard import KEPT

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def record(number: int, **fields: Any) -> DecisionRecord:
    """One single prediction of version 3, received ``number`` minutes into ``DAY``; ``fields`` change it."""
    defaults: dict[str, Any] = {
        "prediction_id": f"00000000-0000-7000-8000-{number:012x}",
        "received_at": DAY + timedelta(minutes=number),
        "contract": KEPT,
        "inputs": tuple(float(number + place) for place in range(30)),
        "isolation_score": 0.1,
        "boosted_score": 0.2,
        "hybrid_score": number / 100,
        "fraud_probability": 0.01,
        "alert_threshold": 0.5,
        "decline_threshold": 0.9,
        "decision": "APPROVE",
        "model_version": "3",
        "bundle_digest": "d" * 64,
        "latency_ms": 1.25,
        "request_id": "request",
    }
    return DecisionRecord(**defaults | fields)


def chunk(rows: int, **fields: Any) -> Chunk:
    """Bulk predictions of version 4, all received as ``DAY`` begins."""
    defaults: dict[str, Any] = {
        "received_at": DAY,
        "contract": KEPT,
        "raw": 500 + np.arange(rows * 30, dtype=float).reshape(rows, 30),
        "scores": np.full((4, rows), 0.25),
        "decisions": ["APPROVE"] * rows,
        "alert_threshold": 0.5,
        "decline_threshold": 0.9,
        "model_version": "4",
        "bundle_digest": "e" * 64,
        "latency_ms": 9.5,
        "request_id": "request",
    }
    return Chunk(**defaults | fields)
