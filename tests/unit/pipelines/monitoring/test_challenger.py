"""A challenger's decisions compared with the champion's on the same transactions."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from ml_project.quantities import difference_interval
from pipelines.monitoring import kept_decisions
from pipelines.monitoring.challenger import COMPARED, Comparison, compare_challenger
from pipelines.monitoring.figures import MonitorLimits
from pipelines.monitoring.kept_decisions import KeptDecisions, ShadowPair, ShadowReader, read_by_version
from pipelines.monitoring.page import monitor_page
from pipelines.monitoring.report import MonitorReport, prometheus_text
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionStore, LabelItem, ShadowDecision
from tests.support.creditcard import CREDITCARD
from tests.support.decisions import chunk, record
from tests.unit.pipelines.monitoring.conftest import DAY, END, WINDOW

LIMITS = MonitorLimits.load()
Decide = Callable[..., KeptDecisions]


def shadow(prediction_id: str, version: str = "9", score: float = 0.7, decision: str = "REVIEW") -> ShadowDecision:
    return ShadowDecision(prediction_id, DAY, version, "c" * 64, 0.1, 0.8, score, 0.3, decision)


def pairs(store: DecisionStore) -> dict[tuple[str, str], ShadowPair]:
    reader = ShadowReader(store.shadow_of, CREDITCARD)
    read_by_version(reader.passing(store.tables_by_event_time(CREDITCARD, DAY, END)), CREDITCARD)
    return reader.pairs


def test_pairs_are_of_the_same_transactions_by_event_time(store: DecisionStore) -> None:
    late = END + timedelta(days=2)
    records = [record(1), record(2, received_at=late, event_time=DAY + timedelta(hours=3)), record(3, received_at=late)]
    bulk = chunk(3)
    store.add(records)
    store.add_segment(bulk)
    store.add_shadow([shadow(each.prediction_id, score=0.1 * place) for place, each in enumerate(records, start=1)])
    store.add_shadow([shadow(bulk.prediction_ids[2]), shadow(bulk.prediction_ids[0], version="8", decision="APPROVE")])
    store.label([LabelItem(prediction_id=records[1].prediction_id, label=1)], "anna")
    found = pairs(store)
    assert set(found) == {("3", "9"), ("4", "9"), ("4", "8")}
    singles = found["3", "9"]
    order = np.argsort(singles.champion.moment)
    assert singles.champion.hybrid[order].tolist() == [0.01, 0.02]
    assert singles.challenger.hybrid[order].tolist() == pytest.approx([0.1, 0.2])
    assert singles.challenger.label[order].tolist() == [-1, 1]
    assert singles.challenger.decision.tolist() == [1, 1]
    assert found["4", "9"].champion.raw[0].tolist() == bulk.raw[2].tolist()
    assert found["4", "8"].challenger.decision.tolist() == [0]


def test_many_are_thinned_on_both_sides_alike(store: DecisionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_decisions, "MOST_ROWS", 300)
    for _ in range(2):
        bulk = chunk(500)
        store.add_segment(bulk)
        decisions = ["REVIEW" if place % 50 == 0 else "APPROVE" for place in range(500)]
        store.add_shadow(
            [shadow(name, decision=decision) for name, decision in zip(bulk.prediction_ids, decisions, strict=True)]
        )
    pair = pairs(store)["4", "9"]
    assert len(pair) <= 300
    assert pair.champion.rows == pytest.approx(1_000, rel=0.4)
    assert pair.challenger.alert.sum() == 20
    assert pair.challenger.weight is pair.champion.weight
    assert set(pair.challenger.weight[pair.challenger.alert]) == {1.0}


def compared(rows: KeptDecisions, settings: PipelineSettings, hybrid: np.ndarray, days: int = 30) -> Comparison:
    decline = rows.hybrid[rows.decision == 2].min()
    decision = np.digitize(hybrid, [rows.alert_threshold[0], decline]).astype(np.int8)
    pair = ShadowPair(rows, replace(rows, hybrid=hybrid, decision=decision))
    return compare_challenger("9", pair, 0.5, WINDOW, DAY + timedelta(days=days), settings, LIMITS.labelled)


def test_a_worse_challenger_is_seen_to_be_worse(decide: Decide, settings: PipelineSettings) -> None:
    rows = decide(seed=9)
    worse = compared(rows, settings, np.random.default_rng(0).permutation(rows.hybrid))
    assert set(worse.gains) == set(COMPARED)
    assert worse.gains["average_precision"].high < 0
    assert worse.gains["cost_at_budget_per_day"].low > 0
    assert (
        worse.champion.estimates["average_precision"].value > 0.5 > worse.challenger.estimates["average_precision"].high
    )
    assert 0.9 < worse.agreement < 1
    figures = {figure.metric: figure for figure in worse.figures}
    assert figures["gain_average_precision"].value == worse.gains["average_precision"].value
    assert figures["challenger_rows"].value == 2_000
    assert not any(figure.breached for figure in worse.figures)


def test_one_that_decides_alike_gains_nothing(decide: Decide, settings: PipelineSettings) -> None:
    rows = decide(seed=9)
    same = compared(rows, settings, rows.hybrid)
    assert same.agreement == 1
    assert same.gains["average_precision"].value == 0
    champion, challenger = same.champion.estimates, same.challenger.estimates
    assert challenger["recall"].value == champion["recall"].value
    assert challenger["alerts_per_day"].value == champion["alerts_per_day"].value


def test_labels_that_have_not_had_time_count_for_neither(decide: Decide, settings: PipelineSettings) -> None:
    rows = decide(seed=9)
    early = compared(rows, settings, rows.hybrid, days=3)
    assert early.gains == {}
    assert early.estimates == {}
    assert early.alert_shares[0] == early.alert_shares[1] > 0


def test_the_report_its_page_and_its_figures_hold_both(
    decide: Decide, report: Callable[[KeptDecisions], MonitorReport], settings: PipelineSettings
) -> None:
    rows = decide(seed=9)
    plain = report(rows)
    worse = compared(rows, settings, np.random.default_rng(0).permutation(rows.hybrid))
    found = replace(plain, challengers=[worse, compared(rows, settings, rows.hybrid, days=3)])
    assert found.breaches == plain.breaches
    # each side's figures are logged with its own model
    assert found.own == plain.own
    assert worse.own["challenger_average_precision"] == worse.challenger.estimates["average_precision"]
    assert all(name.startswith("challenger_") for name in worse.own)
    assert found.to_dict()["estimates"]["gain_average_precision"]["high"] < 0
    assert 'figure="challenger_agreement"' in prometheus_text(found)
    html = monitor_page(found, rows, "run-1")
    assert "Challenger 9 in the shadow" in html
    assert difference_interval("recall_at_budget", worse.gains["recall_at_budget"]) in html
    assert html.count("too few labels") == 1
    assert html.count("<svg") == monitor_page(plain, rows, "run-1").count("<svg") + 1
