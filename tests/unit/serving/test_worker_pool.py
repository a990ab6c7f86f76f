"""Several workers as operators meet them: one gateway in every respect, whichever of them answers or dies."""

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from serving.routes.operations import signature
from serving.telemetry.multiprocess import metrics_folder
from stores.releases import open_releases
from tests.unit.serving.processes import Process

SECRET = "a-secret-of-at-least-32-characters"
REQUESTS = 'fraud_request_duration_seconds_count{route="/predict",status="2xx"}'
Started = Callable[..., Process]


@pytest.fixture(scope="module")
def publish(scorer: Any) -> Callable[[Path, int], None]:
    def publish(folder: Path, version: int) -> None:
        releases = open_releases(str(folder / "releases"))
        releases.publish(scorer.bundle, "fraud-ensemble", version, {}, datetime.now(UTC))

    return publish


@pytest.fixture(scope="module")
def start(publish: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Gateways of two workers that answer by version 12."""
    processes: list[Process] = []

    def start(**extra: str) -> Process:
        folder = tmp_path_factory.mktemp("workers")
        publish(folder, 12)
        processes.append(Process(folder, "--workers", "2", **extra))
        processes[-1].wait_until(lambda: metrics(processes[-1]).get("fraud_workers") == 2, 60)
        processes[-1].wait_until(lambda: metrics(processes[-1])["fraud_model_loaded"] == 1, 60)
        return processes[-1]

    yield start
    for process in processes:
        process.end()


@pytest.fixture(scope="module")
def running(start: Started) -> Process:
    """One that tests leave as they found it."""
    return start(FRAUD_WEBHOOK_SECRET=SECRET, FRAUD_POLL_SECONDS="3600")


def metrics(process: Process) -> dict[str, float]:
    """By name and labels, as the text has them."""
    lines = ask(process, "GET", "/metrics").text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _space, value in pairs}


def ask(process: Process, method: str, path: str, **options: Any) -> httpx.Response:
    """On a connection of its own, which any worker may accept."""
    return httpx.request(method, f"http://127.0.0.1:{process.port}{path}", timeout=60, **options)


def workers_of(process: Process) -> list[psutil.Process]:
    """The workers' processes; Python's resource tracker is a child too."""
    found = []
    for child in psutil.Process(process.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # or a zombie
            if "spawn_main" in str(child.cmdline()):
                found.append(child)
    return found


def predict(process: Process, row: dict[str, Any], count: int) -> None:
    for _ in range(count):
        assert ask(process, "POST", "/predict", json=row).status_code == 200


def test_metrics_add_up(running, legitimate, fraudulent) -> None:
    swaps = metrics(running)['fraud_model_swaps_total{outcome="live"}']
    assert swaps >= 2  # each worker's first version, and what another test may have published
    predict(running, legitimate, 20)
    predict(running, fraudulent, 10)
    running.wait_until(lambda: metrics(running)[REQUESTS] == 30)
    for _ in range(10):
        found = metrics(running)
        assert found[REQUESTS] == 30
        assert found['fraud_decisions_total{decision="APPROVE"}'] == 20
        assert found['fraud_rows_total{kind="single"}'] == 30
        assert found['fraud_model_swaps_total{outcome="live"}'] == swaps
        assert found["process_resident_memory_bytes"] > 100e6
        body = ask(running, "GET", "/metrics", headers={"Accept": "application/json"}).json()
        assert (body["total_requests"], body["legitimate_predictions"], body["fraud_predictions"]) == (30, 20, 10)
        assert 0 < body["average_latency_ms"] <= body["p99_latency_ms"] < 5_000
        assert body["error_rate"] == 0


def test_a_webhook_wakes_all_workers(running, publish) -> None:
    publish(Path(running.output).parent, 13)
    event = {
        "entity": "model_version_alias",
        "action": "created",
        "data": {"name": "fraud-ensemble", "alias": "production", "version": "13"},
    }
    body, timestamp = json.dumps(event).encode(), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "X-MLflow-Delivery-Id": "one",
        "X-MLflow-Timestamp": timestamp,
        "X-MLflow-Signature": signature(SECRET, "one", timestamp, body),
    }
    assert ask(running, "POST", "/hooks/registry", content=body, headers=headers).json() == {"outcome": "looking"}

    def versions() -> dict[str, float]:
        named = {name: value for name, value in metrics(running).items() if name.startswith("fraud_model_info")}
        return {version: value for name, value in named.items() for version in ("12", "13") if f'"{version}"' in name}

    running.wait_until(lambda: versions() == {"12": 0, "13": 2})


@pytest.mark.slow
def test_requests_in_progress_are_finished_on_sigterm(start, legitimate) -> None:
    process = start(FRAUD_RATE_LIMIT="100000/minute")
    body = json.dumps([legitimate]).encode()
    head = "POST /predict-batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", process.port)) as client:
        client.sendall(f"{head}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        assert client.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"  # a worker has begun with it
        client.sendall(body[:50])
        process.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        client.sendall(body[50:])
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert process.process.wait(60) == 0
    lines = [json.loads(line) for line in process.output.read_text().splitlines()]
    assert sum("FRAUD_RATE_LIMIT_STORE" in line["message"] for line in lines) == 1
    assert not list((process.output.parent / "state" / "gateway").glob("metrics-*"))


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_stays_counted(start, legitimate) -> None:
    process = start()
    predict(process, legitimate, 20)
    process.wait_until(lambda: metrics(process)[REQUESTS] == 20)
    for worker in workers_of(process):
        known = {each.pid for each in workers_of(process)}
        os.kill(worker.pid, signal.SIGKILL)
        process.wait_until(lambda: len({each.pid for each in workers_of(process)} - known) == 1)  # noqa: B023
        process.wait_until(lambda: metrics(process).get("fraud_workers") == 2, 60)
        assert metrics(process)[REQUESTS] == 20
    predict(process, legitimate, 5)
    process.wait_until(lambda: metrics(process)[REQUESTS] == 25)
    assert "ended with -9; it is started again" in process.output.read_text()
    assert process.stop() == 0


@pytest.mark.slow
def test_ctrl_c_is_130_and_no_traceback(start) -> None:
    process = start()
    os.killpg(process.process.pid, signal.SIGINT)
    assert process.process.wait(60) == 130
    assert [line for line in process.output.read_text().splitlines() if "Traceback" in line] == []


@pytest.mark.slow
def test_ctrl_c_while_workers_start(tmp_path) -> None:
    process = Process(tmp_path, "--workers", "2")
    try:
        process.wait_until(lambda: bool(workers_of(process)))
        os.killpg(process.process.pid, signal.SIGINT)
        assert process.process.wait(60) == 130
        assert [line for line in process.output.read_text().splitlines() if "Traceback" in line] == []
    finally:
        process.end()


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_parent(start, tmp_path) -> None:
    process = start()
    workers = workers_of(process)
    assert len(workers) == 2
    process.process.kill()
    _gone, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []
    [left] = (process.output.parent / "state" / "gateway").glob("metrics-*")
    with metrics_folder(left.parent):
        assert not left.exists()


@pytest.mark.slow
def test_the_spool_of_killed_workers_is_brought_home(start, postgres_server, legitimate) -> None:
    process = start(FRAUD_DATABASE_URL=postgres_server.url)
    predict(process, legitimate, 1)
    postgres_server.stop()
    try:
        kept = [ask(process, "POST", "/predict", json=legitimate).json() for _ in range(10)]
        assert [answer for answer in kept if answer.get("kept") != "spool"] == []
        for worker in workers_of(process):
            os.kill(worker.pid, signal.SIGKILL)
    finally:
        postgres_server.start()
    for answer in kept:
        path = f"/predictions/{answer['prediction_id']}"
        process.wait_until(lambda: ask(process, "GET", path).status_code == 200, 60)  # noqa: B023
    process.wait_until(lambda: metrics(process)["fraud_store_spool_bytes"] == 0)
    assert process.stop() == 0
