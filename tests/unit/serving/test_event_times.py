"""Event times that cannot be right are refused at the door, alike in every format; the bounds are settings."""

import io
import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet

CSV, PARQUET, JSON = "text/csv", "application/vnd.apache.parquet", "application/json"
ARROW = "application/vnd.apache.arrow.stream"
FAULT = "Event time should lie between 2000-01-01T00:00:00Z and "


@pytest.mark.parametrize("when", ["0001-01-02", "1600-01-01", "1970-01-01", "9999-12-30"])
def test_one_transaction(gateway, legitimate, when) -> None:
    answer = gateway.client.post("/predict", json=legitimate | {"event_time": f"{when}T00:00:00Z"})
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["field"] == "event_time"
    assert fault["message"].startswith(FAULT)


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_moments_that_no_calendar_has(gateway, legitimate, unit) -> None:
    """Microseconds under the name of seconds, for one: Arrow would raise an error, or count anew from the first."""
    given = {name: [value] for name, value in legitimate.items()}
    table = pa.table(given | {"event_time": pa.array([2**60], pa.timestamp(unit, "UTC"))})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer = gateway.client.post("/predict-batch", content=sink.getvalue(), headers={"Content-Type": ARROW})
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == ["event_time"]


def test_a_clock_that_runs_a_little_ahead_is_believed(gateway, legitimate) -> None:
    for hours, status in ((23, 200), (25, 422)):
        ahead = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
        assert gateway.client.post("/predict", json=legitimate | {"event_time": ahead}).status_code == status


@pytest.mark.parametrize("media_type", [JSON, CSV, PARQUET])
def test_rows_of_a_batch(gateway, legitimate, media_type) -> None:
    times = ["2026-01-02T03:04:05Z", "1970-01-01T00:00:00Z", None, "9999-12-30T00:00:00Z"]
    rows = [{**legitimate, "event_time": when} for when in times]
    body = io.BytesIO()
    if media_type == JSON:
        body.write(json.dumps(rows).encode())
    elif media_type == CSV:
        arrow_csv.write_csv(pa.Table.from_pylist(rows), body)
    else:
        dated = [{**row, "event_time": row["event_time"] and datetime.fromisoformat(row["event_time"])} for row in rows]
        parquet.write_table(pa.Table.from_pylist(dated), body)

    def sent(on_error: str):
        return gateway.client.post(
            f"/predict-batch?on_error={on_error}",
            content=body.getvalue(),
            headers={"Content-Type": media_type, "Accept": JSON},
        )

    refused = sent("fail")
    first = 2 if media_type == CSV else 0
    assert refused.status_code == 422
    assert [(each["row"], each["field"]) for each in refused.json()["errors"]] == [
        (first + 1, "event_time"),
        (first + 3, "event_time"),
    ]
    answers = sent("skip").json()
    assert ["error" in answer for answer in answers] == [False, True, False, True]
    assert FAULT in answers[1]["error"]
