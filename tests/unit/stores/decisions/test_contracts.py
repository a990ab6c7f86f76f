"""Contracts kept beside decisions: several in one database, read again without their files, and brought from before."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select

from ml_project.contract import Contract
from ml_project.contract_file import parse_contract
from ml_project.errors import InvalidInput
from ml_project.policies import Thresholds
from ml_project.scorer import Scores
from pipelines.monitoring.kept_decisions import raw_values, read_for_training
from serving.predictions import Predictions, chunk_of_many, records_of
from serving.transactions import TransactionParser, Transactions
from stores.decisions import (
    Chunk,
    Conflict,
    DecisionRecord,
    DecisionStore,
    KeptContract,
    LabelItem,
    PageFilter,
    ShadowDecision,
    Spool,
    Stored,
)
from stores.decisions.archive import CONTRACTS
from stores.decisions.records import TEXTS, pack_inputs, to_row, unpack_inputs
from stores.decisions.schema import bundles, contracts, predictions
from stores.decisions.segments import new_segment_id
from tests.support.creditcard import CREDITCARD, KEPT, RAW_FEATURES
from tests.support.shop import CARDS, COUNTRIES, SHOP, SHOP_YAML, VISITS

Make = Callable[..., DecisionRecord]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SHOP_KEPT = KeptContract.of(SHOP)
SHOP_BUNDLE = "5" * 64


def shop_record(make_record: Make, **fields: object) -> DecisionRecord:
    given = {"contract": SHOP_KEPT, "bundle_digest": SHOP_BUNDLE, "inputs": (60.0, 12.5, 1 / 3, -4.0, 0.1, 7.0)}
    return make_record(**given | fields)


def shop_chunk(make_chunk: Callable[..., Chunk], rows: int = 4, **fields: object) -> Chunk:
    raw = np.arange(rows * 6, dtype=float).reshape(rows, 6) / 3
    return make_chunk(rows, **{"contract": SHOP_KEPT, "bundle_digest": SHOP_BUNDLE, "raw": raw, **fields})


def stored(outcomes: list[Stored | Conflict]) -> list[tuple[str, bool]]:
    assert all(isinstance(each, Stored) for each in outcomes), outcomes
    return [(each.record.prediction_id, each.repeated) for each in outcomes if isinstance(each, Stored)]


TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]))
FIELDS = st.lists(st.sampled_from(["number", "integer", "boolean", "timestamp", "category", "string"]), min_size=1)


@given(FIELDS, st.data())
def test_packed_inputs_are_exact(types: list[str], data: st.DataObject) -> None:
    contract = KeptContract("any", 1, "d", tuple((f"f{place}", type_) for place, type_ in enumerate(types)), "{}")
    values = tuple(data.draw(TEXT if type_ in TEXTS else st.floats()) for type_ in types)
    back = unpack_inputs(pack_inputs(values, contract), contract)
    assert [repr(value) for value in back] == [repr(value) for value in values]


def test_inputs_of_the_public_table_are_what_they_always_were(make_record: Make) -> None:
    """So that no row has to be rewritten, and none has become larger."""
    record = make_record()
    packed = pack_inputs(record.inputs, KEPT)
    assert packed == np.array(record.inputs, dtype="<f8").tobytes()
    assert len(packed) == 8 * len(RAW_FEATURES)


def test_a_decision_needs_no_contract_file_to_be_read(store: DecisionStore, make_record: Make) -> None:
    names = ("amount", "cents", "weekend", "channel", "card", "at")
    types = ("number", "integer", "boolean", "category", "string", "timestamp")
    contract = bank(*zip(names, types, strict=True))
    moment = datetime(2026, 3, 1, 12, 30, 0, 123457, tzinfo=UTC)
    full = make_record(
        contract=contract, bundle_digest="1" * 64, inputs=(0.1, 1999.0, 1.0, "Web ✓", "c\n1", moment.timestamp())
    )
    nothing = replace(make_record(), contract=contract, bundle_digest="1" * 64)
    nothing = replace(nothing, inputs=(math.nan, math.nan, math.nan, None, None, math.nan))
    store.add([full, nothing])
    found = store.find_all([full.prediction_id, nothing.prediction_id])
    record = found[full.prediction_id].record
    assert record == full
    assert record.contract == contract
    assert record.values == {
        "amount": 0.1,
        "cents": 1999,
        "weekend": True,
        "channel": "Web ✓",
        "card": "c\n1",
        "at": "2026-03-01T12:30:00.123457+00:00",
    }
    assert found[nothing.prediction_id].record.values == dict.fromkeys(names)


def bank(*fields: tuple[str, str]) -> KeptContract:
    """A contract of some fields."""
    content = json.dumps({"contract": "bank"})
    return KeptContract("bank", 3, hashlib.sha256(content.encode()).hexdigest(), fields, content)


def test_a_chunk_with_texts_comes_back(store: DecisionStore, make_chunk: Callable[..., Chunk], tmp_path: Path) -> None:
    contract = bank(("amount", "number"), ("channel", "category"))
    raw, channels = np.array([[1.5, math.nan], [math.nan, math.nan]]), ["web", None]
    texts = {"channel": channels}
    chunk = make_chunk(2, contract=contract, bundle_digest="1" * 64, raw=raw, texts=texts, transaction_ids=["a", "b"])
    store.add_segment(chunk)
    again = replace(chunk, segment_id=new_segment_id())
    spool = Spool(tmp_path / "spool")
    spool.append([again])
    spool.close()
    assert spool.replay(store).duplicates == 2
    for each in (chunk, again):
        found = store.find_all(each.prediction_ids)
        rows = [found[prediction_id].record.inputs for prediction_id in each.prediction_ids]
        assert [repr(row) for row in rows] == ["(1.5, 'web')", "(nan, None)"]


def test_several_contracts_in_one_database(
    store: DecisionStore, make_record: Make, make_chunk: Callable[..., Chunk], tmp_path: Path
) -> None:
    """Each reads its own decisions only, in tables, pages, figures, exports and by its clients' transaction_ids."""
    now = datetime.now(UTC) - timedelta(minutes=5)
    mine = make_record(prediction_id=new_segment_id(), received_at=now, transaction_id="t", review_rate=1.0)
    theirs = shop_record(
        make_record, prediction_id=new_segment_id(), received_at=now, transaction_id="t", review_rate=1.0
    )
    bulk, other_bulk = (
        make_chunk(4, received_at=now),
        shop_chunk(make_chunk, received_at=now, transaction_ids=list("tuvw")),
    )
    assert stored(store.add([mine, theirs])) == [(mine.prediction_id, False), (theirs.prediction_id, False)]
    assert stored(store.add([shop_record(make_record, transaction_id="t")])) == [(theirs.prediction_id, True)]
    assert store.add_segment(bulk).firsts == {}
    assert store.add_segment(other_bulk).conflicts == {0: theirs.prediction_id}

    for contract, record, chunk in ((CREDITCARD, mine, bulk), (SHOP, theirs, other_bulk)):
        tables = list(store.tables(contract))
        ids = [name for table in tables for name in table["prediction_id"].to_pylist()]
        assert ids == [record.prediction_id, *chunk.prediction_ids]
        values = np.concatenate([table.select(contract.raw_fields).to_pandas().to_numpy() for table in tables])
        assert values.tolist() == [list(record.inputs), *chunk.raw.tolist()]
        page = store.page(PageFilter(contract=contract.contract)).items
        assert {each.record.prediction_id for each in page} == {record.prediction_id, chunk.prediction_ids[1]}
        found = store.find_transaction("t", contract.contract)
        assert found is not None
        assert found.record == record
        item = LabelItem(transaction_id="t", label=1)
        [outcome] = store.label([item], "ann", contract=contract.contract)
        assert outcome.prediction_id == record.prediction_id
        store.add_shadow([ShadowDecision(chunk.prediction_ids[0], now, "9", "c" * 64, *[0.5] * 4, "REVIEW")])
        edges = [now - timedelta(hours=1), now + timedelta(hours=1)]
        [window] = store.slices(edges, 100, contract.contract)
        assert sum(window.decisions.values()) == 5
        assert {digest for sample in window.samples for digest in sample.digests} == {
            record.bundle_digest,
            chunk.bundle_digest,
        }
        assert [each.prediction_id for each in store.outcomes(*edges, contract.contract)] == [record.prediction_id]
        assert [each.rows for each in store.shadowed(*edges, contract.contract)] == [1]
    assert len(store.page(PageFilter()).items) == 4

    exported = store.purge(SHOP, now + timedelta(hours=1), tmp_path)
    assert exported.rows == 5
    assert list(store.tables(SHOP)) == []
    assert sum(len(table) for table in store.tables(CREDITCARD)) == 5
    assert len(list(store.shadow_tables())) == 1
    assert stored(store.add([shop_record(make_record, transaction_id="t")]))[0][1] is False
    assert exported.decisions is not None
    described = json.loads(pq.read_schema(exported.decisions).metadata[CONTRACTS])
    assert described["bundles"] == {SHOP_BUNDLE: SHOP.digest}
    assert Contract(**described["contracts"][SHOP.digest]) == SHOP
    frame = pd.read_parquet(exported.decisions)
    assert {str(frame[name].dtype) for name in SHOP.raw_fields} == {"float64"}
    assert str(frame["received_at"].dtype).startswith("datetime64[")


def decided(contract: Contract, transactions: Transactions) -> Predictions:
    """Predictions as a gateway of the contract makes them."""
    model: Any = SimpleNamespace(
        contract=contract,
        kept_contract=KeptContract.of(contract),
        scorer=SimpleNamespace(thresholds=Thresholds(0.5, 0.9)),
        version="1",
        live=SimpleNamespace(digest=contract.digest),
    )
    rows = len(transactions.ids)
    return Predictions(model, transactions, Scores(*np.full((4, rows), 0.1)), np.zeros(rows, dtype=np.int8), {})


VISIT = {"channel": "fax", "country": "NA", "items": 3, "new customer": True, "newsletter": None, "risk": 0.1}
LEARNT = VISITS.with_values({"country": COUNTRIES})
CARD = {"transaction": "a", "at": "2026-01-01T12:00:00.25+01:00", "card no.": "1", "cents": 1999, "risk": -1}


@pytest.mark.parametrize(("contract", "row"), [(LEARNT, VISIT), (CARDS, CARD | {"since": "2020-02-03"}), (CARDS, CARD)])
def test_fields_of_every_type(store: DecisionStore, contract: Contract, row: dict[str, Any], tmp_path: Path) -> None:
    """Single and bulk, by pages, tables and exports; and scored again as they were."""
    parser = TransactionParser(contract)
    one = parser.one(json.dumps(row).encode())
    request: Any = SimpleNamespace(latency_ms=1.0, request_id="r", key_name=None, trial=False)
    [record] = records_of(decided(contract, one), [request], 0.0)
    second = {"transaction": "b"} if contract is CARDS else {}
    rows = [row | second, row | second | {"risk": 2.5} | ({"transaction": "c"} if second else {})]
    bulk = parser.batch(json.dumps(rows).encode(), 10).transactions
    chunk = chunk_of_many(decided(contract, bulk), request, 0.0)
    assert stored(store.add([record]))[0][1] is False
    store.add_segment(chunk)
    raw = np.concatenate([one.raw, bulk.raw])
    found = store.find_all([record.prediction_id, *chunk.prediction_ids])
    assert np.array_equal([each.record.scored for each in found.values()], raw, equal_nan=True)
    for each in found.values():
        assert [each.record.values[name] for name in contract.entities] == [row[name] for name in contract.entities]
        sent = {name: each.record.values[name] for name in row if name in contract.raw_fields and name != "risk"}
        assert {**sent, "at": None, "since": None} == {
            **{name: value for name, value in row.items() if name in sent},
            "at": None,
            "since": None,
        }
    tables = list(store.tables(contract))
    assert np.array_equal(np.concatenate([raw_values(table, contract) for table in tables]), raw, equal_nan=True)
    assert {name for table in tables for name in contract.entities for name in table[name].to_pylist()} == {
        row[name] for name in contract.entities
    }
    frame = read_for_training(tables, contract)
    assert len(frame) == 3
    [window] = store.slices([record.received_at - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)], 10)
    sampled = np.concatenate([sample.raw[contract.digest] for sample in window.samples])
    assert np.array_equal(sampled, raw, equal_nan=True)
    assert store.contract_of(contract.digest) == contract

    exported = store.purge(contract, datetime.now(UTC) + timedelta(hours=1), tmp_path)
    assert exported.decisions is not None
    frame = pd.read_parquet(exported.decisions, dtype_backend="numpy_nullable")
    kinds = {"number": "Float64", "integer": "Int64", "boolean": "boolean", "category": "category"}
    for name in contract.entities:
        assert frame[name].tolist() == [row[name]] * 3
    for field in contract.scored_fields:
        if field.type == "timestamp":
            assert str(frame[field.name].dtype).startswith("datetime64[")
        else:
            assert str(frame[field.name].dtype) == kinds[field.type], field.name


def test_a_spooled_decision_with_every_type(store: DecisionStore, tmp_path: Path) -> None:
    request: Any = SimpleNamespace(latency_ms=1.0, request_id="r", key_name=None, trial=False)
    parser, spool = TransactionParser(LEARNT), Spool(tmp_path / "spool")
    [record] = records_of(decided(LEARNT, parser.one(json.dumps(VISIT).encode())), [request], 0.0)
    chunk = chunk_of_many(decided(CARDS, TransactionParser(CARDS).one(json.dumps(CARD).encode())), request, 0.0)
    spool.append([record, chunk])
    spool.close()
    assert spool.replay(store).added == 2
    found = store.find(record.prediction_id)
    assert found is not None
    assert found.record.values == record.values
    assert record.values["channel"] == "fax"
    [bulk] = store.find_all(chunk.prediction_ids).values()
    assert (bulk.record.values["at"], bulk.record.values["card no."]) == ("2026-01-01T11:00:00.250000+00:00", "1")


def test_an_optional_field_that_came_later(store: DecisionStore, make_record: Make) -> None:
    more = SHOP_YAML.replace(
        "  class: {type: number}", "  colour: {type: category, required: false}\n  class: {type: number}"
    )
    grown = parse_contract(f"version: 2\n{more}".encode(), "shop.yaml")
    store.add([shop_record(make_record)])
    (table,) = store.tables(grown)
    assert table["colour"].null_count == 1
    assert table["class"].to_pylist() == [1 / 3]


@pytest.mark.parametrize("name", ["t\x1fu", "shop\x1ft", "\x1f"])
def test_no_name_of_one_contracts_transaction_is_anothers(store: DecisionStore, make_record: Make, name: str) -> None:
    first, second = make_record(transaction_id=name), shop_record(make_record, transaction_id="t")
    third = shop_record(make_record, transaction_id=name)
    assert [repeated for _name, repeated in stored(store.add([first, second, third]))] == [False] * 3


def test_a_changed_contract_is_said(store: DecisionStore, make_record: Make, make_chunk: Callable[..., Chunk]) -> None:
    more = SHOP_YAML.replace("  class: {type: number}", "  colour: {type: number}\n  class: {type: number}")
    grown = parse_contract(f"version: 2\n{more}".encode(), "shop.yaml")
    for add in (lambda: store.add([shop_record(make_record)]), lambda: store.add_segment(shop_chunk(make_chunk))):
        add()
        with pytest.raises(InvalidInput, match=r"under shop, version 1, in which the field colour, .*was not there"):
            list(store.tables(grown))
    again = parse_contract(f"version: 3\n{SHOP_YAML}".encode(), "shop.yaml")
    store.add([shop_record(make_record, contract=KeptContract.of(again), bundle_digest="6" * 64)])
    assert sum(len(table) for table in store.tables(again)) == 1 + 4 + 1


def test_versions_in_one_table(store: DecisionStore, make_record: Make) -> None:
    """Fields may stand in another order, and some may have gone; the rows stay in the order of time."""
    lines = SHOP_YAML.splitlines(keepends=True)
    turned = parse_contract("".join(["version: 2\n", *lines[:4], lines[5], lines[4], *lines[6:]]).encode(), "shop.yaml")
    assert turned.raw_fields != SHOP.raw_fields
    assert {*turned.raw_fields} == {*SHOP.raw_fields}
    swapped = (60.0, 12.5, -4.0, 1 / 3, 0.1, 7.0)
    two = KeptContract.of(turned)
    records = [
        shop_record(make_record, contract=two, bundle_digest="6" * 64, inputs=swapped)
        if place % 2
        else shop_record(make_record)
        for place in range(6)
    ]
    store.add(records)
    for contract in (SHOP, turned):
        (table,) = store.tables(contract)
        assert table["prediction_id"].to_pylist() == [record.prediction_id for record in records]
        assert table["class"].to_pylist() == [1 / 3] * 6
        assert table["1st"].to_pylist() == [-4.0] * 6


def test_a_contract_is_kept_with_the_decision_or_not_at_all(
    engine: Engine, make_record: Make, make_chunk: Callable[..., Chunk]
) -> None:
    """What a rolled back transaction added is not remembered as kept, nor what a database lost."""
    store = DecisionStore(engine)
    record = shop_record(make_record)
    store.add([make_record()])
    with pytest.raises(Exception, match=r"NOT NULL|too long"):
        store.replay_segment(shop_chunk(make_chunk, decisions=["x" * 20] * 3 + [None]))  # no decision
    store.add([record])
    assert store.find(record.prediction_id) is not None
    with engine.begin() as connection:
        kept = connection.execute(select(contracts.c.name, contracts.c.scope).order_by(contracts.c.scope)).all()
        assert [tuple(row) for row in kept] == [(CREDITCARD.contract, ""), ("shop", "shop")]
        connection.execute(delete(bundles))
    engine.dispose()  # as where the database was replaced: connections are new
    store.add([shop_record(make_record)])
    found = store.find(record.prediction_id)
    assert found is not None
    assert found.record.contract == SHOP_KEPT


def test_decisions_without_their_contract_are_said(engine: Engine, make_record: Make) -> None:
    store = DecisionStore(engine)
    record = make_record()
    with engine.begin() as connection:
        connection.execute(predictions.insert().values(**to_row(record)))
    with pytest.raises(InvalidInput, match=r"without their contract\. A gateway of an earlier release"):
        store.find(record.prediction_id)
    store.add([make_record()])
    assert store.find(record.prediction_id) is not None


def test_the_spool_brings_contracts_along(store: DecisionStore, make_record: Make, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    record = shop_record(make_record, transaction_id="t")
    spool.append([make_record(), record])
    spool.append([record])
    spool.close()
    assert spool.replay(store).added == 2
    found = store.find(record.prediction_id)
    assert found is not None
    assert found.record == record


def test_a_contract_that_was_lost_keeps_the_spool_waiting(
    store: DecisionStore, make_record: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path / "spool")
    record = shop_record(make_record)
    spool.append([record])
    spool.close()
    path = spool.folder / f"{SHOP.digest}.contract"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"shop", b"shot"))
    assert spool.replay(store).added == 0
    assert spool.set_aside().unreadable == 1
    assert "cannot be read" in caplog.text
    path.write_bytes(content)
    spool.recall()
    assert spool.replay(store).added == 1
