"""Log lines as JSON, and one for each request."""

import asyncio
import io
import json
import logging
import sys
import time

import pytest

from serving.telemetry.request import JsonLines, LinesByTurn


def line(message: str, **extra: object) -> dict:
    record = logging.LogRecord("serving.requests", logging.INFO, "", 0, message, (), extra.pop("exc_info", None))
    record.__dict__.update(extra)
    text = JsonLines().format(record)
    assert text.splitlines() == [text]
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


@pytest.mark.parametrize("text", ['a\nb"c', "a\u2028b\u0085c", "half of a character: \ud800"])
def test_hostile_text_stays_on_one_line(text: str) -> None:
    assert line(text)["message"] == text


class Written(io.StringIO):
    """A stream that notes how often it was written to, and may be closed by its reader."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.broken = False

    def write(self, text: str) -> int:
        if self.broken:
            raise BrokenPipeError
        self.parts.append(text)
        return len(text)


def test_lines_of_one_turn_are_one_write() -> None:
    stream = Written()
    handler = LinesByTurn(stream)

    def say(text: str) -> None:
        handler.handle(logging.LogRecord("any", logging.INFO, "", 0, text, (), None))

    async def turns() -> None:
        say("one")
        say("two")
        assert stream.parts == []
        await asyncio.sleep(0)
        say("three")
        await asyncio.to_thread(say, "four")
        stream.broken = True
        say("nobody reads this")
        await asyncio.sleep(0)
        stream.broken = False

    asyncio.run(turns())
    say("five")
    assert stream.parts == ["one\ntwo\n", "three\nfour\n", "five\n"]


def test_exceptions_are_whole() -> None:
    try:
        raise ValueError("reason")
    except ValueError:
        written = line("Unexpected error", exc_info=sys.exc_info())
    assert written["exception"].startswith("Traceback")
    assert "ValueError: reason" in written["exception"]


LOGGER = "serving.requests"


class BreakingScorer:
    """Works until it is told not to."""

    def __init__(self, scorer) -> None:
        self._scorer = scorer
        self.bundle, self.thresholds, self.contract = scorer.bundle, scorer.thresholds, scorer.contract
        self.broken = False

    def score(self, raw):
        if self.broken:
            raise RuntimeError("the secret inside")
        return self._scorer.score(raw)


def logged(caplog: pytest.LogCaptureFixture, count: int = 1) -> list[tuple[str, str, dict]]:
    """The lines of the gateway, which writes each just after the answer went out."""
    deadline = time.monotonic() + 60
    while True:
        found = [(r.levelname, r.getMessage(), r.fields) for r in caplog.records if r.name == LOGGER]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, f"{len(found)} lines instead of {count}"
        time.sleep(0.005)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, LOGGER)
    return caplog


def test_a_sane_request_id_is_kept(gateway) -> None:
    response = gateway.client.get("/health", headers={"X-Request-ID": "Abc-1.2_3"})
    assert response.headers["x-request-id"] == "Abc-1.2_3"


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", 'a"b', "ä".encode()])
def test_any_other_request_id_is_replaced(gateway, sent) -> None:
    made = gateway.client.get("/health", headers={"X-Request-ID": sent}).headers["x-request-id"]
    assert made.startswith("req_")
    assert len(made) == 20
    assert made != gateway.client.get("/health").headers["x-request-id"]


def test_a_prediction_is_one_line(gateway, fraudulent, lines) -> None:
    response = gateway.client.post("/predict", json=fraudulent, headers={"X-Request-ID": "r1"})
    [(level, message, fields)] = logged(lines)
    assert (level, message) == ("INFO", "Prediction successful")
    assert 0 < fields.pop("latency_ms") < 1_000
    answer = response.json()
    assert fields == {
        "request_id": "r1",
        "fraud_score": answer["hybrid_score"],
        "decision": "DECLINE",
        "model_version": "3",
        "prediction_id": answer["prediction_id"],
        "method": "POST",
        "path": "/predict",
        "status": 200,
    }


def test_a_batch_is_one_line(gateway, legitimate, fraudulent, lines) -> None:
    gateway.client.post("/predict-batch", json=[legitimate, fraudulent, legitimate])
    [(level, message, fields)] = logged(lines)
    assert (level, message) == ("INFO", "Batch prediction successful")
    assert (fields["rows"], fields["alerts"]) == (3, 1)


def test_other_requests_are_silent_unless_refused(gateway, lines) -> None:
    gateway.client.get("/health")
    gateway.client.get("/nowhere")
    assert [(level, message, fields["status"]) for level, message, fields in logged(lines)] == [
        ("WARNING", "Request refused", 404)
    ]


def test_inputs_are_not_logged(gateway, legitimate, lines) -> None:
    gateway.client.post("/predict", json=legitimate | {"V1": "4929-1234", "transaction_id": "tx-secret"})
    gateway.client.post("/predict", json=legitimate | {"Amount": 4711.25, "transaction_id": "tx-secret"})
    text = str(logged(lines, 2))
    for value in ("4929-1234", "tx-secret", "4711.25"):
        assert value not in text


def test_unexpected_errors_are_logged_whole_and_answered_plainly(serve, source, scorer, legitimate, lines) -> None:
    breaking = BreakingScorer(scorer)
    source.promote(1, breaking)
    with serve(source) as gateway:
        gateway.wait_for(1)
        breaking.broken = True
        for path, body in (("/predict", legitimate), ("/predict-batch", [legitimate])):
            response = gateway.client.post(path, json=body, headers={"X-Request-ID": "r2"})
            assert response.status_code == 500
            assert response.headers["x-request-id"] == "r2"
            assert response.json() == {
                "type": "about:blank",
                "title": "Internal Server Error",
                "status": 500,
                "detail": "Something unexpected happened; the log has it under the request id.",
                "request_id": "r2",
            }
    errors = [record for record in lines.records if record.levelname == "ERROR"]
    assert [record.exc_info[1].args for record in errors] == [("the secret inside",)] * 2
    assert errors[0].fields["request_id"] == "r2"
