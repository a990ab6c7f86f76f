"""MLflow's webhook: signed by hand here; a real server sends one in test_webhook_mlflow.py."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from serving.routes.operations import moves_alias

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
