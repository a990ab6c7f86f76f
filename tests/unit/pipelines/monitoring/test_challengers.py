"""What a challenger scored in the shadow, held against the champion's decisions on the same transactions."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta

import numpy as np
import pytest

from pipelines.monitoring import pairs as pairs_module
from pipelines.monitoring.challengers import Challenger
from pipelines.monitoring.page import page
from pipelines.monitoring.pairs import Pair, Pairs
from pipelines.monitoring.reading import UNLABELLED, Decided, read
from pipelines.monitoring.report import Report
from stores.decisions import DecisionStore, ShadowDecision
from tests.unit.pipelines.monitoring.conftest import DAY, WINDOW
from tests.unit.pipelines.monitoring.test_reading import END, chunk, record, store

__all__ = ["store"]
LATER = DAY + timedelta(days=30)


def shadow(prediction_id: str, decision: str = "REVIEW", version: str = "9") -> ShadowDecision:
    return ShadowDecision(prediction_id, DAY, version, "f" * 64, 0.1, 0.7, 0.6, 0.2, decision)


def test_singles_and_bulk_rows_are_paired_once_by_version(store: DecisionStore) -> None:
    store.add([record(1), record(2, decision="DECLINE"), record(3)])
    store.replay([record(4, transaction_id="a"), record(5, transaction_id="a", inputs=record(4).inputs)])
    bulk = chunk(3)
    store.add_segment(bulk)
    ids = [record(number).prediction_id for number in (1, 2, 4, 5)]
    store.add_shadow([*map(shadow, ids), shadow(bulk.prediction_ids[2], "APPROVE"), shadow("unknown")])
    store.add_shadow([shadow(record(3).prediction_id, version="10")])
    found = Pairs(store.shadow_of)
    decided = read(found.passing(store.tables_by_event_time(DAY, END)))
    assert {version: len(rows) for version, rows in decided.items()} == {"3": 4, "4": 3}
    assert found.against("3").keys() == {"9", "10"}
    pair = found.against("3")["9"]
    # the repetition was no answer
    assert pair.champion.decision.tolist() == [0, 2, 0]
    assert pair.challenger.decision.tolist() == [1, 1, 1]
    assert pair.challenger.raw.tolist() == pair.champion.raw.tolist()
    (many,) = found.against("4").values()
    assert many.champion.raw.tolist() == [bulk.raw[2].tolist()]
    assert (many.champion.hybrid.tolist(), many.challenger.hybrid.tolist()) == ([0.25], [0.6])
    assert found.against("5") == {}


def test_too_many_rows_are_thinned_and_still_stand_for_all(decide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_module, "MOST_ROWS", 1_500)
    rows: Decided = decide(2_000)
    pair = Pair(rows, rows).joined(None)
    assert len(pair.champion) < 1_100
    assert pair.champion.rows == pytest.approx(2_000, abs=1)
    assert pair.challenger.alert.sum() == rows.alert.sum()
    assert (pair.champion.label != UNLABELLED).sum() == (rows.label != UNLABELLED).sum()


@pytest.fixture
def pair(decide: Callable[..., Decided]) -> Pair:
    """A day of which the challenger misses every fraud and alerts the 20 first rows instead."""
    champion = decide(2_000, labelled=1.0)
    decision = np.zeros(2_000, dtype=np.int8)
    decision[:20] = 1
    hybrid = np.where(decision == 1, 0.9, 0.1) - np.where(champion.label == 1, 0.05, 0.0)
    return Pair(champion, replace(champion, decision=decision, hybrid=hybrid))


def test_a_worse_challenger_is_seen_to_be_worse(pair: Pair, settings) -> None:
    found = Challenger.of("9", pair, WINDOW, LATER, settings)
    assert found.rows == 2_000
    assert found.alert_share == pytest.approx(0.01)
    assert found.champion_alert_share == pytest.approx(pair.champion.alert.mean())
    assert found.agreement == pytest.approx(np.mean(pair.champion.decision == pair.challenger.decision))
    assert sum(sum(row.values()) for row in found.decisions.values()) == 2_000
    assert found.decisions["DECLINE"]["APPROVE"] > 10
    assert found.frauds == (pair.champion.label == 1).sum()
    for difference in found.differences.values():
        assert difference.high < 0
    assert "average precision -" in found.sentence
    json.dumps(asdict(found))


def test_a_challenger_that_decides_alike_differs_by_nothing(decide, settings) -> None:
    rows = decide(2_000, labelled=1.0)
    found = Challenger.of("9", Pair(rows, rows), WINDOW, LATER, settings)
    assert found.agreement == 1
    assert {str(each) for each in found.differences.values()} == {"0.000 [0.000, 0.000]"}


def test_before_labels_had_time_to_come_decisions_alone_are_compared(pair: Pair, settings) -> None:
    found = Challenger.of("9", pair, WINDOW, END, settings)
    assert (found.frauds, found.differences) == (0, {})
    assert "0 frauds known, too few to compare" in found.sentence


def test_the_page_and_the_json_show_it(pair: Pair, settings, report: Callable[[Decided], Report]) -> None:
    challenger = Challenger.of("9", pair, WINDOW, LATER, settings)
    made = replace(report(pair.champion), challengers=[challenger])
    shown = page(made, pair.champion, "run")
    assert "Challenger 9 on the same transactions" in shown
    assert challenger.sentence in shown
    assert made.to_dict()["challengers"][0]["differences"]["savings"]["high"] < 0
    assert "Challenger" not in page(report(pair.champion), pair.champion, "run")
