"""What a client may send before it has sent a request, how long it may take, and how many may try."""

import contextlib
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ml_project.errors import InvalidInput
from serving import http
from serving.http import Connections
from serving.settings import GatewaySettings
from tests.unit.serving.conftest import RunningGateway

POST = b"POST /feedback HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LINES = b"".join(b"X-%d: y\r\n" % number for number in range(2_000))


@pytest.fixture(scope="module")
def strict(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with short limits and room for few."""
    from tests.unit.serving.conftest import FakeProduction

    limits = {"max_connections": 40, "header_seconds": 0.5, "body_seconds": 0.5, "body_bytes_per_second": 1_000_000}
    with serve(FakeProduction(), **limits) as running:
        yield running


def connected(running: RunningGateway) -> socket.socket:
    address = (running.client.base_url.host, running.client.base_url.port)
    return socket.create_connection(address, timeout=10)


def answered(line: socket.socket) -> bytes:
    """All that comes until the other side ends it."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := line.recv(65_536):
            got += part
    return got


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        pytest.param(b"GET /", b"a" * 65_536, id="address"),
        pytest.param(b"GET /health HTTP/1.1\r\nX-A: ", b"a" * 65_536, id="one line"),
        pytest.param(b"GET /health HTTP/1.1\r\n", LINES, id="many lines"),
        pytest.param(CHUNKED + b"1;", b"a" * 65_536, id="chunk extension"),
        pytest.param(CHUNKED + b"0\r\n", LINES, id="trailers"),
    ],
)
def test_what_has_no_end_is_ended(strict: RunningGateway, begin: bytes, piece: bytes) -> None:
    with connected(strict) as line:
        with contextlib.suppress(ConnectionError):
            line.sendall(begin)
            for _ in range(20):
                line.sendall(piece)
        got = answered(line)
    assert got.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"application/problem+json" in got
    assert b"65536 bytes or 100 lines" in got


def test_a_header_block_within_its_limits_is_taken(strict: RunningGateway) -> None:
    headers = {f"x-{number}": "y" * 500 for number in range(80)}
    assert strict.client.get("/health", headers=headers).status_code == 200
    assert strict.client.get("/health", headers={f"x-{number}": "y" for number in range(101)}).status_code == 431


def test_what_is_not_http_is_told_so(strict: RunningGateway) -> None:
    with connected(strict) as line:
        line.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello of TLS")
        assert answered(line).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_who_is_slow_is_not_waited_for(strict: RunningGateway) -> None:
    """All at once: each takes as long as its limit and the second between two looks."""
    begun = {
        "says nothing": b"",
        "header block": b"GET /health HTTP/1.1\r\nHost: local",
        "body": POST + b"Content-Length: 1000\r\n\r\n[",
        "chunked body": CHUNKED + b"1\r\n[\r\n",
        "body that nobody reads": b"POST /nowhere HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{",
        "second request": b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea",
    }
    lines = {name: connected(strict) for name in begun}
    for name, line in lines.items():
        line.sendall(begun[name])
    got = {name: answered(line) for name, line in lines.items()}
    for line in lines.values():
        line.close()
    assert got["says nothing"] == b""
    for name in ("header block", "body", "chunked body"):
        assert got[name].startswith(b"HTTP/1.1 408 Request Timeout\r\n"), name
    assert got["body that nobody reads"].count(b"HTTP/1.1") == 1
    assert got["second request"].startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 408 " in got["second request"]


def test_idle_connections_make_room(strict: RunningGateway) -> None:
    with contextlib.ExitStack() as stack:
        strict.client.get("/health")  # one that was answered
        idle = [stack.enter_context(connected(strict)) for _ in range(60)]
        assert httpx.get(f"{strict.client.base_url}/health").status_code == 200
        assert answered(idle[0]) == b""
        assert strict.client.get("/health").status_code == 200


def test_requests_in_advance_have_an_end(strict: RunningGateway) -> None:
    with connected(strict) as line:
        line.sendall(b"GET /features HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        assert answered(line).count(b"HTTP/1.1 200") < 100
    with connected(strict) as line:
        line.sendall(b"GET /features HTTP/1.1\r\nHost: localhost\r\n\r\n" * 9)
        line.sendall(b"GET /features HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert answered(line).count(b"HTTP/1.1 200") == 10


def test_a_body_of_nothing_but_wrapping_is_refused(strict: RunningGateway) -> None:
    with connected(strict) as line:
        with contextlib.suppress(ConnectionError):
            line.sendall(CHUNKED + b"1\r\n \r\n" * 20_000)
        got = answered(line)
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b"Send larger ones" in got


def test_trailers_are_no_headers(strict: RunningGateway) -> None:
    with connected(strict) as line:
        line.sendall(POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Request-ID: late\r\n\r\n")
        got = answered(line)
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b"late" not in got


@pytest.mark.parametrize(
    ("soft", "hard", "most", "asked"),
    [(1_024, 4_096, 1_000, 1_256), (1_024, 1_024, 768, 1_024), (4_096, 4_096, 1_000, None)],
)
def test_descriptors_are_left_to_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, most: int, asked: int | None
) -> None:
    asked_for: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _what, limits: asked_for.append(limits))
    assert http.most_connections(1_000) == most
    assert asked_for == ([] if asked is None else [(asked, hard)])


def test_too_few_descriptors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (256, 256))
    monkeypatch.setattr(resource, "setrlimit", lambda _what, _limits: None)
    with pytest.raises(InvalidInput, match="ulimit -n 1256"):
        Connections(GatewaySettings())
