"""A retraining's features from history: as they were served where they were kept, by the definition elsewhere."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_project.cleaning import CleaningReport
from ml_project.contract import Contract
from ml_project.contract_file import parse_contract
from ml_project.dataset import with_history
from ml_project.event_times import EventTimeBounds
from pipelines.data.ingest import IngestedMeta, content_digest
from pipelines.monitoring import kept_decisions
from pipelines.retraining.dataset import TrainingData, build_training_data, read_decided
from stores.decisions import DecisionRecord, DecisionStore, KeptContract, LabelItem, migrate, open_engine
from tests.support.history import CONTRACT, HISTORY_OF_DAYS, history_table

ROWS, BASE = 150, 70
NAMES = [feature.name for feature in CONTRACT.history]
BEFORE = parse_contract(
    HISTORY_OF_DAYS.replace("  card_last: {seconds_since_last: {by: card, window: 3d}}\n", "")
    .replace("many: {count: {by: card, window: 1d}", "many: {count: {by: card, window: 2d}")
    .encode(),
    "before.yaml",
)
"""As it was before it had `card_last`, when `many` looked at two days."""

BOUNDS = EventTimeBounds(datetime(2000, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
UNTIL = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DecisionStore]:
    engine = open_engine(f"sqlite:///{tmp_path}/decisions.db")
    migrate(engine)
    yield DecisionStore(engine)
    engine.dispose()


@pytest.fixture
def table() -> pd.DataFrame:
    """With different amounts, by which rows of the result are found again."""
    table = history_table(ROWS, seed=12)
    return table.assign(amount=np.arange(ROWS) + 0.5)


def record(table: pd.DataFrame, row: int, contract: Contract, **fields: Any) -> DecisionRecord:
    """What was served is a thousand more than anything that could be computed."""
    given = table.iloc[row].to_dict() | {feature.name: 1_000.0 + row for feature in contract.history}
    kept = KeptContract.of(contract)
    defaults: dict[str, Any] = {
        "prediction_id": f"00000000-0000-7000-8000-{row:012x}",
        "received_at": given["at"].to_pydatetime() + timedelta(seconds=1),
        "contract": kept,
        "inputs": tuple(given[name] for name in kept.names),
        "isolation_score": 0.1,
        "boosted_score": 0.2,
        "hybrid_score": 0.15,
        "fraud_probability": 0.01,
        "alert_threshold": 0.5,
        "decline_threshold": 0.9,
        "decision": "APPROVE",
        "model_version": "1",
        "bundle_digest": contract.digest,
        "latency_ms": 1.0,
        "request_id": "r",
        "transaction_id": f"t{row}",
        "event_time": given["at"].to_pydatetime(),
    }
    return DecisionRecord(**defaults | fields)


def built(
    store: DecisionStore, table: pd.DataFrame, base_rows: list[int], records: list[DecisionRecord]
) -> TrainingData:
    store.add(records)
    decided = [int(each.prediction_id[-12:], 16) for each in records]
    frauds = [
        LabelItem(prediction_id=f"00000000-0000-7000-8000-{row:012x}", label=1)
        for row in decided
        if table["fraud"][row]
    ]
    store.label(frauds, "anna")
    base = with_history(table.iloc[base_rows].reset_index(drop=True), CONTRACT).assign(sampling_weight=1.0)
    report = CleaningReport(len(base), len(base), 0, 0, {}, 0)
    meta = IngestedMeta("file", "bank.csv", content_digest(base), report, CONTRACT.digest)
    return build_training_data(base, meta, CONTRACT, read_decided(store, CONTRACT, BOUNDS, UNTIL, seed=0))


def history_of(data: TrainingData) -> dict[int, list[float]]:
    """By row of the table."""
    rows = (data.frame["amount"] - 0.5).astype(int)
    return dict(zip(rows.tolist(), data.frame[NAMES].to_numpy().tolist(), strict=True))


def test_what_was_served_is_kept_and_the_rest_is_computed_from_both(store: DecisionStore, table: pd.DataFrame) -> None:
    late_base = range(BASE, ROWS, 9)
    base_rows = [*range(BASE + 4), *[row for row in late_base if row >= BASE + 4]]  # four were decided, too
    decided = [row for row in range(BASE, ROWS) if row not in base_rows or row < BASE + 4]
    partial, before = decided[20:26], decided[5:15]
    records = [
        record(table, row, BEFORE if row in before else CONTRACT, history_partial=row in partial) for row in decided
    ]
    data = built(store, table, base_rows, records)
    definition = with_history(table, CONTRACT)[NAMES].to_numpy()
    expected = {row: definition[row].tolist() for row in range(ROWS)}
    for row in decided:
        if row in partial:
            continue
        served = dict.fromkeys(NAMES, 1000.0 + row)
        if row in before:
            served |= {name: definition[row, NAMES.index(name)] for name in ("card_last", "many")}
        expected[row] = list(served.values())
    found = history_of(data)
    assert found.keys() == expected.keys()
    for row, values in expected.items():
        np.testing.assert_array_equal(found[row], values, err_msg=f"row {row}")
    assert data.sources.base_again == 4
    assert data.sources.computed_decided == len(partial) + len(before)
    assert data.sources.computed_base == len(base_rows) - BASE - 4


def test_where_all_was_served_nothing_is_read_again(store: DecisionStore, table: pd.DataFrame) -> None:
    data = built(store, table, [*range(BASE)], [record(table, row, CONTRACT) for row in range(BASE, ROWS)])
    found = history_of(data)
    np.testing.assert_array_equal(
        [found[row] for row in range(BASE)], with_history(table[:BASE], CONTRACT)[NAMES].to_numpy()
    )
    assert all(set(found[row]) == {1_000.0 + row} for row in range(BASE, ROWS))
    assert (data.sources.computed_base, data.sources.computed_decided) == (0, 0)


def test_transactions_that_are_not_learnt_from_count_in_the_history_of_others(
    store: DecisionStore, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thinned approvals happened, too."""
    monkeypatch.setattr(kept_decisions, "MOST_ROWS", 40)
    table = table.assign(fraud=table["fraud"].where(table.index < BASE, 0))
    records = [record(table, row, CONTRACT, history_partial=True) for row in range(BASE, ROWS)]
    data = built(store, table, [*range(BASE)], records)
    definition = with_history(table, CONTRACT)[NAMES].to_numpy()
    found = history_of(data)
    assert BASE < len(found) < ROWS
    for row, values in found.items():
        np.testing.assert_array_equal(values, definition[row])


def test_a_label_of_the_base_data_counts_for_a_decision_without_one(store: DecisionStore, table: pd.DataFrame) -> None:
    store_rows = [record(table, row, CONTRACT, history_partial=True) for row in range(BASE, ROWS)]
    store.add(store_rows)
    base = with_history(table, CONTRACT).assign(sampling_weight=1.0)
    meta = IngestedMeta("file", "b", content_digest(base), CleaningReport(ROWS, ROWS, 0, 0, {}, 0), CONTRACT.digest)
    data = build_training_data(base, meta, CONTRACT, read_decided(store, CONTRACT, BOUNDS, UNTIL, seed=0))
    found = history_of(data)
    definition = with_history(table, CONTRACT)[NAMES].to_numpy()
    assert data.sources.base_again == ROWS - BASE
    for row in range(ROWS):
        np.testing.assert_array_equal(found[row], definition[row])
