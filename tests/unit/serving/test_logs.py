"""The shape of a log line."""

import json
import logging
import sys

from serving.telemetry.request import JsonLines


def line(message: str, **extra: object) -> dict:
    record = logging.LogRecord("serving.requests", logging.INFO, "", 0, message, (), extra.pop("exc_info", None))
    record.__dict__.update(extra)
    text = JsonLines().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_fields_stand_in_the_order_that_searches_expect() -> None:
    fields = {"request_id": "req_1", "latency_ms": 0.4, "fraud_score": 1.5e-06, "decision": "APPROVE", "path": "/"}
    written = line("Prediction successful", fields=fields)
    assert list(written)[:7] == [
        "timestamp",
        "level",
        "message",
        "request_id",
        "latency_ms",
        "fraud_score",
        "decision",
    ]
    assert written["timestamp"].endswith("+00:00")
    assert written["level"] == "INFO"
    assert written["fraud_score"] == 1.5e-06


def test_hostile_text_stays_on_one_line() -> None:
    assert line('a\nb"c')["message"] == 'a\nb"c'


def test_exceptions_are_whole() -> None:
    try:
        raise ValueError("reason")
    except ValueError:
        written = line("Unexpected error", exc_info=sys.exc_info())
    assert written["exception"].startswith("Traceback")
    assert "ValueError: reason" in written["exception"]
