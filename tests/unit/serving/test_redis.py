"""Rate limits shared through a real Redis, and what clients are told while it is away."""

import asyncio
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from ml_project.errors import Unavailable
from serving.rate_limits import RateLimit
from tests.support.machine import missing
from tests.unit.serving.processes import Process, free_port


class RedisServer:
    """A server of our own without files, with a password."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"redis://:s3cret@127.0.0.1:{self._port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            missing("redis-server")
        options = ["--port", str(self._port), "--requirepass", "s3cret", "--save", "", "--dir", str(self._folder)]
        self.process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        client, deadline = redis.Redis.from_url(self.url), time.monotonic() + 10
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                break
        client.close()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


def statuses(clients: list[httpx.Client], count: int) -> list[int]:
    return [clients[number % len(clients)].get("/features").status_code for number in range(count)]


def test_two_gateways_share_the_counts(serve, source, server) -> None:
    settings = {"rate_limit": "5/hour", "rate_limit_store": server.url}
    with serve(source, **settings) as one, serve(source, **settings) as other:
        assert statuses([one.client, other.client], 8) == [200] * 5 + [429] * 3
        assert 3_500 < int(other.client.get("/features").headers["retry-after"]) <= 3_600


def test_while_redis_is_away_it_is_503_and_after_that_it_recovers(serve, source, server) -> None:
    with serve(source, rate_limit="1000/hour", rate_limit_store=server.url) as running:
        assert statuses([running.client], 2) == [200, 200]
        server.stop()
        refused = running.client.get("/features")
        assert refused.status_code == 503
        assert "FRAUD_RATE_LIMIT_STORE" in refused.json()["detail"]
        assert "s3cret" not in refused.text
        assert refused.headers["retry-after"] == "5"
        assert running.client.get("/health").status_code == 200
        server.start()
        assert statuses([running.client], 3) == [200] * 3


def test_a_restart_between_two_requests_is_not_noticed(serve, source, server) -> None:
    with serve(source, rate_limit="1000/hour", rate_limit_store=server.url) as running:
        assert statuses([running.client], 2) == [200, 200]
        server.stop()
        server.start()
        assert statuses([running.client], 2) == [200, 200]


def test_a_redis_that_hangs_is_given_up(server) -> None:
    async def wait_for_it() -> None:
        limit = RateLimit("1000/hour", server.url)
        try:
            assert await limit.wait("key:a") == 0
            server.process.send_signal(signal.SIGSTOP)
            with pytest.raises(Unavailable, match="does not answer as it should"):
                await asyncio.wait_for(limit.wait("key:a"), 5)
            server.process.send_signal(signal.SIGCONT)
            assert await limit.wait("key:a") == 0
        finally:
            await limit.close()

    asyncio.run(wait_for_it())


def test_a_wrong_password_is_503(serve, source, server) -> None:
    with serve(source, rate_limit="1000/hour", rate_limit_store=server.url.replace("s3cret", "wr0ng")) as running:
        refused = running.client.get("/features")
        assert refused.status_code == 503
        assert "AuthenticationError" in refused.json()["detail"]


@pytest.mark.slow
def test_workers_share_the_counts(server, tmp_path) -> None:
    store = {"FRAUD_RATE_LIMIT": "5/hour", "FRAUD_RATE_LIMIT_STORE": server.url}
    process = Process(tmp_path, "--workers", "2", **store)

    def answering() -> set[int]:
        lines = process.output.read_text().splitlines()
        return {number for number in (0, 1) for line in lines if "startup complete" in line and f'r": {number}' in line}

    try:
        process.wait_until(lambda: answering() == {0, 1}, 60)
        url = f"http://127.0.0.1:{process.port}/features"
        assert [httpx.get(url).status_code for _ in range(12)] == [200] * 5 + [429] * 7
        assert "FRAUD_RATE_LIMIT_STORE" not in process.output.read_text()
        assert process.stop()[0] == 0
    finally:
        process.end()
