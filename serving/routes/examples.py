"""What requests and answers look like, for the API's description. Tests send them to a gateway.

What depends on the contract is filled in when the description is made: see `with_inputs`.
"""

import csv
import io
from typing import Any, Final

from ml_project.contract import Contract

PREDICTION: Final[dict[str, Any]] = {
    "fraud": 0,
    "hybrid_score": 1.45e-06,
    "threshold_used": 0.01,
    "fraud_probability": 0.00002,
    "decision": "APPROVE",
    "model_version": "3",
    "prediction_id": "019a8c5e-4b1f-7c3a-9d52-6f0e8b7a1c24",
    "transaction_id": "card-7-0001",
    "kept": "database",
}

KEPT: Final[dict[str, Any]] = {
    "prediction_id": PREDICTION["prediction_id"],
    "received_at": "2026-01-02T03:04:05.678Z",
    "inputs": {},
    "contract": {"name": "cards", "version": 1, "digest": "5f8d1c3e9a7b"},
    "isolation_score": 0.0,
    "boosted_score": 1.6e-06,
    "hybrid_score": 1.45e-06,
    "fraud_probability": 0.00002,
    "alert_threshold": 0.01,
    "decline_threshold": 0.9,
    "decision": "APPROVE",
    "model_version": "3",
    "bundle_digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "latency_ms": 1.9,
    "request_id": "req_0f8fad5bd9cb469f",
    "key_name": "shop",
    "transaction_id": "card-7-0001",
    "event_time": None,
    "reasons": None,
    "review_rate": 0.001,
    "label": {
        "label": "legitimate",
        "labelled_at": "2026-01-03T10:00:00Z",
        "reviewer": "anna",
        "source": "feedback",
        "note": None,
    },
    "segment_id": None,
    "spooled": False,
    "history_partial": False,
    "duplicate_of": None,
    "conflicts_with": None,
    "source": "single",
    "claim": None,
}
"""A kept prediction, as reviewers see it."""

QUEUE: Final[dict[str, Any]] = {
    "waiting": 212,
    "alerts": 190,
    "sample": 22,
    "arrived": 5,
    "labelled_today": 80,
    "labelled_today_by_you": 31,
}

_FIGURE: Final = {"value": 0.83, "low": 0.75, "high": 0.9}
_CURVE: Final = {
    "threshold": [0.9, 0.01],
    "recall": [0.4, 0.85],
    "precision": [1.0, 0.7],
    "false_positive_rate": [0.0, 0.001],
    "alerts_per_day": [12.0, 150.0],
    "cost_per_day": [900.0, 600.0],
}
MODEL: Final[dict[str, Any]] = {
    "model_version": "3",
    "digest": KEPT["bundle_digest"],
    "named_by": "registry",
    "loaded_at": "2026-01-02T03:04:05Z",
    "trouble": None,
    "swaps": {"live": 1, "refused": 0, "failed": 0},
    "policy": "recall_at_fpr",
    "alert_threshold": 0.01,
    "decline_threshold": 0.9,
    "card": {
        "card_version": 1,
        "model_name": "fraud-ensemble",
        "version": 3,
        "purpose": "Scores card transactions for fraud as they come in.",
        "limits": ["Frauds are few, so every figure is uncertain."],
        "data": {
            "source": "kaggle",
            "name": "creditcard.csv",
            "digest": "76274b691b16a6c49d3f159c883398e0",
            "rows": 284807,
            "frauds": 492,
            "first_moment": 0.0,
            "last_moment": 172792.0,
            "splits": {"test": {"rows": 56962, "frauds": 75, "days": 0.4}},
        },
        "figures": {"average_precision": _FIGURE},
        "policy": "recall_at_fpr",
        "policies": {"recall_at_fpr": {"alert": 0.01, "decline": 0.9, "test": {"recall": _FIGURE}}},
        "alerts_per_day": 200.0,
        "review_cost": 5.0,
        "ablations": {"xgboost_alone": {"average_precision": _FIGURE, "difference": _FIGURE}},
        "test_curve": _CURVE,
        "what_if": _CURVE,
        "calibration": {"predicted": [0.1], "observed": [0.12], "rows": [50.0]},
        "samples": [
            {
                "fraud": False,
                "transaction": {},
                "scores": {"hybrid_score": 1.45e-06},
            }
        ],
        "settings": {"max_depth": "5"},
        "lineage": {"run": "0f8fad5bd9cb469fa16570867728950e", "git commit": "1b2c3d4"},
        "gate": "passed",
        "checks": [
            {
                "name": "recall at the alert budget",
                "theme": "quality on its own",
                "value": "0.85",
                "limit": "≥ 0.5",
                "passed": True,
                "meaning": "Frauds found when reviewers look at as many alerts as they can.",
            }
        ],
    },
}

PROMOTION: Final[dict[str, Any]] = {
    "number": 7,
    "kind": "promote",
    "origin": 2,
    "to": 3,
    "who": "anna",
    "asked_by": None,
    "when": "2026-01-02T03:04:05Z",
    "why": "the gate passed it",
    "gate": "passed",
    "outcome": "done",
}

_QUANTILES: Final = {"p50": 1.4e-06, "p90": 0.0004, "p99": 0.02}
_SHARES: Final = {
    "ks": 0.02,
    "ks_limit": 0.1,
    "out_of_range": 0.0,
    "out_of_range_limit": 0.005,
    "missing": 0.0,
    "missing_limit": 0.01,
    "other": None,
    "other_limit": None,
}
WATCH: Final[dict[str, Any]] = {
    "since": "2026-01-01T03:04:05Z",
    "until": "2026-01-02T03:04:05Z",
    "bucket_seconds": 86400.0,
    "rows": 142400,
    "sampled_rows": 20000,
    "model_version": "3",
    "alert_threshold": 0.01,
    "decline_threshold": 0.9,
    "buckets": [
        {
            "since": "2026-01-01T03:04:05Z",
            "decisions": {"APPROVE": 142150, "REVIEW": 200, "DECLINE": 50},
            "score": _QUANTILES,
            "latency_ms": {"p50": 1.9, "p90": 3.1, "p99": 7.5},
            "labels": {"alerts_labelled": 120, "alerts_fraud": 90, "approved_labelled": 140, "approved_fraud": 12},
        }
    ],
    "drift": {
        "rows": 20000,
        "judged": True,
        "features": [{"name": "amount", "psi": 0.04, "limit": 0.1, "breached": False, **_SHARES}],
    },
    "shares": [
        {
            "name": "alerts",
            "value": 0.0018,
            "baseline": 0.0017,
            "low": 0.0008,
            "high": 0.0034,
            "judged": True,
            "breached": False,
        }
    ],
    "precision": 0.75,
    "recall": 0.88,
    "review_sample": {"drawn": 140, "labelled": 131, "frauds": 0, "missed_frauds": 0.0},
    "shadow": [
        {
            "model_version": "4",
            "rows": 14100,
            "agree": 14090,
            "alerts_both": 22,
            "alerts_champion_only": 4,
            "alerts_challenger_only": 6,
            "labelled": 20,
            "frauds": 15,
            "frauds_champion": 12,
            "frauds_challenger": 13,
            "false_alarms_champion": 5,
            "false_alarms_challenger": 4,
        }
    ],
}


def example_transaction(contract: Contract) -> dict[str, Any]:
    """A transaction as a client would send it."""
    entities = {field.name: field.shown for field in contract.fields if field.role == "entity"}
    return {**_inputs(contract), **entities, contract.transaction_id: PREDICTION["transaction_id"]}


def _inputs(contract: Contract) -> dict[str, Any]:
    return {field.name: field.shown for field in contract.given_fields}


def with_inputs(example: Any, contract: Contract) -> Any:
    """An example of an answer, its transactions filled in."""
    if isinstance(example, list):
        return [with_inputs(each, contract) for each in example]
    if not isinstance(example, dict):
        return example
    return {
        key: _inputs(contract) if key in ("inputs", "transaction") else with_inputs(value, contract)
        for key, value in example.items()
    }


def csv_of(rows: list[dict[str, Any]]) -> str:
    """Rows as a client would write them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def answer(example: Any) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of a route's JSON answer."""
    return {200: {"content": {"application/json": {"example": example}}}}
