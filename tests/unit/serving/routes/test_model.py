"""/model, its history, and /features."""

import time
from datetime import UTC, datetime

from ml_project.card import Card
from serving.routes.examples import MODEL
from stores.released import Promoted, Promotions
from tests.support.creditcard import ENGINEERED_FEATURES, FEATURES, RAW_FEATURES


def wait_for_card(gateway) -> None:
    deadline = time.monotonic() + 60
    while gateway.slot.current.card is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_live_versions_card(serve, source, scorer, card) -> None:
    source.promote(3, scorer)
    source.cards["digest-of-3"] = card
    with serve(source) as gateway:
        gateway.wait_for(3)
        wait_for_card(gateway)
        body = gateway.client.get("/model").json()
        assert set(body) == set(MODEL)
        assert Card.model_validate(body["card"]) == card
        assert (body["model_version"], body["digest"], body["policy"]) == ("3", "digest-of-3", "f1")
        assert (body["alert_threshold"], body["decline_threshold"]) == (0.5, 0.8)
        assert body["swaps"] == {"live": 1, "refused": 0, "failed": 0}
        transaction = body["card"]["samples"][0]["transaction"]
        assert gateway.client.post("/predict", json=transaction).status_code == 200


def test_a_version_without_a_card_says_what_to_do_and_answers(gateway, legitimate) -> None:
    answer = gateway.client.get("/model")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == (
        "Version 3 has no model card, or it could not be fetched yet. "
        "Promote it with `python -m pipelines promote`, which writes one."
    )
    assert gateway.client.post("/predict", json=legitimate).status_code == 200


def test_without_a_model(serve, source) -> None:
    with serve(source) as gateway:
        assert gateway.client.get("/model").status_code == 503


def test_cards_need_the_scope_read(serve, source, scorer) -> None:
    source.promote(3, scorer)
    with serve(source, require_keys="true") as gateway:
        assert {gateway.client.get(path).status_code for path in ("/model", "/model/history")} == {401}


def test_the_history_is_read_once_for_some_seconds(serve, source, scorer) -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    move = Promoted(7, "promote", 2, 3, "anna", None, when, "better", "passed", "done")
    source.promote(3, scorer)
    source.past = Promotions("history", (move,))
    with serve(source) as gateway:
        gateway.wait_for(3)
        first = gateway.client.get("/model/history").json()
        assert first["source"] == "history"
        assert [(m["number"], m["origin"], m["to"], m["who"]) for m in first["moves"]] == [(7, 2, 3, "anna")]
        source.past = Promotions("release pointer", ())
        assert gateway.client.get("/model/history").json() == first


def test_features_with_a_model(gateway, raw_rows) -> None:
    body = gateway.client.get("/features").json()
    assert body["required_features"] == list(RAW_FEATURES)
    assert body["engineered_features"] == list(ENGINEERED_FEATURES)
    assert body["total_features"] == 37
    assert body["model_version"] == "3"
    assert list(body["features"]) == list(FEATURES)
    amount = body["features"]["Amount"]
    assert amount["type"] == "number"
    assert amount["required"] is True
    assert amount["minimum"] == 0
    assert abs(amount["training_range"]["maximum"] - raw_rows[:, -1].max()) < 1e-3
    assert body["features"]["Time"]["training_range"]["unit"] == "hour of day"
    assert body["features"]["Time"]["training_range"]["maximum"] < 24
    assert body["features"]["V1"]["minimum"] == -1e15
    assert body["features"]["high_value"]["required"] is False
    assert body["features"]["high_value"]["training_range"] == {"minimum": 0.0, "maximum": 0.0}


def test_features_without_a_model(serve, source) -> None:
    with serve(source) as gateway:
        body = gateway.client.get("/features").json()
    assert body["model_version"] is None
    assert body["total_features"] == 37
    assert body["features"]["V28"]["training_range"] is None
