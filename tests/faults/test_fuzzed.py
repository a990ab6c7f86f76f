"""Changed bytes in files, bundles and requests: refused or taken, never a 5xx, a traceback, a crash or a gigabyte."""

import http.client
import os
import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_project.bundle import Bundle
from serving.batch import JSON
from stores.releases import open_releases
from tests.faults.forking_gateway import UNKNOWN
from tests.faults.fuzzing import MOST_BYTES, Request, changed, changed_request, peak_memory, requests, tables
from tests.support.creditcard import TRANSACTION
from tests.support.gateway import KEY, Gateway
from tests.support.machine import ROOT
from tests.support.sizes import few_or_full

CLIENTS = 4
SEED = 20
MOST_SECONDS = 120
"""Of one answer; longer than any file of a few kilobytes should take on any machine."""


class ForkingGateway(Gateway):
    """Whose children that unpack files cost little."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._command = [each.replace("serving", "tests.faults.forking_gateway") for each in self._command]


@pytest.fixture
def gateway(bundles: list[Bundle], tmp_path: Path) -> Iterator[Gateway]:
    """A gateway on a release, without MLflow; whatever was done to it, it is well at the end."""
    made = ForkingGateway(tmp_path)
    open_releases(str(made.releases)).publish(bundles[0], "fraud-ensemble", 1, {"passed": True}, datetime.now(UTC))
    with made as running:
        running.wait_for_version(1)
        yield running
        assert running.process.poll() is None
        # under a name of its own: changed values may have been the first of the other
        answer = running.client.post("/predict", json=TRANSACTION | {"transaction_id": "after all"}).json()
        assert answer["model_version"] == "1"
        log = running.log.read_text()
        assert "Traceback" not in log
        assert UNKNOWN not in log
        assert peak_memory(running.process.pid) < MOST_BYTES


class Sender:
    """One client on a connection that is kept; it counts answers and keeps the requests that failed."""

    def __init__(self, port: int, folder: Path, name: int) -> None:
        self.statuses: Counter[int] = Counter()
        self._port, self._failed = port, folder / f"failed-{name}"
        self._connection = self._connect()
        self.failures: list[str] = []

    def close(self) -> None:
        self._connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=MOST_SECONDS)

    def send(self, request: Request) -> None:
        method, target, headers, body = request
        for attempt in (1, 2):
            try:
                self._connection.request(method, target, body, headers | {"X-API-Key": KEY})
                answer = self._connection.getresponse()
                answer.read()
                break
            except (ConnectionError, http.client.HTTPException) as error:
                # the server may have closed it after the answer before
                self._connection.close()
                self._connection = self._connect()
                if attempt == 2:
                    return self._fail(request, repr(error))
            except OSError as error:
                return self._fail(request, repr(error))
        self.statuses[answer.status] += 1
        if answer.status >= 500:
            self._fail(request, str(answer.status))
        return None

    def _fail(self, request: Request, why: str) -> None:
        self._failed.with_suffix(f".{len(self.failures)}").write_bytes(request[3])
        self.failures.append(f"{why}: {request[:3]}, body in {self._failed}.{len(self.failures)}")

    def garbage(self, content: bytes) -> None:
        """Bytes that need not be HTTP, on a connection of their own, whose end is not waited for."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=MOST_SECONDS) as connection:
            connection.sendall(content)


def send_all(gateway: Gateway, folder: Path, count: int, make: Callable[[random.Random], Request]) -> Counter[int]:
    """Statuses of as many requests, from several clients at a time."""

    def work(number: int) -> Sender:
        rng, sender = random.Random(SEED + number), Sender(gateway.port, folder, number)
        with closing(sender):
            for _ in range(count // CLIENTS):
                request = make(rng)
                sender.send(request)
                if rng.random() < 0.05:
                    line = f"{request[0]} {request[1]} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(request[3])}\r\n\r\n"
                    sender.garbage(changed(line.encode() + request[3], rng))
        return sender

    with ThreadPoolExecutor(CLIENTS) as pool:
        senders = list(pool.map(work, range(CLIENTS)))
    assert [failure for sender in senders for failure in sender.failures] == []
    return sum((sender.statuses for sender in senders), Counter())


@pytest.mark.parametrize("files", few_or_full(120, 10_000))
def test_fuzzed_files(files: int, gateway: Gateway, tmp_path: Path) -> None:
    seeds = tables()

    def make(rng: random.Random) -> Request:
        kind, content = rng.choice(seeds)
        query = rng.choice(("", "?on_error=skip", "?explain=true"))
        return "POST", f"/predict-batch{query}", {"Content-Type": kind}, changed(content, rng)

    statuses = send_all(gateway, tmp_path, files, make)
    assert statuses.total() == files
    assert statuses[200] > 0
    assert statuses[200] < files


@pytest.mark.parametrize("count", few_or_full(500, 100_000))
def test_fuzzed_requests(count: int, gateway: Gateway, tmp_path: Path) -> None:
    seeds = requests()
    statuses = send_all(gateway, tmp_path, count, lambda rng: changed_request(rng.choice(seeds), rng))
    assert statuses.total() == count
    assert {200, 404, 405, 422} <= statuses.keys()


@pytest.mark.parametrize("files", few_or_full(60, 3_000))
@pytest.mark.parametrize("name", ["ensemble.onnx", "booster.json", "manifest.json"])
def test_fuzzed_bundles(files: int, name: str, bundles: list[Bundle], tmp_path: Path) -> None:
    """Read, checked, scored and explained in a child, as before the first swap; every one may be refused."""
    bundles[0].write(tmp_path / "good")
    refused, _taken = read_all("fuzz_bundles.py", tmp_path, name, files)
    assert refused > 0


@pytest.mark.parametrize("files", few_or_full(200, 10_000))
def test_fuzzed_tables(files: int, tmp_path: Path) -> None:
    """What the pipelines read of a table, before they look at its rows and after."""
    refused, taken = read_all("fuzz_tables.py", tmp_path, files)
    assert refused > 0
    assert taken > 0


def read_all(program: str, folder: Path, *arguments: object) -> tuple[int, int]:
    """How often a program refused and took what it was to read, which all went well."""
    command = [sys.executable, str(Path(__file__).with_name(program)), *map(str, (folder, *arguments, SEED))]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stderr[-2000:]}; the file is in {folder}"
    refused, taken, memory = map(int, done.stdout.split())
    assert memory < MOST_BYTES
    return refused, taken


@pytest.mark.slow
def test_the_seeds_are_good(gateway: Gateway) -> None:
    for kind, content in tables():
        answer = gateway.client.post("/predict-batch", content=content, headers={"Content-Type": kind})
        assert answer.status_code == 200, (kind, answer.text)
    assert JSON in {kind for kind, _content in tables()}
    for method, target, headers, body in requests():
        answer = gateway.client.request(method, target, content=body, headers=headers)
        absent = target == "/model" or target.startswith("/predictions/")
        assert answer.status_code == (404 if absent else 200), (method, target, answer.text)
