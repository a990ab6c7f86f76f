"""Challengers' decisions: kept apart, read by window, exported and purged with the champion's."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stores.decisions import DecisionRecord, DecisionStore, ShadowDecision
from stores.decisions import shadow as shadow_module

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=30)


def shadowed(record: DecisionRecord) -> ShadowDecision:
    return ShadowDecision(record.prediction_id, record.received_at, "4", "c" * 64, 0.1, 0.8, 0.7, 0.3, "REVIEW")


def ids(tables: Any) -> list[str]:
    return [name for table in tables for name in table.column("prediction_id").to_pylist()]


def test_they_join_the_champions_of_the_same_window(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_module, "ROWS", 2)
    records = [make_record(received_at=START + timedelta(hours=hour)) for hour in range(6)]
    store.add(records)
    store.add_shadow([shadowed(record) for record in records])
    window = START + timedelta(hours=1), START + timedelta(hours=5)
    assert ids(store.shadow_tables(*window)) == ids(store.tables(*window)) == [r.prediction_id for r in records[1:5]]
    (row,) = next(iter(store.shadow_tables(until=window[0]))).to_pylist()
    assert row == shadowed(records[0])._asdict()
    assert store.find(records[0].prediction_id).record == records[0]  # type: ignore[union-attr]


def test_purged_with_the_champions(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], tmp_path: Path
) -> None:
    old, new = make_record(), make_record(received_at=LATER)
    store.add([old, new])
    store.add_shadow([shadowed(old), shadowed(new)])
    kept: list[Path] = []
    exported = store.purge(LATER, tmp_path / "archive", kept.append)
    assert exported.shadow is not None
    assert exported.shadow in kept
    assert pq.read_table(exported.shadow).to_pylist() == [shadowed(old)._asdict()]
    assert ids(store.shadow_tables()) == [new.prediction_id]


def test_without_their_champions_they_are_purged_too(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], tmp_path: Path
) -> None:
    store.add_shadow([shadowed(make_record())])
    exported = store.purge(LATER, tmp_path)
    assert (exported.decisions, exported.shadow is None) == (None, False)
    assert ids(store.shadow_tables()) == []
