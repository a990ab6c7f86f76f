"""API keys, scopes, and rate limits in this process and in Redis."""

import asyncio
import hashlib
import hmac
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from pydantic import ValidationError

from ml_project.errors import InvalidInput, Unavailable
from serving.access import RateLimit, key_in, scope_of
from serving.settings import GatewaySettings
from stores.decisions import Keys, open_engine
from stores.decisions.keys import KeyCopy
from tests.support.machine import missing
from tests.support.processes import free_port
from tests.unit.serving.processes import Process

BOOTSTRAP = secrets.token_urlsafe(32)


@pytest.fixture
def closed(serve, source, scorer, tmp_path):
    """A gateway that needs keys, and the keys in its database."""
    source.promote(3, scorer)
    with serve(source, state_dir=tmp_path, require_keys="true", bootstrap_key=BOOTSTRAP) as running:
        running.wait_for(3)
        assert running.client.get("/health").status_code == 200  # the database is open
        engine = open_engine(f"sqlite:///{tmp_path}/gateway/decisions.db")
        yield running.client, Keys(engine)
        engine.dispose()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def until(client: Any, status: int, path: str, key: str) -> None:
    deadline = time.monotonic() + 60
    while client.get(path, headers={"X-API-Key": key}).status_code != status:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_secrets_are_compared_in_constant_time(closed, legitimate, monkeypatch) -> None:
    """A comparison that ended at the first difference would tell a secret bit by bit; a key's hash is no choice of its
    bearer, and is compared so all the same."""
    client, _keys = closed
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, expected: bytes) -> bool:
        compared.append((given, expected))
        return given == expected

    monkeypatch.setattr(hmac, "compare_digest", compare)
    digest = hashlib.sha256(BOOTSTRAP.encode()).digest()
    assert client.post("/predict", json=legitimate, headers={"X-API-Key": BOOTSTRAP}).status_code == 200
    assert compared == [(digest, digest)]
    monkeypatch.setattr(KeyCopy, "current", lambda _self: (_ for _ in ()).throw(Unavailable("away", "wait")))
    almost = BOOTSTRAP[:-1] + ("a" if BOOTSTRAP[-1] != "a" else "b")
    assert client.post("/predict", json=legitimate, headers={"X-API-Key": almost}).status_code == 503
    assert compared[1:] == [(almost.encode(), BOOTSTRAP.encode())]


def test_without_a_key_in_force_it_is_401(closed, legitimate) -> None:
    client, _keys = closed
    for headers in ({}, {"X-API-Key": "wrong"}, bearer("wrong"), {"Authorization": f"Basic {BOOTSTRAP}"}):
        refused = client.post("/predict", json=legitimate, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == 'Bearer realm="fraud gateway"'
        assert refused.json()["request_id"] == refused.headers["x-request-id"]
    for path in ("/predictions", "/predictions/x", "/features", "/metrics", "/predict/", "/nothing"):
        assert client.get(path).status_code == 401, path
    assert client.post("/feedback", json={}).status_code == 401
    assert client.post("/predict-batch", json=[]).status_code == 401


def test_health_and_the_description_are_public(closed) -> None:
    client, _keys = closed
    for path in ("/health", "/health/live", "/health/ready", "/openapi.json"):
        assert client.get(path).status_code == 200


def test_the_bootstrap_key_may_do_everything(closed, legitimate) -> None:
    client, keys = closed
    assert client.post("/predict", json=legitimate, headers={"X-API-Key": BOOTSTRAP}).status_code == 200
    assert client.get("/predictions", headers=bearer(BOOTSTRAP)).status_code == 200
    [key] = keys.list()
    assert key.name.startswith("bootstrap-")
    assert BOOTSTRAP not in repr(key)


def test_a_missing_scope_is_403_and_named(closed, legitimate) -> None:
    client, keys = closed
    key = keys.create("till", ["predict"])
    until(client, 403, "/predictions", key)
    answer = client.post("/predict", json=legitimate, headers=bearer(key)).json()
    refused = client.post("/feedback", json={}, headers=bearer(key))
    assert refused.status_code == 403
    assert "'feedback'" in refused.json()["detail"]
    kept = client.get(f"/predictions/{answer['prediction_id']}", headers=bearer(BOOTSTRAP)).json()
    assert kept["key_name"] == "till"


def test_revocation_needs_no_restart(closed) -> None:
    client, keys = closed
    key = keys.create("gone", ["read"])
    until(client, 200, "/predictions", key)
    keys.revoke("gone")
    until(client, 401, "/predictions", key)


def test_the_first_key_closes_an_open_gateway(serve, source, tmp_path) -> None:
    with serve(source, state_dir=tmp_path) as running:
        assert running.client.get("/predictions").status_code == 200
        engine = open_engine(f"sqlite:///{tmp_path}/gateway/decisions.db")
        key = Keys(engine).create("first", ["read"])
        engine.dispose()
        until(running.client, 401, "/predictions", "")
        until(running.client, 200, "/predictions", key)


def test_open_to_others_is_refused() -> None:
    with pytest.raises(ValidationError, match="loopback addresses only"):
        GatewaySettings(host="0.0.0.0", require_keys="false")
    assert not GatewaySettings(host="0.0.0.0").on_loopback
    for host in ("localhost", "127.0.0.2", "::1"):
        assert GatewaySettings(host=host, require_keys="false").on_loopback
    with pytest.raises(ValidationError, match="at least 32"):
        GatewaySettings(bootstrap_key="short")
    assert "short" not in repr(GatewaySettings(bootstrap_key="short" * 8))


def test_paths_that_nobody_listed_need_a_key() -> None:
    assert [scope_of(path) for path in ("/", "/ui/app.js", "/docs", "/health/ready")] == [None] * 4
    assert [scope_of(path) for path in ("/healthy", "/docs2", "/predict", "/feedback")] == [
        "read",
        "read",
        "predict",
        "feedback",
    ]


def test_where_keys_are_looked_for() -> None:
    assert key_in([(b"x-api-key", b"a")]) == "a"
    assert key_in([(b"authorization", b"bearer  b ")]) == "b"
    assert key_in([(b"authorization", b"Basic b")]) is None
    assert key_in([(b"x-api-key", b"")]) is None


def test_above_the_limit_it_is_429_with_the_time_to_wait(serve, source) -> None:
    with serve(source, rate_limit="2/hour") as running:
        assert [running.client.get("/features").status_code for _ in range(2)] == [200, 200]
        refused = running.client.get("/features")
        assert refused.status_code == 429
        assert 3_500 < int(refused.headers["retry-after"]) <= 3_600
        assert refused.json()["title"] == "Too Many Requests"
        assert running.client.get("/health").status_code == 200


def test_no_limit_by_default(serve, source) -> None:
    with serve(source) as running:
        assert {running.client.get("/features").status_code for _ in range(50)} == {200}


@pytest.mark.anyio
async def test_every_name_has_its_own_window() -> None:
    limit = RateLimit("1/minute")
    assert await limit.wait("key:a") == 0
    assert 0 < await limit.wait("key:a") <= 60
    assert await limit.wait("key:b") == 0


@pytest.mark.anyio
@pytest.mark.parametrize("hours", [-1, 1, 24])
async def test_the_time_of_day_may_be_set(monkeypatch, hours) -> None:
    limit = RateLimit("3/minute")
    assert [await limit.wait("key:a") for _ in range(3)] == [0, 0, 0]
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + hours * 3600)
    assert 0 < await limit.wait("key:a") <= 60


@pytest.mark.anyio
async def test_a_window_moves_and_is_forgotten(monkeypatch) -> None:
    limit, clock = RateLimit("2/minute"), [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    waits = []
    for clock[0] in (1_000.0, 1_030.0, 1_040.0, 1_060.5, 1_061.0, 1_090.5):
        waits.append(await limit.wait("key:a"))
    assert waits == [0, 0, 20, 0, 29, 0]
    clock[0] = 2_000.0
    await limit.wait("key:b")
    assert list(limit._here._requests) == ["key:b"]


LOCAL = {"Host": "localhost:8000"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "LOCALHOST"}, 200),
        ({"Host": "desk.bank.example"}, 200),
        ({"Host": "attacker.example"}, 403),
        ({"Host": "127.0.0.1.attacker.example:8000"}, 403),
        ({"Host": "0.0.0.0:8000"}, 403),
        ({"Host": "localhost@attacker.example"}, 403),
        ({**LOCAL, "Origin": "http://localhost:8000"}, 200),
        ({**LOCAL, "Origin": "https://bank.example"}, 200),
        ({**LOCAL, "Origin": "http://localhost:3000"}, 403),
        ({**LOCAL, "Origin": "https://attacker.example"}, 403),
        ({**LOCAL, "Origin": "null"}, 403),
    ],
)
def test_without_keys_only_our_own_page_may_call(half_open, headers, status) -> None:
    answer = half_open.client.get("/features", headers=headers)
    assert answer.status_code == status
    form = {**headers, "Content-Type": "multipart/form-data; boundary=b", "Sec-Fetch-Site": "cross-site"}
    assert (half_open.client.post("/predict-batch", content=b"", headers=form).status_code == 403) == (status == 403)
    assert half_open.client.get("/health", headers=headers).status_code == 200


@pytest.fixture(scope="module")
def half_open(serve):
    from tests.unit.serving.conftest import FakeProduction

    with serve(
        FakeProduction(), cors_origins=("https://bank.example",), allowed_hosts=("desk.bank.example",)
    ) as running:
        yield running


def test_with_keys_any_name_will_do(closed) -> None:
    client, _keys = closed
    headers = {"X-API-Key": BOOTSTRAP, "Host": "gateway.internal", "Origin": "https://elsewhere.example"}
    assert client.get("/features", headers=headers).status_code == 200


@pytest.mark.parametrize(("proxies", "passed"), [((), 2), (("127.0.0.0/8",), 6)])
def test_only_proxies_that_are_named_say_who_asks(serve, source, proxies, passed) -> None:
    with serve(source, rate_limit="2/hour", trusted_proxies=proxies) as running:
        asked = [running.client.get("/features", headers={"X-Forwarded-For": f"10.0.0.{n}"}) for n in range(6)]
    assert [answer.status_code for answer in asked].count(200) == passed


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_what_cannot_be_understood_is_refused() -> None:
    with pytest.raises(ValidationError, match="rate_limit"):
        GatewaySettings(rate_limit="many")
    with pytest.raises(InvalidInput, match="FRAUD_RATE_LIMIT_STORE"):
        RateLimit("1/minute", "nonsense://host")


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
        client, deadline = redis.Redis.from_url(self.url), time.monotonic() + 60
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
        assert process.stop() == 0
    finally:
        process.end()
