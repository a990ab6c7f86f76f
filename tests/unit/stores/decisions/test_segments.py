from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy import Engine, update

from ml_project.errors import InvalidInput
from stores.decisions import (
    Chunk,
    Conflict,
    DamagedSegment,
    DecisionRecord,
    DecisionStore,
    LabelItem,
    Labelled,
    PageFilter,
    Stored,
)
from stores.decisions.schema import segments
from stores.decisions.segments import locate, new_segment_id, segment_prediction_ids
from tests.support.creditcard import CREDITCARD

MakeChunk = Callable[..., Chunk]


def test_ids_lead_to_their_segment() -> None:
    segment_id = new_segment_id()
    ids = segment_prediction_ids(segment_id, 300)
    assert ids[0] == segment_id
    assert len(set(ids)) == 300
    assert ids == sorted(ids)
    assert all(len(name) == 36 and name[14] == "7" and name[19] in "89ab" for name in ids)
    assert locate(ids[299]) == (segment_id, 299)
    assert locate("short") is None


@pytest.mark.parametrize("row", ["00000A", "+0000a", "0_000a", " 0000a", "-00001", "-0000a", "0x000a", "00000\u0661"])
def test_an_id_has_one_spelling(store: DecisionStore, make_chunk: MakeChunk, row: str) -> None:
    chunk = make_chunk()
    store.add_segment(chunk)
    alias = chunk.segment_id[:-6] + row
    assert locate(alias) is None
    assert store.find(alias) is None
    assert store.label([LabelItem(label=1, prediction_id=alias)], "ann") == [Labelled(None, "unknown")]
    assert (
        store.label([LabelItem(label=1, prediction_id=chunk.prediction_ids[10].upper())], "ann")[0].outcome == "unknown"
    )
    assert store.labels(chunk.prediction_ids[10]) == []


def test_any_row_is_found_by_both_its_names(store: DecisionStore, make_chunk: MakeChunk) -> None:
    times = [None, datetime(2026, 5, 1, tzinfo=UTC)] * 50
    names = [None if row % 3 else f"bulk-{row}" for row in range(100)]
    chunk = make_chunk(transaction_ids=names, event_times=times)
    kept = store.add_segment(chunk)
    assert kept.prediction_ids == chunk.prediction_ids
    assert kept.firsts == kept.conflicts == {}
    for row in (0, 1, 42, 99):
        found = store.find(chunk.prediction_ids[row])
        assert found is not None
        assert found.segment_id == chunk.segment_id
        record = found.record
        assert record.prediction_id == chunk.prediction_ids[row]
        assert record.inputs == tuple(chunk.raw[row].tolist())
        assert record.hybrid_score == chunk.scores[2, row]
        assert (record.model_version, record.key_name, record.received_at) == ("4", "batch", chunk.received_at)
        assert (record.transaction_id, record.event_time) == (names[row], times[row])
        assert (record.decision, record.reasons is not None) == (
            ("REVIEW", True) if row % 10 == 1 else ("APPROVE", False)
        )
    assert store.find_transaction("bulk-42") == store.find(chunk.prediction_ids[42])
    beyond = segment_prediction_ids(chunk.segment_id, 101)[100]
    assert store.find(beyond) is None


def test_pages_show_alerts_and_the_sample(store: DecisionStore, make_chunk: MakeChunk) -> None:
    chunk = make_chunk(rows=30, sample=frozenset({5}), sample_rate=0.25)
    store.add_segment(chunk)
    shown = store.page(PageFilter()).items
    assert {found.record.prediction_id for found in shown} == {chunk.prediction_ids[row] for row in (1, 5, 11, 21)}
    assert store.find(chunk.prediction_ids[11]) in shown
    rates = {found.record.prediction_id: found.record.review_rate for found in shown}
    assert rates == {chunk.prediction_ids[row]: 0.25 if row == 5 else 1.0 for row in (1, 5, 11, 21)}
    assert len(store.page(PageFilter(for_review=True)).items) == 4
    (table,) = store.tables(CREDITCARD)
    assert table["review_rate"].to_pylist() == [rates.get(name) for name in chunk.prediction_ids]


def test_repeated_and_conflicting_rows(
    store: DecisionStore, make_chunk: MakeChunk, make_record: Callable[..., DecisionRecord]
) -> None:
    single = make_record(1.0, transaction_id="single")
    store.add([single])
    raw = np.vstack([single.inputs, single.inputs, np.arange(60.0).reshape(2, 30), np.arange(30.0)])
    names = ["single", "new", "new", None, "again"]
    chunk = make_chunk(rows=5, raw=raw, transaction_ids=names, reasons={})
    kept = store.add_segment(chunk)
    assert kept.firsts == {0: single.prediction_id}
    assert kept.conflicts == {2: chunk.prediction_ids[1]}
    found = store.find(chunk.prediction_ids[0])
    assert found is not None
    assert found.duplicate_of == single.prediction_id
    refused = store.find(chunk.prediction_ids[2])
    assert refused is not None
    assert refused.conflicts_with == chunk.prediction_ids[1]
    # and the other way round: a single prediction after the bulk one
    repeated, conflict = store.add([make_record(1.0, transaction_id="new"), make_record(3.0, transaction_id="again")])
    assert isinstance(repeated, Stored)
    assert repeated.record.prediction_id == chunk.prediction_ids[1]
    assert isinstance(conflict, Conflict)


def test_a_chunk_sent_again_leaves_nothing_new(store: DecisionStore, make_chunk: MakeChunk) -> None:
    names = [f"t{row}" for row in range(100)]
    first = make_chunk(transaction_ids=names)
    again = make_chunk(transaction_ids=names, raw=first.raw)
    store.add_segment(first)
    kept = store.add_segment(again)
    assert list(kept.firsts.values()) == first.prediction_ids
    assert store.find(again.prediction_ids[1]) is None
    assert len(store.page(PageFilter()).items) == 10


def test_a_damaged_segment_is_noticed(engine: Engine, store: DecisionStore, make_chunk: MakeChunk) -> None:
    chunk = make_chunk()
    store.add_segment(chunk)
    spoilt = bytearray(chunk.content)
    spoilt[len(spoilt) // 2] ^= 1
    with engine.begin() as connection:
        connection.execute(update(segments).values(content=bytes(spoilt)))
    with pytest.raises(DamagedSegment, match=chunk.segment_id):
        store.find(chunk.prediction_ids[0])


def test_an_empty_chunk_is_refused(make_chunk: MakeChunk) -> None:
    with pytest.raises(InvalidInput, match="1 to 16777216 rows, not 0"):
        make_chunk(rows=0)
