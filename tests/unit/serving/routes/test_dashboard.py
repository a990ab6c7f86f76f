"""What the page's charts of live traffic are drawn from."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np
import pytest
from anyio import to_thread

from ml_project.baseline import watched_names
from ml_project.drift import DecisionLimits, DriftLimits
from ml_project.errors import Unavailable
from serving.errors import TooManyRequests
from serving.live_model import ModelSlot
from serving.routes.dashboard import Dashboard, watched
from tests.support.creditcard import CREDITCARD, RAW_FEATURES

LIMITS = DriftLimits(minimum_rows=20, false_alarms=0.005, psi=0.1, ks=0.1, missing=0.01, out_of_range=0.005)
SHARES = DecisionLimits(minimum_rows=20, minimum_hours=24, factor=2)


@pytest.fixture
def busy(serve, source, scorer, card, raw_rows):
    """A gateway that has scored 300 rows in bulk and 40 singly, some of them frauds; a third of approvals is drawn."""
    source.promote(3, scorer)
    source.cards["digest-of-3"] = card.model_copy(update={"drift_limits": LIMITS, "decision_limits": SHARES})
    with serve(source, review_sample_rate=0.3) as running:
        running.wait_for(3)
        rows = [dict(zip(RAW_FEATURES, row.tolist(), strict=True)) for row in raw_rows]
        running.sent = running.client.post("/predict-batch", json=rows[:280] + rows[-20:]).json()
        running.sent += [running.client.post("/predict", json=row).json() for row in rows[280:300] + rows[-40:-20]]
        yield running


def decided(answers, *decisions):
    return [answer["prediction_id"] for answer in answers if answer["decision"] in decisions]


def test_counts_are_exact_for_singles_and_batches(busy) -> None:
    body = busy.client.get("/watch", params={"hours": 1, "buckets": 6}).json()
    assert len(body["buckets"]) == 6
    sums = {
        name: sum(bucket["decisions"][name] for bucket in body["buckets"]) for name in ("APPROVE", "REVIEW", "DECLINE")
    }
    assert sums == {name: len(decided(busy.sent, name)) for name in sums}
    assert (body["rows"], body["sampled_rows"], body["bucket_seconds"]) == (340, 340, 600.0)
    last = body["buckets"][-1]
    scores = [answer["hybrid_score"] for answer in busy.sent]
    assert last["score"]["p50"] == pytest.approx(np.quantile(scores, 0.5), abs=0.02)
    assert 0 < last["latency_ms"]["p50"] <= last["latency_ms"]["p99"]
    assert body["buckets"][0]["score"] is None
    assert (body["model_version"], body["alert_threshold"]) == ("3", 0.5)


def test_what_labels_say(busy) -> None:
    alerts, approvals = decided(busy.sent, "REVIEW", "DECLINE"), decided(busy.sent, "APPROVE")
    listed = busy.client.get("/predictions", params={"for_review": True, "decision": "APPROVE", "limit": 500}).json()
    drawn = [item["prediction_id"] for item in listed["items"]]
    other = next(name for name in approvals if name not in drawn)
    said = [(alerts[0], "legitimate"), (alerts[0], "fraud"), (alerts[1], "fraud"), (alerts[2], "legitimate")]
    said += [(drawn[0], "fraud"), (drawn[1], "legitimate"), (other, "fraud")]
    for name, label in said:
        assert busy.client.post("/feedback", json={"prediction_id": name, "label": label}).status_code == 200
    body = busy.client.get("/watch", params={"hours": 1, "buckets": 1}).json()
    assert body["buckets"][0]["labels"] == {
        "alerts_labelled": 3,
        "alerts_fraud": 2,
        "approved_labelled": 3,
        "approved_fraud": 2,
    }
    assert body["precision"] == pytest.approx(2 / 3)
    assert body["recall"] == pytest.approx(0.5)
    assert body["review_sample"] == {
        "drawn": len(drawn),
        "labelled": 2,
        "frauds": 1,
        "missed_frauds": pytest.approx(1 / 0.3),
    }


def test_drift_is_held_against_the_cards_limits(busy, legitimate) -> None:
    first = busy.client.get("/watch", params={"hours": 24, "buckets": 1}).json()["drift"]
    assert (first["rows"], first["judged"]) == (340, True)
    assert {feature["name"] for feature in first["features"] if feature["breached"]} <= {"V14", "hybrid_score"}
    shifted = [{**legitimate, "V3": 4.0 + place / 100} for place in range(300)]
    busy.client.post("/predict-batch", json=shifted)
    drift = busy.client.get("/watch", params={"hours": 24, "buckets": 2}).json()["drift"]
    v3 = next(feature for feature in drift["features"] if feature["name"] == "V3")
    assert v3["psi"] > v3["limit"] >= LIMITS.psi
    assert v3["breached"]
    assert v3["since"] is not None
    assert [feature["psi"] for feature in drift["features"]] == sorted(
        (feature["psi"] for feature in drift["features"]), reverse=True
    )


def test_a_challenger_beside_the_champion(serve, source, make_scorer, raw_rows) -> None:
    from stores.decisions import ShadowDecision

    source.promote(3, make_scorer())
    with serve(source) as running:
        running.wait_for(3)
        rows = [dict(zip(RAW_FEATURES, row.tolist(), strict=True)) for row in (*raw_rows[:5], *raw_rows[-5:])]
        sent = running.client.post("/predict-batch", json=rows).json()
        now = datetime.now(UTC)
        store = running.app.state.gateway.decisions.store
        store.add_shadow(
            [ShadowDecision(answer["prediction_id"], now, "4", "d", 0.1, 0.1, 0.1, 0.1, "REVIEW") for answer in sent]
        )
        approved, alert = (decided(sent, *kinds)[0] for kinds in (("APPROVE",), ("REVIEW", "DECLINE")))
        for name, label in ((approved, "legitimate"), (alert, "fraud")):
            running.client.post("/feedback", json={"prediction_id": name, "label": label})
        (shadow,) = running.client.get("/watch").json()["shadow"]
        alerts = len(decided(sent, "REVIEW", "DECLINE"))
        assert shadow == {
            "model_version": "4",
            "rows": 10,
            "agree": len(decided(sent, "REVIEW")),
            "alerts_both": alerts,
            "alerts_champion_only": 0,
            "alerts_challenger_only": 10 - alerts,
            "labelled": 2,
            "frauds": 1,
            "frauds_champion": 1,
            "frauds_challenger": 1,
            "false_alarms_champion": 0,
            "false_alarms_challenger": 1,
        }


def test_samples_are_bounded_and_weigh_what_they_stand_for(busy, monkeypatch) -> None:
    monkeypatch.setattr("serving.routes.dashboard.SAMPLE", 60)
    gateway = busy.app.state.gateway
    answer = watched(
        gateway.decisions.store,
        CREDITCARD.contract,
        gateway.slot.current,
        datetime.now(UTC) + timedelta(seconds=1),
        1,
        1,
    )
    assert (answer.rows, answer.sampled_rows, answer.drift.rows) == (340, 73, 73)


def test_without_a_model_and_without_traffic(serve, source) -> None:
    with serve(source) as running:
        body = running.client.get("/watch").json()
        assert (body["rows"], body["drift"], body["precision"], body["recall"], body["shadow"]) == (
            0,
            None,
            None,
            None,
            [],
        )


@pytest.mark.parametrize("params", [{"hours": 0}, {"hours": "nan"}, {"hours": 1000}, {"buckets": 0}, {"days": 1}])
def test_windows_that_cannot_be_are_422(gateway, params) -> None:
    assert gateway.client.get("/watch", params=params).status_code == 422


def test_it_needs_the_scope_read(serve, source, scorer) -> None:
    source.promote(3, scorer)
    with serve(source, require_keys="true") as running:
        assert running.client.get("/watch").status_code == 401


def test_answers_are_given_again_for_some_seconds(busy, legitimate) -> None:
    first = busy.client.get("/watch").json()
    busy.client.post("/predict", json=legitimate)
    assert busy.client.get("/watch").json() == first


class HungStore:
    """A database that answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()

    def slices(self, *_window: Any) -> Any:
        self.asked.set()
        self.answers.wait()
        raise Unavailable("The database is unreachable.")


def test_many_windows_take_one_thread_and_have_an_end() -> None:
    """Forty of them would take every thread that labels, pages and reviews are answered on."""

    async def ask_for_many() -> None:
        store, dashboard = HungStore(), Dashboard(ModelSlot(), CREDITCARD.contract)
        threads = to_thread.current_default_thread_limiter()
        first = asyncio.create_task(dashboard.read(cast(Any, store), 1.0, 1))
        await to_thread.run_sync(store.asked.wait)
        waiting = [asyncio.create_task(dashboard.read(cast(Any, store), 2.0 + place, 1)) for place in range(8)]
        for _ in range(20):  # each takes its place
            await asyncio.sleep(0)
        with pytest.raises(TooManyRequests):
            await dashboard.read(cast(Any, store), 24.0, 1)
        assert threads.borrowed_tokens == 0
        store.answers.set()
        for outcome in await asyncio.gather(first, *waiting, return_exceptions=True):
            assert isinstance(outcome, Unavailable)

    asyncio.run(ask_for_many())


def test_shares_of_alerts_are_judged_as_monitor_judges_them(busy) -> None:
    gateway = busy.app.state.gateway
    model = gateway.slot.current
    now = datetime.now(UTC) + timedelta(seconds=1)
    short = watched(gateway.decisions.store, CREDITCARD.contract, model, now, 1, 1)
    alerts, declines = short.shares
    decided_all = short.buckets[0].decisions
    assert alerts.value == pytest.approx((decided_all["REVIEW"] + decided_all["DECLINE"]) / 340)
    assert declines.value == pytest.approx(decided_all["DECLINE"] / 340)
    assert not alerts.judged  # an hour is no day
    long = watched(gateway.decisions.store, CREDITCARD.contract, model, now, 24, 1)
    baseline = model.scorer.bundle.manifest.drift_baseline
    known = baseline.decisions[model.scorer.bundle.manifest.policy]
    low, high = SHARES.between(known[1] + known[2], baseline, 340, LIMITS.significance(len(watched_names(CREDITCARD))))
    assert (long.shares[0].low, long.shares[0].high) == (pytest.approx(low), pytest.approx(high))
    assert long.shares[0].judged
    assert long.shares[0].breached == (not low <= alerts.value <= high)
