"""A challenger beside the one that answers: what it scores, and that requests do not suffer when it cannot."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ml_project.errors import InvalidBundle, Unavailable
from ml_project.reasons import Explainer
from serving.live_model import LiveModel, ModelSlot
from serving.model_follower import ModelFollower
from serving.predictions import Explain, predict_all
from serving.shadow import Shadow
from serving.transactions import Transactions
from stores.decisions import DecisionStore, ShadowDecision, open_engine
from tests.support.creditcard import CREDITCARD, GROWN


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def challenger(make_scorer) -> Any:
    """Version 4 is Challenger; it declines what version 3 approves."""
    from tests.unit.serving.conftest import FakeProduction

    source = FakeProduction()
    source.promote(4, make_scorer(alert=-1.0, decline=-0.5))
    return source


@pytest.fixture
def shadowed(serve, source, scorer, challenger):
    """A gateway whose every row the challenger scores too."""
    source.promote(3, scorer)
    with serve(source, challenger, shadow_share=1.0) as gateway:
        gateway.wait_for(3)
        until(lambda: shadow(gateway).slot.current is not None)
        yield gateway


def shadow(gateway) -> Shadow:
    return gateway.app.state.gateway.shadow


def kept(gateway) -> dict[str, dict[str, Any]]:
    tables = gateway.app.state.gateway.decisions.store.shadow_tables()
    return {row["prediction_id"]: row for table in tables for row in table.to_pylist()}


def test_singles_and_batches_are_scored_and_kept_apart(shadowed, legitimate, fraudulent) -> None:
    client = shadowed.client
    assert client.get("/health/ready").json()["shadow"] == {"share": 1.0, "model_version": "4", "trouble": None}
    single = client.post("/predict", json={**legitimate, "transaction_id": "t"}).json()
    repeated = client.post("/predict", json={**legitimate, "transaction_id": "t"}).json()
    batch = client.post("/predict-batch", json=[legitimate, fraudulent, {**legitimate, "transaction_id": "t"}]).json()
    assert {answer["model_version"] for answer in (single, repeated, *batch)} == {"3"}
    assert (single["decision"], repeated["prediction_id"]) == ("APPROVE", single["prediction_id"])
    until(lambda: shadow(shadowed).rows["scored"] == 3)
    rows = kept(shadowed)
    assert rows.keys() == {single["prediction_id"], batch[0]["prediction_id"], batch[1]["prediction_id"]}
    row = rows[single["prediction_id"]]
    assert (row["model_version"], row["bundle_digest"], row["decision"]) == ("4", "digest-of-4", "DECLINE")
    assert row["hybrid_score"] == single["hybrid_score"]
    found = shadowed.app.state.gateway.decisions.store.find(single["prediction_id"])
    assert (found.record.decision, found.record.received_at) == ("APPROVE", row["received_at"])
    text = client.get("/metrics").text
    for sample in (
        'fraud_shadow_rows_total{outcome="scored"} 3.0',
        'outcome="dropped"} 0.0',
        "fraud_shadow_waiting 0.0",
    ):
        assert sample in text
    assert 'fraud_shadow_info{digest="digest-of-4",version="4"} 1.0' in text


def test_a_challenger_that_is_promoted_or_taken_away_is_unloaded(shadowed, challenger, legitimate) -> None:
    shadowed.source.scorers["digest-of-4"] = challenger.scorers["digest-of-4"]
    shadowed.source.live = challenger.live
    shadowed.wait_for(4)
    until(lambda: shadow(shadowed).slot.current is None)
    answer = shadowed.client.post("/predict", json=legitimate).json()
    assert (answer["model_version"], answer["decision"]) == ("4", "DECLINE")
    assert shadow(shadowed).waiting == 0
    challenger.live = None
    time.sleep(0.05)
    assert shadow(shadowed).slot.trouble is None


class NoShadowStore(DecisionStore):
    """A store that keeps the champion's decisions only."""

    def add_shadow(self, _decisions: Sequence[ShadowDecision]) -> None:
        raise Unavailable("The decision database is unreachable.")


def test_decisions_that_cannot_be_kept_are_counted_and_answers_go_out(
    serve, source, scorer, challenger, legitimate, tmp_path, caplog
) -> None:
    source.promote(3, scorer)
    store = NoShadowStore(open_engine(f"sqlite:///{tmp_path}/decisions.db"))
    with serve(source, challenger, store, shadow_share=1.0) as gateway:
        gateway.wait_for(3)
        until(lambda: shadow(gateway).slot.current is not None)
        for count in (1, 2):
            assert gateway.client.post("/predict", json=legitimate).status_code == 200
            until(lambda count=count: shadow(gateway).rows["failed"] == count)
        assert [r.getMessage() for r in caplog.records if "shadow" in r.getMessage()] == [
            "shadow decisions are lost: The decision database is unreachable."
        ]
        assert (shadow(gateway).waiting, kept(gateway)) == (0, {})


def test_rows_that_find_no_room_are_dropped(watcher, source, scorer, raw_rows) -> None:
    source.promote(3, scorer)
    champion = LiveModel(scorer, Explainer(scorer.bundle), source.current(), datetime.now(UTC))
    ids = [f"p-{row}" for row in range(8)]
    predictions = predict_all(champion, Transactions(raw_rows[:8], [None] * 8), Explain.NONE)
    scored: list[ShadowDecision] = []
    small = Shadow(1.0, watcher, capacity=5)
    watcher.check()
    small.offer(replace(predictions, prediction_ids=ids), [datetime.now(UTC)] * len(ids))
    assert (small.rows["dropped"], small.waiting) == (3, 5)
    small.start(scored.extend)
    small.close()
    assert small.rows == {"scored": 5, "dropped": 3, "failed": 0}
    assert [decision.prediction_id for decision in scored] == ids[:5]


def test_a_share_of_none_loads_none(serve, source, scorer, challenger, legitimate) -> None:
    source.promote(3, scorer)
    with serve(source, challenger) as gateway:
        gateway.wait_for(3)
        assert gateway.client.post("/predict", json=legitimate).status_code == 200
        assert (shadow(gateway), challenger.loads) == (None, [])
        assert "fraud_shadow" not in gateway.client.get("/metrics").text


def test_what_waits_is_kept_when_the_gateway_ends(serve, source, scorer, challenger, legitimate) -> None:
    source.promote(3, scorer)
    with serve(source, challenger, shadow_share=1.0) as gateway:
        gateway.wait_for(3)
        until(lambda: shadow(gateway).slot.current is not None)
        gateway.client.post("/predict", json=legitimate)
        ended = shadow(gateway)
    assert ended.rows == {"scored": 1, "dropped": 0, "failed": 0}


@pytest.fixture
def watcher(challenger) -> ModelFollower:
    return ModelFollower(lambda: challenger, ModelSlot(), CREDITCARD, poll_seconds=10, threads=1, champion=ModelSlot())


def test_a_bad_bundle_is_no_challenger_and_not_fetched_at_every_look(watcher, challenger, caplog) -> None:
    watcher.check()
    challenger.promote(5, InvalidBundle("The bundle has the digest x, the registry says y."))
    for _ in range(3):
        watcher.check()
    assert (watcher.slot.current, challenger.loads) == (None, ["digest-of-4", "digest-of-5"])
    assert watcher.slot.trouble.message.startswith("The bundle has the digest x")
    assert [r.levelno for r in caplog.records if r.levelno >= logging.WARNING] == [logging.WARNING]


def test_while_the_registry_is_away_the_challenger_goes_on(watcher, challenger, unavailable) -> None:
    watcher.check()
    challenger.failure = unavailable
    watcher.check()
    assert watcher.slot.current.version == "4"
    assert "http://***@host:5000" in watcher.slot.trouble.message
    challenger.failure = None
    watcher.check()
    assert watcher.slot.trouble is None
    challenger.live = None
    watcher.check()
    assert (watcher.slot.current, watcher.slot.trouble) == (None, None)


def test_a_challenger_of_a_later_contract_scores_what_it_is_given(serve, source, make_scorer, legitimate) -> None:
    from tests.unit.serving.conftest import FakeProduction

    challenger = FakeProduction()
    challenger.promote(4, make_scorer(contract=GROWN))
    source.promote(3, make_scorer())
    with serve(source, challenger, shadow_share=1.0) as gateway:
        gateway.wait_for(3)
        until(lambda: shadow(gateway).slot.current is not None)
        answer = gateway.client.post("/predict", json=legitimate).json()
        until(lambda: shadow(gateway).rows["scored"] == 1)
        assert kept(gateway)[answer["prediction_id"]]["hybrid_score"] == answer["hybrid_score"]
