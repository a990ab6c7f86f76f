"""POST /predict as clients should not speak it: in pieces, in advance, all at once, and gone before the answer."""

import json
import resource
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from ml_project.bundle import Bundle
from serving.batch import JSON
from serving.large_bodies import SMALL_BYTES
from stores.releases import open_releases
from tests.faults.clients import Clients, Transactions
from tests.support.creditcard import TRANSACTION
from tests.support.gateway import KEY, Gateway

pytestmark = pytest.mark.slow

BODY = json.dumps(TRANSACTION | {"transaction_id": None}).encode()
HEAD = f"Host: localhost\r\nX-API-Key: {KEY}\r\nContent-Type: {JSON}\r\n".encode()
WHOLE = b"POST /predict HTTP/1.1\r\n" + HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
AT_ONCE = 1_000


@pytest.fixture(scope="module")
def gateway(bundles: list[Bundle], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Well at the end, whatever was done to it."""
    made = Gateway(tmp_path_factory.mktemp("single"), MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    open_releases(str(made.releases)).publish(bundles[0], "fraud-ensemble", 1, {"passed": True}, datetime.now(UTC))
    with made as running:
        running.wait_for_version(1)
        yield running
        assert running.end(60) == 0
    assert "Traceback" not in made.log.read_text()


def connected(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=60)


def answers(line: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Status and body of as many answers, which all name their length."""
    found: list[tuple[int, bytes]] = []
    with line.makefile("rb") as file:
        while len(found) < count:
            status = int(file.readline().split()[1])
            lines = dict(each.strip().lower().split(b": ", 1) for each in iter(file.readline, b"\r\n"))
            if status != 100:
                found.append((status, file.read(int(lines[b"content-length"]))))
            else:
                found.append((status, b""))
    return found


def chunked(body: bytes, sizes: list[int]) -> bytes:
    """A body in chunks of these sizes, again and again, with a trailer."""
    parts, place, turn = [], 0, 0
    while place < len(body):
        piece = body[place : place + sizes[turn % len(sizes)]]
        parts.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        place, turn = place + len(piece), turn + 1
    return b"".join(parts) + b"0\r\nX-API-Key: another\r\nX-Request-ID: late\r\n\r\n"


def posted(headers: bytes, body: bytes, target: bytes = b"/predict", method: bytes = b"POST") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\n" + HEAD + headers + b"\r\n" + body


CHUNKS = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: %d\r\n"


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        pytest.param(WHOLE, [200], id="whole"),
        pytest.param(WHOLE * 9, [200] * 9, id="in advance"),
        pytest.param(posted(CHUNKS, chunked(BODY, [1, 2, 3, 64, 7])) + WHOLE, [200, 200], id="odd chunks and trailers"),
        pytest.param(posted(LENGTH % len(BODY), BODY, b"/predict?keep=false") + WHOLE, [200, 200], id="with a query"),
        pytest.param(posted(LENGTH % len(BODY), BODY, b"/predict?") + WHOLE, [200, 200], id="with an empty query"),
        pytest.param(posted(LENGTH % len(BODY), BODY, b"/pre%64ict") + WHOLE, [200, 200], id="in percent signs"),
        pytest.param(posted(LENGTH % len(BODY), BODY, method=b"PUT") + WHOLE, [405, 200], id="another method"),
        pytest.param(
            posted(LENGTH % SMALL_BYTES, BODY.ljust(SMALL_BYTES)) + WHOLE, [200, 200], id="as large as may be"
        ),
        pytest.param(
            posted(LENGTH % (SMALL_BYTES + 1), BODY.ljust(SMALL_BYTES + 1)) + WHOLE, [413, 200], id="a byte too large"
        ),
        pytest.param(
            posted(CHUNKS, chunked(BODY.ljust(SMALL_BYTES + 1), [4_096])) + WHOLE, [413, 200], id="the same in chunks"
        ),
        pytest.param(
            posted(b"Content-Encoding: gzip\r\n" + LENGTH % len(BODY), BODY) + WHOLE, [415, 200], id="said to be packed"
        ),
    ],
)
def test_every_request_is_answered_in_its_turn(gateway: Gateway, sent: bytes, statuses: list[int]) -> None:
    for size in (len(sent), len(sent) // 2 + 1, max(211, len(sent) // 40)):
        with connected(gateway) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for place in range(0, len(sent), size):
                line.sendall(sent[place : place + size])
                time.sleep(0.002)  # or the pieces would come in one
            got = answers(line, len(statuses))
        assert [status for status, _body in got] == statuses
        assert {json.loads(body)["model_version"] for status, body in got if status == 200} == {"1"}


def test_who_asks_first_is_told_to_go_on(gateway: Gateway) -> None:
    with connected(gateway) as line:
        line.sendall(posted(b"Expect: 100-continue\r\n" + LENGTH % len(BODY), b""))
        assert answers(line, 1) == [(100, b"")]
        line.sendall(BODY)
        assert answers(line, 1)[0][0] == 200
    with connected(gateway) as line:
        line.sendall(posted(b"Expect: 100-continue\r\n" + LENGTH % (SMALL_BYTES + 1), b""))
        assert answers(line, 1)[0][0] == 413


def test_a_thousand_at_once_are_all_answered(gateway: Gateway) -> None:
    """As many as there may be connections, each with a request before any of them was answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2 * AT_ONCE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * AT_ONCE), hard))
    with ExitStack() as stack:
        lines = [stack.enter_context(connected(gateway)) for _ in range(AT_ONCE - 5)]
        for line in lines:
            line.sendall(WHOLE)
        for line in lines:
            assert answers(line, 1)[0][0] == 200


def test_who_leaves_in_the_middle_takes_nobody_along(gateway: Gateway, transactions: Transactions) -> None:
    """A turn holds requests of many connections; some of them are reset before it ends, some within their bodies."""
    with Clients(gateway.port, transactions) as clients:
        for number in range(600):
            line = connected(gateway)
            line.sendall(WHOLE * (1 + number % 3) if number % 2 else WHOLE[: -1 - number % len(BODY)])
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.close()
    assert clients.requests > 0
    assert (clients.wrong, clients.refused, clients.unanswered) == ([], {}, [])
    assert {one.kept for one in clients.acknowledged} == {"database"}
