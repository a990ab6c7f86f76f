"""Served features against their definition: what was late, away or wrong is found and named."""

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import delete

from ml_project.cleaning import CleaningReport
from ml_project.dataset import with_history
from ml_project.history import compute_history
from pipelines.data.ingest import IngestedMeta, content_digest, write_ingested
from pipelines.data.past_events import hashed_keys, rebuild
from pipelines.monitoring import known_past
from pipelines.monitoring.figures import MonitorLimits, SkewLimits
from pipelines.monitoring.kept_decisions import KeptDecisions
from pipelines.monitoring.known_past import as_events
from pipelines.monitoring.page import monitor_page
from pipelines.monitoring.report import MonitorReport, emf_line, prometheus_text
from pipelines.monitoring.skew import Difference, ServedSample, Skew, measure_skew
from pipelines.monitoring.skew_causes import Cause
from pipelines.monitoring.window import Window
from pipelines.settings import PipelineSettings
from stores.decisions import Chunk, DecisionRecord, DecisionStore, KeptContract, LabelItem, open_store
from stores.decisions.event_plan import EventPlan, HistoryEvent, event_id, microseconds
from stores.decisions.schema import events, key_events
from tests.support.creditcard import CREDITCARD
from tests.support.history import CONTRACT, HISTORY_OF_DAYS, history_table

PLAN = EventPlan.of(CONTRACT)
KEPT = KeptContract.of(CONTRACT)
NAMES = [feature.name for feature in CONTRACT.history]
ROWS, BASE = 160, 40
START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=30))
LIMITS = SkewLimits(decisions=1_000, minimum_rows=10, share=0.5, unexplained=0.0)

Differs = dict[tuple[int, str], Cause]


@pytest.fixture
def table() -> pd.DataFrame:
    return history_table(ROWS, seed=8)


@pytest.fixture
def settings(tmp_path: Path, table: pd.DataFrame) -> PipelineSettings:
    """With the first rows as base data, brought into the database."""
    (tmp_path / "history.yaml").write_text(HISTORY_OF_DAYS)
    url: Any = f"sqlite:///{tmp_path}/decisions.db"
    made = PipelineSettings(state_dir=tmp_path, contract=str(tmp_path / "history.yaml"), database_url=url)
    base = with_history(table[:BASE], CONTRACT).assign(sampling_weight=1.0)
    meta = IngestedMeta("file", "base", content_digest(base), CleaningReport(BASE, BASE, 0, 0, {}, 0), CONTRACT.digest)
    made.dataset_path.parent.mkdir(parents=True, exist_ok=True)
    write_ingested(base, meta, made.dataset_path)
    rebuild(made, CONTRACT)
    return made


@pytest.fixture
def store(settings: PipelineSettings) -> Iterator[DecisionStore]:
    with open_store(settings.decisions_url) as opened:
        yield opened


def prediction_id(row: int) -> str:
    return f"00000000-0000-7000-8000-{row:012x}"


class Gateways:
    """Decides a table's rows as gateways do, at the times at which they come, and labels them."""

    def __init__(self, store: DecisionStore, table: pd.DataFrame) -> None:
        self.store, self.rows = store, table.to_dict("records")
        self.came = {row: each["at"].to_pydatetime() + timedelta(seconds=1) for row, each in enumerate(self.rows)}
        self.labelled = {
            row: [(each["at"].to_pydatetime() + timedelta(days=1), 1)]
            for row, each in enumerate(self.rows)
            if each["fraud"] and row >= BASE
        }
        self.away: Collection[int] = ()
        self.spooled: Collection[int] = ()
        self.back = 0
        self.only_events: Collection[int] = ()
        self.unseen: dict[int, int] = {}
        """Of a row, another one that it does not see."""

    def event(self, row: int, name: str = "") -> HistoryEvent:
        given = self.rows[row]
        name = event_id("history", name or f"t{row}", "")
        return PLAN.event(name, microseconds(given["at"].to_pydatetime()), given)

    def record(self, row: int, values: Any, **fields: Any) -> DecisionRecord:
        inputs = self.rows[row] | dict(zip(NAMES, values.tolist(), strict=True))
        return DecisionRecord(
            prediction_id=prediction_id(row),
            received_at=self.came[row],
            contract=KEPT,
            inputs=tuple(inputs[name] for name in KEPT.names),
            isolation_score=0.1,
            boosted_score=0.2,
            hybrid_score=0.15,
            fraud_probability=0.01,
            alert_threshold=0.5,
            decline_threshold=0.9,
            decision="APPROVE",
            model_version="1",
            bundle_digest="d",
            latency_ms=2.0,
            request_id="r",
            transaction_id=f"t{row}",
            event_time=self.rows[row]["at"].to_pydatetime(),
            **fields,
        )

    def run(self, changed: Callable[[int, DecisionRecord], DecisionRecord] = lambda _row, record: record) -> None:
        last = max(self.came.values())
        steps = [(when, 0, row, 0) for row, when in self.came.items() if row >= BASE]
        steps += [
            (max(when, self.came[row]), 1, row, said) for row, all_ in self.labelled.items() for when, said in all_
        ]
        waiting: list[DecisionRecord] = []
        for when, is_label, row, said in sorted(steps):
            if waiting and (row == self.back or when == last):
                self.store.replay(waiting)
                waiting = []
            if is_label:
                item = LabelItem(prediction_id=prediction_id(row), label=said)
                self.store.label([item], f"reviewer {said}", labelled_at=when)
                continue
            event = self.event(row)
            if row in self.only_events:
                self.store.add_events(PLAN, [event])
                continue
            values = self.store.history_of_many(PLAN, [event])[0]
            if row in self.unseen:
                without = [self.event(each) for each in range(row) if each != self.unseen[row]]
                values = compute_history(CONTRACT, as_events(PLAN, [*without, event]))[-1]
            if row in self.away:
                values = compute_history(CONTRACT, as_events(PLAN, [event]))[0]
            record = changed(row, self.record(row, values, history_partial=row in self.away))
            if row in self.spooled:
                waiting.append(record)
            else:
                self.store.add([record])


def measured(store: DecisionStore, settings: PipelineSettings, size: int = 1_000) -> Skew:
    sample = ServedSample(size, seed=3)
    assert sum(len(each) for each in sample.passing(store.tables_by_event_time(CONTRACT, WINDOW.since, WINDOW.until)))
    found = measure_skew(sample.of("1"), store, settings, CONTRACT, WINDOW, LIMITS)
    assert found is not None
    return found


def differs(skew: Skew) -> Differs:
    return {(int(each.prediction_id[-12:], 16), each.feature): each.cause for each in skew.differences}


def expected(store: DecisionStore, table: pd.DataFrame, without: Collection[int] = ()) -> set[tuple[int, str]]:
    """Values of kept decisions that are not those of the whole table."""
    history = with_history(table, CONTRACT)[NAMES].to_numpy()
    found = store.find_all([prediction_id(row) for row in range(BASE, ROWS) if row not in without])
    assert len(found) == ROWS - BASE - len(without)
    return {
        (row, name)
        for row in range(BASE, ROWS)
        if row not in without
        for place, name in enumerate(NAMES)
        if not np.array_equal(
            history[row, place], found[prediction_id(row)].record.inputs[KEPT.names.index(name)], equal_nan=True
        )
    }


def test_what_came_in_time_has_no_skew(store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame) -> None:
    Gateways(store, table).run()
    found = measured(store, settings)
    assert found.differences == []
    assert found.decisions == ROWS - BASE
    assert set(found.compared.values()) == {ROWS - BASE}
    assert {each.metric: each.value for each in found.figures}["skew"] == 0.0
    assert not any(each.breached for each in found.figures)
    few = measured(store, settings, size=15)
    assert (few.decisions, few.differences, few.left_out) == (15, [], 0)


def test_a_late_transaction_is_named(store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame) -> None:
    gateways = Gateways(store, table)
    late = next(row for row in range(70, ROWS) if not table["fraud"][row])
    gateways.came[late] += timedelta(days=3)
    gateways.run()
    found = differs(measured(store, settings))
    assert set(found) == expected(store, table)
    assert len(found) > 5
    assert set(found.values()) == {Cause.LATE_EVENT}


def test_a_late_label_is_named(store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame) -> None:
    gateways = Gateways(store, table)
    late = next(row for row in range(60, ROWS) if table["fraud"][row] and table["shop"][row] == "x")
    gateways.labelled[late] = [(gateways.labelled[late][0][0] + timedelta(days=4), 1)]
    gateways.run()
    found = differs(measured(store, settings))
    assert set(found) == expected(store, table)
    assert {name for _row, name in found} == {"shop_rate"}
    assert set(found.values()) == {Cause.LATE_LABEL}


def test_a_label_that_was_taken_back_is_late(
    store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame
) -> None:
    gateways = Gateways(store, table)
    wrong = next(row for row in range(60, ROWS) if table["fraud"][row] and table["shop"][row] == "x")
    gateways.labelled[wrong].append((gateways.labelled[wrong][0][0] + timedelta(days=4), 0))
    gateways.run()
    found = differs(measured(store, settings))
    assert set(found) == expected(store, table.assign(fraud=table["fraud"].where(table.index != wrong, 0)))
    assert set(found.values()) == {Cause.LATE_LABEL}


def test_an_outage_is_named_for_who_had_no_database_and_for_others(
    store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame
) -> None:
    gateways = Gateways(store, table.assign(fraud=table["fraud"].where(table.index < BASE, 0)))
    gateways.away, gateways.spooled, gateways.back = range(80, 86), range(80, 86), 92
    gateways.run()
    found = differs(measured(store, settings))
    assert set(found) == expected(store, table.assign(fraud=table["fraud"].where(table.index < BASE, 0)))
    assert set(found.values()) == {Cause.STORE_AWAY}
    assert {row for row, _name in found} & set(range(80, 86))
    assert {row for row, _name in found} & set(range(86, 92))
    assert not {row for row, _name in found} & set(range(92, ROWS))


def test_a_wrong_value_is_unexplained_and_a_breach(
    store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame
) -> None:
    def changed(row: int, record: DecisionRecord) -> DecisionRecord:
        if row != 100:
            return record
        inputs = list(record.inputs)
        inputs[KEPT.names.index("card_sum")] += 0.01  # type: ignore[operator]
        return replace(record, inputs=tuple(inputs))

    Gateways(store, table).run(changed)
    found = measured(store, settings)
    assert differs(found) == {(100, "card_sum"): Cause.UNEXPLAINED}
    [difference] = found.differences
    assert difference.served == pytest.approx(difference.recomputed + 0.01)
    figures = {each.metric: each for each in found.figures}
    assert figures["skew"].value == figures["skew_unexplained"].value == 1 / found.decisions
    assert figures["value_skew_card_sum"].value == 1 / found.decisions
    assert figures["value_skew_card_mean"].value == 0.0
    assert [name for name, each in figures.items() if each.breached] == ["skew_unexplained"]


def test_all_at_once_each_is_named(store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame) -> None:
    gateways = Gateways(store, table)
    late_event = next(row for row in range(60, ROWS) if not table["fraud"][row])
    gateways.came[late_event] += timedelta(days=2)
    late_label = next(row for row in range(50, ROWS) if table["fraud"][row] and table["shop"][row] == "y")
    gateways.labelled[late_label] = [(gateways.labelled[late_label][0][0] + timedelta(days=5), 1)]
    gateways.away = gateways.spooled = range(110, 113)
    gateways.back = 114

    def changed(row: int, record: DecisionRecord) -> DecisionRecord:
        inputs = list(record.inputs)
        inputs[KEPT.names.index("many")] = 77.0
        return replace(record, inputs=tuple(inputs)) if row == 150 else record

    gateways.run(changed)
    found = measured(store, settings)
    named = differs(found)
    assert set(named) == expected(store, table)
    assert {each for each in named if named[each] is Cause.UNEXPLAINED} == {(150, "many")}
    assert set(named.values()) == set(Cause)
    assert sum(found.causes.values()) == len({row for row, _name in named})
    assert found.to_dict()["examples"][0]["cause"] == "unexplained"


@pytest.mark.parametrize("lost", ["tables", "base data"])
def test_base_data_are_known_from_their_file_or_from_the_tables(
    store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame, lost: str
) -> None:
    Gateways(store, table).run()
    if lost == "base data":
        settings.dataset_path.unlink()
    else:
        with store.engine.begin() as connection:
            connection.execute(delete(key_events))
    found = measured(store, settings)
    assert (found.decisions, found.differences) == (ROWS - BASE, [])


def test_base_data_are_known_under_hashed_keys(
    store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame
) -> None:
    """As decisions have them: the file has the bank's own."""
    hashed = PipelineSettings(**settings.model_dump() | {"key_secret": "a secret of the bank"})
    for gone in (events, key_events):
        with store.engine.begin() as connection:
            connection.execute(delete(gone))
    rebuild(hashed, CONTRACT)
    Gateways(store, hashed_keys(table, CONTRACT, hashed.key_hash)).run()
    with store.engine.begin() as connection:
        connection.execute(delete(key_events))
    found = measured(store, hashed)
    assert (found.decisions, found.differences) == (ROWS - BASE, [])


def test_transactions_of_other_channels_count(
    store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame
) -> None:
    gateways = Gateways(store, table.assign(fraud=table["fraud"].where(table.index < BASE, 0)))
    gateways.only_events = range(50, 60)
    gateways.run()
    assert measured(store, settings).differences == []
    late = Gateways(store, table)
    store.add_events(PLAN, [late.event(70, "later")])
    found = differs(measured(store, settings))
    assert found
    assert set(found.values()) == {Cause.LATE_EVENT}


def test_a_batch_knows_its_own_rows(store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame) -> None:
    gateways = Gateways(store, table)
    begin = ROWS - 30
    gateways.came = {row: when for row, when in gateways.came.items() if row < begin}
    gateways.labelled = {row: each for row, each in gateways.labelled.items() if row < begin}
    gateways.run()
    events = [gateways.event(row) for row in range(begin, ROWS)]
    values = store.history_of_many(PLAN, events)
    given = pd.DataFrame(gateways.rows[begin:]).assign(**dict(zip(NAMES, values.T, strict=True)))
    numbers = [name if name not in ("card", "shop") else None for name in KEPT.names]
    store.add_segment(
        Chunk(
            received_at=max(gateways.came.values()) + timedelta(minutes=1),
            contract=KEPT,
            raw=np.column_stack([np.full(30, np.nan) if name is None else given[name] for name in numbers]),
            texts={name: [None if pd.isna(each) else each for each in given[name]] for name in ("card", "shop")},
            scores=np.full((4, 30), 0.25),
            decisions=["APPROVE"] * 30,
            alert_threshold=0.5,
            decline_threshold=0.9,
            model_version="1",
            bundle_digest="d",
            latency_ms=9.5,
            request_id="r",
            transaction_ids=[f"t{row}" for row in range(begin, ROWS)],
            event_times=[each.to_pydatetime() for each in given["at"]],
        )
    )
    found = measured(store, settings)
    assert (found.decisions, found.differences) == (ROWS - BASE, [])


@pytest.mark.parametrize(("before", "cause"), [(0.01, Cause.LATE_EVENT), (60.0, Cause.UNEXPLAINED)])
def test_what_was_decided_at_the_same_moment_may_not_be_known(
    store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame, before: float, cause: Cause
) -> None:
    """Two gateways at once are no fault; a transaction that was there for a minute has to be seen."""
    table = table.assign(fraud=table["fraud"].where(table.index < BASE, 0))
    gateways = Gateways(store, table)
    row = next(row for row in range(80, ROWS) if table["card"][row] == table["card"][row - 1])
    gateways.unseen = {row: row - 1}
    gateways.came[row - 1] = gateways.came[row] - timedelta(seconds=before)
    gateways.run()
    found = differs(measured(store, settings))
    assert {each for each in found if found[each] is cause} == {each for each in found if each[0] == row} != set()
    assert (row, "many") in found


def test_keys_with_too_many_transactions_are_left_out(
    store: DecisionStore, settings: PipelineSettings, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    Gateways(store, table).run()
    monkeypatch.setattr(known_past, "MOST_EVENTS", 120)
    found = measured(store, settings)
    assert found.differences == []
    assert found.left_out > 0
    assert 0 < sum(found.compared.values()) < len(NAMES) * (ROWS - BASE)


def test_without_history_there_is_nothing_to_compare(store: DecisionStore, settings: PipelineSettings) -> None:
    assert measure_skew(None, store, settings, CONTRACT, WINDOW, LIMITS) is None
    sample = ServedSample(0)
    assert list(sample.passing(store.tables_by_event_time(CREDITCARD, WINDOW.since, WINDOW.until))) == []
    assert sample.of("1") is None


def test_limits_have_defaults_that_the_file_says() -> None:
    assert MonitorLimits.load().skew == SkewLimits.model_validate({})


def test_a_report_says_it(
    decide: Callable[..., KeptDecisions], report: Callable[[KeptDecisions], MonitorReport]
) -> None:
    rows = decide()
    difference = Difference("p1", "card_sum", 2.0, np.nan, Cause.UNEXPLAINED)
    skewed = replace(report(rows), skew=Skew(LIMITS, 200, {"card_sum": 190}, [difference], left_out=10))
    assert [each.metric for each in skewed.breaches] == ["skew_unexplained"]
    assert "unexplained history feature 0.50 % (limit ≤ 0 %)" in skewed.sentence
    page = monitor_page(skewed, rows, "run")
    assert "<h2>Features from history, served and recomputed</h2>" in page
    assert '<th>card_sum</th><td class="number" data-name="compared">190</td>' in page
    assert 'figure="value_skew",of="card_sum"}' in prometheus_text(skewed)
    assert json.loads(emf_line(skewed, "Fraud"))["skew_unexplained"] == 0.005
    assert skewed.to_dict()["skew"]["examples"] == [
        {"prediction_id": "p1", "feature": "card_sum", "served": 2.0, "recomputed": None, "cause": "unexplained"}
    ]
