"""Attacks on a gateway by one client, each until its process is ended: python -m tests.faults.attacks NAME PORT.

A function per attack, in `ATTACKS`; `test_attacks` holds ordinary clients against each of them.
"""

import http.client
import io
import itertools
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from serving.batch import CSV, JSON, PARQUET
from tests.support.creditcard import RAW_FEATURES, TRANSACTION
from tests.support.gateway import KEY

_KEY = f"X-API-Key: {KEY}\r\n".encode()
_JSON = _KEY + b"Content-Type: application/json\r\n"
_CSV = _KEY + b"Content-Type: text/csv\r\n"
_FORM = _KEY + b"Content-Type: multipart/form-data; boundary=b\r\n"
_LINES = b"".join(b"X-%d: y\r\n" % number for number in range(6_000))
_LINE = b"a" * 65_536
_MEGABYTES = 16 * 1024**2 - 4_096


def _begun(path: str, headers: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + headers


def endless(port: int, begin: bytes, piece: bytes, lines: int = 4, *, deaf: bool = False) -> None:
    """Connections that send a piece again and again, deaf ones after an answer too; those that end are replaced."""

    def one() -> None:
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as line:
                line.sendall(begin)
                while deaf or not select.select([line], [], [], 0)[0]:
                    line.sendall(piece)

    _threads(one, lines)


def held(port: int, sent: bytes, lines: int) -> None:
    """Many connections that send something, and then nothing; those that are ended are replaced."""
    open_lines: list[socket.socket] = []
    while True:
        with suppress(OSError):
            while len(open_lines) < lines:
                line = socket.create_connection(("127.0.0.1", port), timeout=10)
                open_lines.append(line)
                line.sendall(sent)
                line.setblocking(False)
        open_lines = [line for line in open_lines if _is_open(line)]
        time.sleep(0.05)


def _is_open(line: socket.socket) -> bool:
    try:
        if line.recv(65_536):
            return True
    except BlockingIOError:
        return True
    except OSError:
        pass
    line.close()
    return False


def trickle(port: int, begin: bytes, lines: int) -> None:
    """Many connections that send a byte of their body every second."""

    def one() -> None:
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as line:
                line.sendall(begin)
                while not select.select([line], [], [], 1)[0]:
                    line.sendall(b" ")

    _threads(one, lines)


def again(port: int, path: str, headers: bytes, body: bytes, lines: int = 4) -> None:
    """Whole requests, one after the other on each of some connections."""
    request = _begun(path, headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def one() -> None:
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60) as line:
                while True:
                    line.sendall(request)
                    if not line.recv(65_536):
                        break

    _threads(one, lines)


def asked(port: int, requests: Iterator[tuple[str, str, dict[str, str], bytes]], lines: int = 4) -> None:
    """Whole requests from some connections, whose answers are read."""

    def one() -> None:
        while True:
            with suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                with closing(connection):
                    while True:
                        method, target, headers, body = next(requests)
                        connection.request(method, target, body, {"X-API-Key": KEY, **headers})
                        connection.getresponse().read()

    _threads(one, lines)


def _window(number: int) -> tuple[str, str, dict[str, str], bytes]:
    """No two of them the same."""
    return "GET", f"/watch?hours={24 + number / 1000}&buckets=96", {}, b""


def _batch(target: str, kind: str, body: bytes) -> Iterator[tuple[str, str, dict[str, str], bytes]]:
    return itertools.repeat(("POST", target, {"Content-Type": kind}, body))


def _parquet_of_zeros(rows: int) -> bytes:
    """Some kilobytes that are a million rows."""
    sink = io.BytesIO()
    zeros = pa.table(dict.fromkeys(RAW_FEATURES, np.zeros(rows)))
    parquet.write_table(zeros, sink, compression="zstd", write_statistics=False)
    return sink.getvalue()


def _threads(work: Callable[[], None], count: int) -> None:
    for _ in range(count):
        threading.Thread(target=work, daemon=True).start()
    threading.Event().wait()


def _filled(parts: Iterator[bytes], join: bytes = b",") -> bytes:
    """As many parts as a JSON body may hold."""
    taken, size = [], 0
    for part in parts:
        size += len(part) + len(join)
        if size > _MEGABYTES:
            break
        taken.append(part)
    return join.join(taken)


def _unknown_keys(count: int) -> bytes:
    return b"{%s}" % b",".join(b'"%x":1' % number for number in range(count))


_NESTED = b"[" * 100 + b"]" * 100
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_OPEN = b"Content-Length: %d\r\n\r\n" % (_MEGABYTES + 10)

ATTACKS: dict[str, Callable[[int], None]] = {
    # header blocks, without a key
    "endless address": lambda port: endless(port, b"GET /", _LINE),
    "endless header line": lambda port: endless(port, b"GET /health HTTP/1.1\r\nX-A: ", _LINE),
    "endless header lines": lambda port: endless(port, b"GET /health HTTP/1.1\r\n", _LINES),
    "endless trailers": lambda port: endless(port, _begun("/feedback", _JSON) + _CHUNKED + b"0\r\n", _LINES),
    "endless chunk extension": lambda port: endless(port, _begun("/feedback", _JSON) + _CHUNKED + b"1;", _LINE),
    "tiny chunks": lambda port: endless(port, _begun("/feedback", _JSON) + _CHUNKED, b"1\r\n \r\n" * 10_000),
    "body after its refusal": lambda port: endless(
        port, _begun("/predict-batch", b"Content-Length: 200000000000\r\n\r\n"), _LINE, deaf=True
    ),
    "requests in advance": lambda port: endless(port, b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4_000),
    # connections
    "idle connections": lambda port: held(port, b"", 1_200),
    "half header blocks": lambda port: held(port, b"GET /health HTTP/1.1\r\nHost: lo", 1_200),
    # bodies that do not end
    "half labels": lambda port: held(port, _begun("/feedback", _JSON) + _OPEN + b" " * _MEGABYTES, 100),
    "half transactions": lambda port: held(port, _begun("/predict", _JSON) + b"Content-Length: 900\r\n\r\n{", 1_200),
    "half deliveries": lambda port: held(
        port,
        _begun("/hooks/registry", b"Content-Type: application/json\r\nContent-Length: 65010\r\n\r\n") + b" " * 65_000,
        1_200,
    ),
    "half uploads": lambda port: held(port, _begun("/predict-batch", _CSV) + _OPEN + b"x" * 1_000_000, 300),
    "slow bodies": lambda port: trickle(port, _begun("/feedback", _JSON) + _OPEN, 200),
    # JSON that costs more than its bytes
    "nested labels": lambda port: again(port, "/feedback", _JSON, b"[%s]" % _filled(itertools.repeat(_NESTED))),
    "nested transactions": lambda port: again(
        port, "/predict-batch", _JSON, b"[%s]" % _filled(itertools.repeat(_NESTED))
    ),
    "empty objects": lambda port: again(port, "/feedback", _JSON, b"[%s]" % _filled(itertools.repeat(b"{}"))),
    "unknown keys": lambda port: again(port, "/feedback", _JSON, _unknown_keys(1_200_000)),
    "faulty labels": lambda port: again(
        port, "/feedback", _JSON, b"[%s]" % _filled(itertools.repeat(_unknown_keys(200), 9_900))
    ),
    "faulty transactions": lambda port: again(
        port,
        "/predict-batch?on_error=skip",
        _JSON,
        b"[%s]" % _filled(itertools.repeat(_unknown_keys(68), 9_990)),
        8,
    ),
    "many good labels": lambda port: again(
        port,
        "/feedback",
        _JSON,
        json.dumps([{"transaction_id": f"t{number}", "label": "fraud"} for number in range(10_000)]).encode(),
    ),
    # files, and work that a small request causes
    "quotes that do not end": lambda port: asked(
        port, _batch("/predict-batch", CSV, ",".join(RAW_FEATURES).encode() + b"\n" + b'x","\n' * 30_000)
    ),
    "a million rows in few bytes": lambda port: asked(
        port, _batch("/predict-batch", PARQUET, _parquet_of_zeros(1_000_001))
    ),
    "batches explained": lambda port: asked(
        port,
        _batch(
            "/predict-batch?explain=true&keep=false",
            JSON,
            b"[%s]" % b",".join([json.dumps(TRANSACTION).encode()] * 9_999),
        ),
    ),
    "windows of the dashboard": lambda port: asked(port, map(_window, itertools.count()), 40),
    # forms
    "tiny form parts": lambda port: endless(
        port,
        _begun("/predict-batch", _FORM) + b"Content-Length: 2000000000\r\n\r\n",
        b"--b\r\nContent-Disposition: form-data; name=f\r\n\r\nx\r\n" * 1_200,
    ),
    "endless form header": lambda port: endless(
        port, _begun("/predict-batch", _FORM) + b"Content-Length: 2000000000\r\n\r\n--b\r\nX-A: ", _LINE
    ),
}


if __name__ == "__main__":
    os.nice(10)  # attackers have machines of their own
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    ATTACKS[sys.argv[1]](int(sys.argv[2]))
