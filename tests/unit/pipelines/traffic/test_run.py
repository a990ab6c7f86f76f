"""Sending against a small server that fails on purpose."""

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ml_project.errors import InvalidInput, Unavailable
from pipelines.traffic.run import GatewayClient, Progress, SendOptions, send
from pipelines.traffic.source import TrafficTransaction

START = datetime(2026, 3, 1, tzinfo=UTC)


class Gateway:
    """Keeps what it is sent; answers with the given statuses first."""

    def __init__(self, *failures: int) -> None:
        self.failures = list(failures)
        self.transactions: list[str] = []
        self.labels: dict[str, str] = {}
        self.keys: set[str | None] = set()
        self.url = ""

    def answer(self, path: str, body: Any) -> Any:
        if path == "/feedback":
            self.labels |= {item["transaction_id"]: item["label"] for item in body}
            return [{"outcome": "added"} for _ in body]
        rows = body if isinstance(body, list) else [body]
        self.transactions += [row["transaction_id"] for row in rows]
        answers = [
            {"decision": "REVIEW" if row["V14"] < -3 else "APPROVE", "prediction_id": row["transaction_id"]}
            for row in rows
        ]
        return answers if isinstance(body, list) else answers[0]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    state = Gateway()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.keys.add(self.headers["Authorization"])
            status = state.failures.pop(0) if state.failures else 200
            content = json.dumps(state.answer(self.path, body) if status == 200 else {"detail": "said so"}).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def traffic(hours: int) -> list[TrafficTransaction]:
    """One an hour; every tenth is a fraud, of which every other one raises an alert."""
    return [
        TrafficTransaction(
            f"t{hour}",
            START + timedelta(hours=hour),
            hour % 10 == 0,
            {"transaction_id": f"t{hour}", "V14": -4.0 if hour % 20 == 0 else 0.0},
        )
        for hour in range(hours)
    ]


def run(
    gateway: Gateway, sent: list[TrafficTransaction], how: SendOptions, patience: float = 5.0
) -> tuple[Progress, int]:
    progress = Progress()

    async def work() -> int:
        async with GatewayClient(gateway.url, "secret", how.connections, patience) as client:
            await send(iter(sent), client, how, progress)
            return client.retries

    return progress, asyncio.run(work())


@pytest.mark.parametrize("batch", [1, 7])
def test_everything_is_sent_once_and_counted(gateway: Gateway, batch: int) -> None:
    progress, retries = run(gateway, traffic(100), SendOptions(batch=batch, connections=3))
    assert sorted(gateway.transactions) == sorted(f"t{hour}" for hour in range(100))
    assert (progress.sent, progress.frauds, progress.alerts, progress.labels, retries) == (100, 10, 5, 0, 0)
    assert gateway.keys == {"Bearer secret"}


def test_labels_come_when_their_time_has_come(gateway: Gateway) -> None:
    recent = [
        TrafficTransaction(
            each.transaction_id, each.event_time - START + datetime.now(UTC) - timedelta(hours=100), *rest
        )
        for each in traffic(100)
        for rest in [(each.fraud, each.body)]
    ]
    how = SendOptions(batch=10, connections=1, label_delay=timedelta(hours=50.5), review_sample_rate=0)
    progress, _retries = run(gateway, recent, how)
    assert gateway.labels == {f"t{hour}": "fraud" for hour in range(0, 50, 10)}
    assert progress.labels == 5
    assert len(progress.waiting) == 5


def test_reviewers_see_a_sample_of_the_rest(gateway: Gateway) -> None:
    how = SendOptions(batch=100, connections=1, label_delay=timedelta(0), review_sample_rate=0.2)
    run(gateway, traffic(500), how)
    legitimate = [name for name, label in gateway.labels.items() if label == "legitimate"]
    assert 60 < len(legitimate) < 120


def test_a_gateway_in_trouble_is_asked_again(gateway: Gateway) -> None:
    gateway.failures = [503, 429]
    progress, retries = run(gateway, traffic(10), SendOptions(batch=10, connections=1))
    assert retries == 2
    assert progress.sent == len(gateway.transactions) == 10


@pytest.mark.parametrize(("status", "words"), [(401, "--key"), (409, "another --seed"), (422, "said so")])
def test_what_another_try_would_not_change_ends_it(gateway: Gateway, status: int, words: str) -> None:
    gateway.failures = [status]
    with pytest.raises(InvalidInput, match=words):
        run(gateway, traffic(10), SendOptions(batch=10, connections=1))


def test_patience_ends(gateway: Gateway) -> None:
    gateway.failures = [503] * 20
    with pytest.raises(Unavailable, match="503 said so"):
        run(gateway, traffic(1), SendOptions(), patience=0.25)


def test_a_rate_is_kept(gateway: Gateway) -> None:
    progress, _retries = run(gateway, traffic(15), SendOptions(rate=50, connections=4))
    assert progress.sent == 15
    assert progress.seconds >= 10 / 50
