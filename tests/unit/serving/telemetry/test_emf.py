"""CloudWatch's embedded metric format, as its specification wants it."""

import json
import logging
import time

import pytest

from serving.telemetry.emf import EmfLines
from serving.telemetry.request import JsonLines
from stores.emf import MOST_VALUES

LOGGER = "serving.telemetry.emf"
UNITS = {
    "Latency": "Milliseconds",
    "Requests": "Count",
    "Errors": "Count",
    "Approve": "Count",
    "Review": "Count",
    "Decline": "Count",
}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    logging.getLogger(LOGGER).setLevel(logging.NOTSET)
    return caplog


def written(lines: pytest.LogCaptureFixture, count: int) -> list[dict]:
    """The lines about requests, as CloudWatch gets them."""
    deadline = time.monotonic() + 60
    while True:
        records = [json.loads(JsonLines().format(record)) for record in lines.records if record.name == LOGGER]
        found = [line for line in records if "Requests" in line]
        if len(found) >= count:
            break
        assert time.monotonic() < deadline, f"{len(found)} lines instead of {count}"
        time.sleep(0.005)
    assert len(found) == count
    return found


def test_requests_of_a_while_are_one_line(serve, source, scorer, legitimate, fraudulent, lines) -> None:
    source.promote(1, scorer)
    before = time.time() * 1000
    with serve(source, emf_namespace="Fraud", log_level="ERROR") as gateway:
        gateway.wait_for(1)
        gateway.client.post("/predict", json=legitimate)
        gateway.client.post("/predict-batch", json=[legitimate, fraudulent])
        gateway.client.post("/predict", json={})
        gateway.client.get("/health")
    [line] = written(lines, 1)  # written as the gateway stops
    aws = line.pop("_aws")
    assert before <= aws.pop("Timestamp") <= time.time() * 1000
    assert aws == {
        "CloudWatchMetrics": [
            {
                "Namespace": "Fraud",
                "Dimensions": [["Model"]],
                "Metrics": [{"Name": name, "Unit": unit} for name, unit in UNITS.items()],
            }
        ]
    }
    assert len(line["Latency"]) == 3
    assert all(0 < value < 5_000 for value in line.pop("Latency"))
    del line["timestamp"]
    assert line == {
        "level": "INFO",
        "message": "Metrics",
        "Model": "fraud-ensemble",
        "Requests": 3,
        "Errors": 0,
        "Approve": 2,
        "Review": 0,
        "Decline": 1,
        "logger": LOGGER,
    }


def test_a_line_does_not_wait_for_ever(serve, source, legitimate, lines) -> None:
    with serve(source, emf_namespace="Fraud", emf_seconds=0.05) as gateway:
        gateway.client.post("/predict", json=legitimate)
        [line] = written(lines, 1)
        assert (line["Requests"], line["Errors"]) == (1, 1)


def test_the_present_is_written_every_minute(serve, source, scorer, lines, monkeypatch) -> None:
    def present() -> list[dict]:
        found = [json.loads(JsonLines().format(record)) for record in lines.records if record.name == LOGGER]
        return [line for line in found if "ModelLoaded" in line]

    def wait_until_loaded(loaded: int) -> None:
        deadline = time.monotonic() + 60
        while loaded not in {line["ModelLoaded"] for line in present()}:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    monkeypatch.setattr("serving.telemetry.emf.PRESENT_SECONDS", 0.05)
    with serve(source, emf_namespace="Fraud"):
        wait_until_loaded(0)
        source.promote(1, scorer)
        wait_until_loaded(1)
    last = present()[-1]
    assert [last[name] for name in ("ModelLoaded", "StoreWaiting", "SpoolBytes")] == [1, 0, 0]
    assert last["ModelLoaded"] is not True  # CloudWatch takes numbers only
    assert last["_aws"]["CloudWatchMetrics"][0]["Metrics"] == [
        {"Name": "ModelLoaded", "Unit": "Count"},
        {"Name": "StoreWaiting", "Unit": "Count"},
        {"Name": "SpoolBytes", "Unit": "Bytes"},
    ]


def test_off_by_default(serve, source, legitimate, lines) -> None:
    with serve(source) as gateway:
        gateway.client.post("/predict", json=legitimate)
    assert written(lines, 0) == []


def test_a_line_holds_no_more_values_than_the_format_allows(lines) -> None:
    emf = EmfLines("Fraud", "m")
    for request in range(MOST_VALUES + 1):
        emf.add(float(request), False, [1, 0, 2])
    emf.flush()
    emf.flush()
    first, second = written(lines, 2)
    assert first["Latency"] == list(range(MOST_VALUES))
    assert (first["Approve"], first["Decline"]) == (MOST_VALUES, 2 * MOST_VALUES)
    assert (second["Latency"], second["Approve"]) == ([MOST_VALUES], 1)
