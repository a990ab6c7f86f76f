"""What came before is brought in, whatever is there already: base data, kept decisions and their labels."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import delete

from ml_project.cleaning import CleaningReport
from ml_project.dataset import events_of, with_history
from ml_project.errors import InvalidInput
from ml_project.history import compute_history
from pipelines.data.ingest import IngestedMeta, content_digest, write_ingested
from pipelines.data.past_events import base_events, rebuild
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionRecord, DecisionStore, KeptContract, LabelItem, open_store
from stores.decisions.event_plan import EventPlan, event_id, microseconds
from stores.decisions.schema import event_changes, event_series, events, key_events
from tests.support.creditcard import CREDITCARD
from tests.support.history import CONTRACT, HISTORY_OF_DAYS, history_table

PLAN = EventPlan.of(CONTRACT)
ROWS, BASE = 120, 70


@pytest.fixture
def table() -> pd.DataFrame:
    return history_table(ROWS, seed=5)


@pytest.fixture
def settings(tmp_path: Path, table: pd.DataFrame, database_url: str) -> PipelineSettings:
    """With the first rows as base data."""
    (tmp_path / "history.yaml").write_text(HISTORY_OF_DAYS)
    made = PipelineSettings(state_dir=tmp_path, contract=str(tmp_path / "history.yaml"), database_url=database_url)
    base = with_history(table[:BASE], CONTRACT).assign(sampling_weight=1.0)
    report = CleaningReport(BASE, BASE, 0, 0, {}, 0)
    made.dataset_path.parent.mkdir(parents=True, exist_ok=True)
    meta = IngestedMeta("file", "base", content_digest(base), report, CONTRACT.digest)
    write_ingested(base, meta, made.dataset_path)
    return made


@pytest.fixture
def store(database_url: str) -> Iterator[DecisionStore]:
    with open_store(database_url) as opened:
        yield opened


def decided(table: pd.DataFrame) -> list[DecisionRecord]:
    kept = KeptContract.of(CONTRACT)
    rows: list[dict[str, Any]] = table.to_dict("records")
    return [
        DecisionRecord(
            prediction_id=f"00000000-0000-7000-8000-{place:012x}",
            received_at=datetime(2026, 2, 1, tzinfo=UTC),
            contract=kept,
            inputs=tuple(row.get(name, np.nan) for name in kept.names),
            isolation_score=0.1,
            boosted_score=0.2,
            hybrid_score=0.15,
            fraud_probability=0.01,
            alert_threshold=0.5,
            decline_threshold=0.9,
            decision="APPROVE",
            model_version="1",
            bundle_digest="d",
            latency_ms=1.0,
            request_id="r",
            transaction_id=f"t{place}" if place % 2 else None,
            event_time=row["at"].to_pydatetime(),
        )
        for place, row in enumerate(rows)
    ]


def test_base_data_and_decisions_are_brought_in_once(
    settings: PipelineSettings, store: DecisionStore, table: pd.DataFrame
) -> None:
    records = decided(table[BASE:-1])
    store.add(records)
    frauds = table["fraud"][BASE:-1].tolist()
    labels = [
        LabelItem(prediction_id=record.prediction_id, label=fraud)
        for record, fraud in zip(records, frauds, strict=True)
    ]
    store.label(labels, "somebody")
    with store.engine.begin() as connection:  # as in an older backup
        for gone in (events, event_changes, key_events, event_series):
            connection.execute(delete(gone))
    again = replace(records[1], prediction_id="00000000-0000-7000-8000-00000000ffff")
    store.replay([again])  # a transaction that was answered twice, the second time from the spool
    done = rebuild(settings, CONTRACT)
    assert (done.base, done.decided, done.added) == (BASE, len(records), BASE + len(records))
    assert rebuild(settings, CONTRACT).added == 0
    row = table.iloc[-1].to_dict()
    last = PLAN.event(event_id("history", None, "p"), microseconds(row["at"].to_pydatetime()), row)
    expected = compute_history(CONTRACT, events_of(table, CONTRACT))[-1]
    np.testing.assert_array_equal(store.histories_of(PLAN, [(last, [])])[0], expected)


def test_what_no_feature_can_ask_for_is_left_out(table: pd.DataFrame) -> None:
    old = table.assign(at=table["at"] - pd.Timedelta(days=400))
    both = with_history(pd.concat([old, table], ignore_index=True), CONTRACT)
    in_reach = table["at"] > table["at"].max() - pd.Timedelta(days=10)
    assert len(base_events(PLAN, both)) == in_reach.sum()


def test_rows_without_a_name_are_told_apart(table: pd.DataFrame) -> None:
    twice = with_history(pd.concat([table[:1], table[:1]], ignore_index=True), CONTRACT)
    first, second = (each.event_id for each in base_events(PLAN, twice))
    assert first != second
    assert [each.event_id for each in base_events(PLAN, twice)] == [first, second]


def test_a_contract_without_history_has_nothing_to_bring_in(settings: PipelineSettings) -> None:
    with pytest.raises(InvalidInput, match="no features from history"):
        rebuild(settings, CREDITCARD)
