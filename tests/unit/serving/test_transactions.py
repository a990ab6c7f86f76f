"""Whatever JSON comes in, it is taken whole or refused by name."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_project.errors import FraudError
from ml_project.schema import ENGINEERED_FEATURES, RAW_FEATURES
from serving.errors import BodyTooLarge, InvalidFields, MalformedJson
from serving.transactions import MAX_MAGNITUDE, Chunk, Transactions, parse_batch, parse_transaction

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)
names = st.sampled_from([*RAW_FEATURES, *ENGINEERED_FEATURES, "transaction_id", "event_time", "Class", "", "__proto__"])
usable = st.fixed_dictionaries(
    {
        name: st.floats(0 if name in ("Time", "Amount") else -MAX_MAGNITUDE, MAX_MAGNITUDE) | st.integers(0, 10**15)
        for name in RAW_FEATURES
    }
)


@given(usable)
def test_usable_transactions_are_taken_as_they_are(row: dict) -> None:
    parsed = parse_transaction(json.dumps(row).encode())
    assert parsed.raw.dtype == np.float64
    assert parsed.raw.tolist() == [[float(row[name]) for name in RAW_FEATURES]]
    assert parsed.ids == [None]


def outcome(parse: Callable[[bytes], Any], value: object) -> Any:
    try:
        return parse(json.dumps(value).encode())
    except FraudError as error:
        return error


@given(anything)
def test_any_json_value_is_answered(value: object) -> None:
    assert outcome(parse_transaction, value).status in (400, 422)
    batch = outcome(partial(parse_batch, max_rows=2), value)
    if isinstance(batch, Chunk):
        assert isinstance(value, list)
        assert {error["row"] for error in batch.errors} == set(range(len(value)))
    else:
        assert batch.status in (400, 413, 422)


@given(usable, names, anything)
def test_one_strange_field_is_taken_or_named(row: dict, name: str, value: object) -> None:
    parsed = outcome(parse_transaction, row | {name: value})
    if isinstance(parsed, InvalidFields):
        assert name not in ENGINEERED_FEATURES
        assert {fault["field"] for fault in parsed.errors} == {name}
    elif isinstance(parsed, Transactions):
        assert np.isfinite(parsed.raw).all()
        number = isinstance(value, int | float) and not isinstance(value, bool)
        assert number or name in ENGINEERED_FEATURES or name in ("transaction_id", "event_time")
    else:
        # JSON has no lone surrogates, though Python writes them.
        assert isinstance(parsed, MalformedJson)


@given(st.binary(max_size=50))
def test_any_bytes_are_answered(body: bytes) -> None:
    with pytest.raises((MalformedJson, InvalidFields)):
        parse_transaction(body)


@given(st.lists(usable, max_size=5), st.data())
@settings(max_examples=50)
def test_a_batch_is_its_rows(rows: list[dict], data: st.DataObject) -> None:
    parsed = parse_batch(json.dumps(rows).encode(), max_rows=5)
    assert parsed.errors == []
    assert parsed.transactions.raw.shape == (len(rows), 30)
    for row, raw in zip(rows, parsed.transactions.raw, strict=True):
        assert parse_transaction(json.dumps(row).encode()).raw.tolist() == [raw.tolist()]
    if rows:
        bad = data.draw(st.integers(0, len(rows) - 1))
        rows[bad] = {name: value for name, value in rows[bad].items() if name != "V7"}
        parsed = parse_batch(json.dumps(rows).encode(), max_rows=5)
        assert parsed.errors == [{"row": bad, "field": "V7", "message": "Field required"}]
        assert parsed.rows.tolist() == [place for place in range(len(rows)) if place != bad]


def test_rows_are_counted_before_they_are_looked_at() -> None:
    with pytest.raises(BodyTooLarge, match="3 transactions; at most 2"):
        parse_batch(b"[1, 2, 3]", max_rows=2)


def test_a_name_that_no_database_holds_is_refused_by_its_field() -> None:
    row = dict.fromkeys(RAW_FEATURES, 1.0) | {"transaction_id": "a\0b"}
    with pytest.raises(InvalidFields) as refused:
        parse_transaction(json.dumps(row).encode())
    assert refused.value.errors == [{"field": "transaction_id", "message": "Name should have no NUL character"}]


def test_names_of_unknown_fields_are_cut() -> None:
    with pytest.raises(InvalidFields) as refused:
        parse_transaction(json.dumps({"x" * 10_000: 1}).encode())
    assert {"field": "x" * 64, "message": "Unknown field"} in refused.value.errors
