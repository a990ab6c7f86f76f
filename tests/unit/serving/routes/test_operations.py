"""Health and MLflow's webhook."""

import base64
import hashlib
import hmac
import json
import time
from datetime import datetime
from typing import Any

import pytest

from ml_project.errors import InvalidBundle
from serving.routes.operations import moves_alias


def test_before_a_model(serve, source) -> None:
    with serve(source) as gateway:
        health = gateway.client.get("/health")
        assert health.status_code == 200
        content = health.json()
        content.pop("trouble")  # by then it may have looked, or not
        assert content == {"status": "ok", "model_loaded": False, "model_version": None}
        assert gateway.client.get("/health/live").json() == {"status": "ok"}
        ready = gateway.client.get("/health/ready")
        assert ready.status_code == 503
        assert ready.headers["content-type"] == "application/problem+json"
        assert ready.headers["retry-after"] == "5"


def test_why_there_is_no_model(serve, source, unavailable) -> None:
    source.failure = unavailable
    with serve(source) as gateway:
        while gateway.slot.trouble is None:
            pass
        detail = gateway.client.get("/health/ready").json()["detail"]
        assert detail == f"No model is loaded yet. {gateway.client.get('/health').json()['trouble']}"
    assert detail == ("No model is loaded yet. The MLflow server at http://***@host:5000 does not answer. Start it.")


def test_with_a_model(gateway) -> None:
    health = {"status": "ok", "model_loaded": True, "model_version": "3", "trouble": None}
    assert gateway.client.get("/health").json() == health
    ready = gateway.client.get("/health/ready")
    assert ready.status_code == 200
    body = ready.json()
    assert datetime.fromisoformat(body.pop("loaded_at")).tzinfo is not None
    assert body == {
        "status": "ready",
        "model_version": "3",
        "digest": "digest-of-3",
        "named_by": "registry",
        "trouble": None,
        "shadow": None,
        "store": {"away": False, "spool_bytes": 0, "spool_damaged_files": 0, "spool_unreadable_files": 0},
    }


def test_turns_ready_by_itself(serve, source, scorer, legitimate) -> None:
    with serve(source) as gateway:
        assert gateway.client.get("/health/ready").status_code == 503
        source.promote(1, scorer)
        gateway.wait_for(1)
        assert gateway.client.get("/health/ready").status_code == 200
        assert gateway.client.post("/predict", json=legitimate).json()["model_version"] == "1"


def test_a_bad_bundle_leaves_the_old_model_and_readiness_tells(serve, source, scorer, legitimate) -> None:
    source.promote(1, scorer)
    with serve(source) as gateway:
        gateway.wait_for(1)
        source.promote(2, InvalidBundle("Golden rows score 0.1 apart.", "Keep the old version."))
        while gateway.slot.trouble is None:
            pass
        ready = gateway.client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["model_version"] == "1"
        expected = "Version 2 cannot go live: Golden rows score 0.1 apart. Keep the old version."
        assert ready.json()["trouble"]["message"] == expected
        assert gateway.client.post("/predict", json=legitimate).json()["model_version"] == "1"


SECRET = "a-secret-of-at-least-32-characters"
DATA = {"name": "fraud-ensemble", "alias": "production", "version": "7"}


def event(**changes: Any) -> bytes:
    return json.dumps({"entity": "model_version_alias", "action": "created", "data": DATA} | changes).encode()


def signed(body: bytes, secret: str = SECRET, age: float = 0, delivery: str = "d-1") -> dict[str, str]:
    timestamp = str(int(time.time() - age))
    digest = hmac.new(secret.encode(), f"{delivery}.{timestamp}.{body.decode()}".encode(), hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": timestamp,
        "X-MLflow-Signature": f"v1,{base64.b64encode(digest).decode()}",
    }


@pytest.fixture(scope="module")
def hooked(serve, scorer, make_scorer):
    """A gateway that would not look again by itself for an hour, needs keys, and has a secret."""
    from tests.unit.serving.conftest import FakeProduction

    source = FakeProduction()
    source.promote(1, scorer)
    with serve(source, webhook_secret=SECRET, poll_seconds=3600, require_keys="true") as running:
        running.wait_for(1)
        yield running


def test_a_signed_delivery_makes_the_gateway_look_and_another_does_no_harm(hooked, make_scorer) -> None:
    hooked.source.promote(2, make_scorer(alert=0.6))
    headers = signed(event())
    for _ in range(20):
        answer = hooked.client.post("/hooks/registry", content=event(), headers=headers)
        assert (answer.status_code, answer.json()) == (202, {"outcome": "looking"})
    hooked.wait_for(2)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        signed(event(), secret="another secret"),
        signed(event(), age=3600),
        signed(event(), age=-3600),
        signed(event(action="deleted")),
        signed(event()) | {"X-MLflow-Delivery-Id": "d-2"},
        signed(event()) | {"X-MLflow-Timestamp": "soon"},
        signed(event()) | {"X-MLflow-Signature": "v1,"},
        signed(event()) | {"X-MLflow-Signature": "v1,\u00fc".encode().decode("latin-1")},
    ],
    ids=["unsigned", "secret", "old", "future", "body", "delivery", "timestamp", "empty", "not-ascii"],
)
def test_whatever_is_not_signed_now_by_mlflow_is_401(hooked, headers) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    refused = hooked.client.post("/hooks/registry", content=event(), headers=encoded)
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        event(action="deleted"),
        event(entity="registered_model"),
        event(data=DATA | {"name": "another"}),
        event(data=DATA | {"alias": "Challenger"}),
        event(data=None),
    ],
)
def test_other_events_are_ignored(hooked, body) -> None:
    answer = hooked.client.post("/hooks/registry", content=body, headers=signed(body))
    assert (answer.status_code, answer.json()) == (202, {"outcome": "ignored"})


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"[]", 400), (b" " * 70_000, 413)])
def test_signed_nonsense_is_refused(hooked, body, status) -> None:
    assert hooked.client.post("/hooks/registry", content=body, headers=signed(body)).status_code == status


def test_without_a_secret_there_is_no_webhook(serve, source) -> None:
    with serve(source) as running:
        refused = running.client.post("/hooks/registry", content=event(), headers=signed(event()))
        assert refused.status_code == 404
        assert "FRAUD_WEBHOOK_SECRET" in refused.json()["detail"]


@pytest.mark.parametrize("alias", ["Production", "production", "PRODUCTION"])
def test_the_aliass_case_does_not_matter(alias) -> None:
    assert moves_alias(event(data=DATA | {"alias": alias}), "fraud-ensemble", "Production")
