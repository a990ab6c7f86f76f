"""Health before, with and after a model."""

from datetime import datetime

from ml_project.errors import InvalidBundle


def test_before_a_model(serve, source) -> None:
    with serve(source) as gateway:
        health = gateway.client.get("/health")
        assert health.status_code == 200
        assert health.json() == {"status": "ok", "model_loaded": False, "model_version": None}
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
    assert detail == ("No model is loaded yet. The MLflow server at http://***@host:5000 does not answer. Start it.")


def test_with_a_model(gateway) -> None:
    assert gateway.client.get("/health").json() == {"status": "ok", "model_loaded": True, "model_version": "3"}
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
