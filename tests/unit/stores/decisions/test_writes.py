from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from ml_project.errors import InvalidInput
from stores.decisions import Chunk, DecisionRecord, DecisionStore, Label, LabelItem, Labelled

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_labels_are_history_and_the_newest_counts(
    store: DecisionStore, make_record: Callable[..., DecisionRecord]
) -> None:
    record = make_record(transaction_id="t")
    name = record.prediction_id
    store.add([record])
    by_id, by_transaction = LabelItem(label=1, prediction_id=name), LabelItem(label=1, transaction_id="t")
    assert store.label([by_id], "ann", "phone", NOON) == [Labelled(name, "added")]
    assert store.label([by_id, by_transaction], "ann") == [Labelled(name, "unchanged")] * 2
    assert store.label([LabelItem(label=0, transaction_id="t")], "bob", "chargeback", NOON) == [Labelled(name, "added")]
    assert store.label([by_id], "ann") == [Labelled(name, "unchanged")]  # a late repetition overrides nobody
    assert store.labels(name) == [Label(name, 1, NOON, "ann", "phone"), Label(name, 0, NOON, "bob", "chargeback")]
    found = store.find(name)
    assert found is not None
    assert found.label == Label(name, 0, NOON, "bob", "chargeback")
    assert store.label([LabelItem(label=0, prediction_id=name), by_id], "ann") == [Labelled(name, "added")] * 2
    assert [label.label for label in store.labels(name)] == [1, 0, 0, 1]


def test_bulk_rows_are_labelled_too(store: DecisionStore, make_chunk: Callable[..., Chunk]) -> None:
    chunk = make_chunk(transaction_ids=[f"t{row}" for row in range(100)])
    store.add_segment(chunk)
    items = [LabelItem(label=1, prediction_id=chunk.prediction_ids[7]), LabelItem(label=0, transaction_id="t8")]
    assert [done.outcome for done in store.label(items, "ann")] == ["added", "added"]
    found = store.find_transaction("t8")
    assert found is not None
    assert found.label is not None
    assert found.label.label == 0


def test_unknown_ones_are_told_apart(store: DecisionStore, make_record: Callable[..., DecisionRecord]) -> None:
    record = make_record()
    store.add([record])
    items = [
        LabelItem(label=1, prediction_id="nobody"),
        LabelItem(label=1, transaction_id="nothing"),
        LabelItem(label=1, prediction_id=record.prediction_id),
    ]
    assert [done.outcome for done in store.label(items, "ann")] == ["unknown", "unknown", "added"]


def test_items_that_make_no_sense() -> None:
    with pytest.raises(InvalidInput, match="1 for fraud or 0"):
        LabelItem(label=2, prediction_id="a")
    with pytest.raises(InvalidInput, match="either"):
        LabelItem(label=1)
    with pytest.raises(InvalidInput, match="either"):
        LabelItem(label=1, prediction_id="a", transaction_id="b")
