"""When a transaction happened: taken from every format, kept, and part of what a repetition must equal."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from ml_project.schema import RAW_FEATURES
from serving.batch import ARROW, CSV, PARQUET
from serving.errors import InvalidFields
from serving.transactions import event_times_of, parse_batch, parse_event_time, parse_transaction

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROW = dict.fromkeys(RAW_FEATURES, 1.0)


@pytest.mark.parametrize(
    "text",
    ["2026-01-02T03:04:05Z", "2026-01-02t03:04:05z", "2026-01-02 05:04:05+02:00", "2026-01-02T03:04:05.000000999Z"],
)
def test_rfc_3339_in_any_zone(text: str) -> None:
    parsed = parse_transaction(json.dumps(ROW | {"event_time": text}).encode())
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
        parse_transaction(json.dumps(ROW | {"event_time": value}).encode())
    (fault,) = refused.value.errors
    assert fault["field"] == "event_time"
    assert fault["message"].startswith("Event time should be")


def test_none_is_no_event_time_and_one_row_may_say_what_others_do_not() -> None:
    assert parse_transaction(json.dumps(ROW | {"event_time": None}).encode()).event_times == []
    rows = [ROW, ROW | {"event_time": "2026-01-02T03:04:05Z"}]
    parsed = parse_batch(json.dumps(rows).encode(), max_rows=5)
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
