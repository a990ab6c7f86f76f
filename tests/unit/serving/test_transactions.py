"""What is accepted as a transaction, and as the time of one."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ml_project.contract_parts import MAX_MAGNITUDE
from ml_project.errors import FraudError
from ml_project.event_times import parse_event_time
from serving.batch import ARROW, CSV, PARQUET
from serving.errors import BodyTooLarge, InvalidFields, MalformedJson
from serving.transactions import (
    Chunk,
    TransactionParser,
    Transactions,
    event_times_of,
)
from tests.support.creditcard import CREDITCARD, ENGINEERED_FEATURES, RAW_FEATURES

PARSER = TransactionParser(CREDITCARD)

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
    parsed = PARSER.one(json.dumps(row).encode())
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
    assert outcome(PARSER.one, value).status in (400, 422)
    batch = outcome(partial(PARSER.batch, max_rows=2), value)
    if isinstance(batch, Chunk):
        assert isinstance(value, list)
        assert {error["row"] for error in batch.errors} == set(range(len(value)))
    else:
        assert batch.status in (400, 413, 422)


@given(usable, names, anything)
def test_one_strange_field_is_taken_or_named(row: dict, name: str, value: object) -> None:
    parsed = outcome(PARSER.one, row | {name: value})
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
        PARSER.one(body)


@given(st.lists(usable, max_size=5), st.data())
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
def test_a_batch_is_its_rows(rows: list[dict], data: st.DataObject) -> None:
    parsed = PARSER.batch(json.dumps(rows).encode(), max_rows=5)
    assert parsed.errors == []
    assert parsed.transactions.raw.shape == (len(rows), 30)
    for row, raw in zip(rows, parsed.transactions.raw, strict=True):
        assert PARSER.one(json.dumps(row).encode()).raw.tolist() == [raw.tolist()]
    if rows:
        bad = data.draw(st.integers(0, len(rows) - 1))
        rows[bad] = {name: value for name, value in rows[bad].items() if name != "V7"}
        parsed = PARSER.batch(json.dumps(rows).encode(), max_rows=5)
        assert parsed.errors == [{"row": bad, "field": "V7", "message": "Field required"}]
        assert parsed.rows.tolist() == [place for place in range(len(rows)) if place != bad]


def test_rows_are_counted_before_they_are_looked_at() -> None:
    with pytest.raises(BodyTooLarge, match="3 transactions or more; at most 2"):
        PARSER.batch(b"[1, 2, 3]", max_rows=2)


def test_a_name_that_no_database_holds_is_refused_by_its_field() -> None:
    row = dict.fromkeys(RAW_FEATURES, 1.0) | {"transaction_id": "a\0b"}
    with pytest.raises(InvalidFields) as refused:
        PARSER.one(json.dumps(row).encode())
    assert refused.value.errors == [{"field": "transaction_id", "message": "Name should have no NUL character"}]


def test_names_of_unknown_fields_are_cut() -> None:
    with pytest.raises(InvalidFields) as refused:
        PARSER.one(json.dumps({"x" * 10_000: 1}).encode())
    assert {"field": "x" * 64, "message": "Unknown field"} in refused.value.errors


MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROW = dict.fromkeys(RAW_FEATURES, 1.0)


@pytest.mark.parametrize(
    "text",
    ["2026-01-02T03:04:05Z", "2026-01-02t03:04:05z", "2026-01-02 05:04:05+02:00", "2026-01-02T03:04:05.000000999Z"],
)
def test_rfc_3339_in_any_zone(text: str) -> None:
    parsed = PARSER.one(json.dumps(ROW | {"event_time": text}).encode())
    assert parsed.event_times == [MOMENT]
    assert parsed.event_times[0].tzinfo is UTC  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-02T03:04:05",
        "2026-01-02",
        "1767322000",
        1767322000,
        True,
        "",
        "2026-13-02T03:04:05Z",
        {},
        "0001-01-01T00:00:00+01:00",
        "2026-01-02T03:04:60Z",
        "now",
    ],
)
def test_anything_else_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidFields) as refused:
        PARSER.one(json.dumps(ROW | {"event_time": value}).encode())
    (fault,) = refused.value.errors
    assert fault["field"] == "event_time"
    assert fault["message"].startswith("Event time should be")


def test_none_is_no_event_time_and_one_row_may_say_what_others_do_not() -> None:
    assert PARSER.one(json.dumps(ROW | {"event_time": None}).encode()).event_times == []
    rows = [ROW, ROW | {"event_time": "2026-01-02T03:04:05Z"}]
    parsed = PARSER.batch(json.dumps(rows).encode(), max_rows=5)
    assert parsed.transactions.event_times == [None, MOMENT]
    assert parsed.transactions.take([1]).event_times == [MOMENT]


def test_columns_of_timestamps_of_any_unit_and_of_text() -> None:
    naive = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001
    for unit in ("s", "ms", "us", "ns"):
        assert event_times_of(pa.array([naive, None], pa.timestamp(unit))) == [MOMENT, None]
        assert event_times_of(pa.array([MOMENT], pa.timestamp(unit, "Europe/Berlin"))) == [MOMENT]
    assert event_times_of(pa.array(["2026-01-02 03:04:05", "2026-01-02T03:04:05Z", ""])) == [MOMENT, MOMENT, None]
    (fault,) = event_times_of(pa.array([2**61], pa.timestamp("us")))
    assert isinstance(fault, ValueError)
    with pytest.raises(ValueError, match="Event time should be"):
        parse_event_time("2026-01-02T03:04:05")


def files(rows: list[dict[str, Any]]) -> dict[str, bytes]:
    table = pa.Table.from_pylist([{**row, "event_time": datetime.fromisoformat(row["event_time"])} for row in rows])
    stream, file = io.BytesIO(), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    parquet.write_table(table, file)
    header = ",".join(rows[0])
    lines = [",".join(str(value) for value in row.values()) for row in rows]
    quoted = lines[0].replace("card-0", '"card-\n0"')
    return {
        CSV: "\n".join([header, *lines]).encode(),
        f"{CSV}; read=slow": "\n".join([header, quoted, *lines[1:]]).encode(),
        ARROW: stream.getvalue(),
        PARQUET: file.getvalue(),
    }


def test_every_format_brings_it_to_the_store(gateway, legitimate) -> None:
    rows = [
        {**legitimate, "transaction_id": f"card-{number}", "event_time": f"2026-01-0{number + 1}T03:04:05+00:00"}
        for number in range(3)
    ]
    bodies = {"application/json": json.dumps(rows).encode(), **files(rows)}
    for place, (media_type, body) in enumerate(bodies.items()):
        renamed = body.replace(b"card-", f"c{place:03d}-".encode())
        answer = gateway.client.post(
            "/predict-batch",
            content=renamed,
            headers={"Content-Type": media_type.split(";")[0], "Accept": "application/json"},
        )
        assert answer.status_code == 200, answer.text
        kept = [gateway.client.get(f"/predictions/{each['prediction_id']}").json() for each in answer.json()]
        assert [each["event_time"][:10] for each in kept] == ["2026-01-01", "2026-01-02", "2026-01-03"], media_type


def test_a_single_one_is_kept_and_another_time_is_another_transaction(gateway, legitimate) -> None:
    body = {**legitimate, "transaction_id": "single", "event_time": "2026-01-02T03:04:05Z"}
    answer = gateway.client.post("/predict", json=body).json()
    kept = gateway.client.get(f"/predictions/{answer['prediction_id']}").json()
    assert datetime.fromisoformat(kept["event_time"]) == MOMENT
    again = gateway.client.post("/predict", json=body | {"event_time": "2026-01-02T04:04:05+01:00"})
    assert again.json()["prediction_id"] == answer["prediction_id"]
    assert gateway.client.post("/predict", json=body | {"event_time": "2026-01-02T04:04:05Z"}).status_code == 409


def test_a_bad_cell_is_its_rows_fault(gateway, legitimate) -> None:
    rows = [{**legitimate, "event_time": "yesterday"}, {**legitimate, "event_time": "2026-01-02 03:04:05"}]
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    answer = gateway.client.post(
        "/predict-batch?on_error=skip",
        content="\n".join(lines),
        headers={"Content-Type": CSV, "Accept": "application/json"},
    ).json()
    assert answer[0] == {"row": 2, "error": answer[0]["error"]}
    assert "event_time: Event time should be" in answer[0]["error"]
    assert answer[1]["decision"] == "APPROVE"
