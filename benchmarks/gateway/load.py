"""Closed-loop HTTP clients on bare sockets: a client library would cost more than the gateway's answer."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BUFFER = 1 << 20


@dataclass(frozen=True)
class Target:
    """Where requests go, and the headers they carry."""

    port: int
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"

    def request(self, body: bytes) -> bytes:
        """The bytes of one request."""
        named = (("Host", "127.0.0.1"), ("Content-Type", self.content_type), *self.headers)
        head = "".join(f"{name}: {value}\r\n" for name, value in named)
        return f"POST {self.path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass(frozen=True)
class Measured:
    """Latencies in seconds, sorted, and how long the whole took."""

    latency: NDArray[np.float64]
    seconds: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latency) / self.seconds

    def milliseconds(self, quantile: float) -> float:
        """A quantile of the latencies."""
        return float(np.quantile(self.latency, quantile) * 1000)


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A kept-alive connection."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def ask(connection: socket.socket, request: bytes) -> bytes:
    """The body of the answer, which must be a 200.

    Raises
    ------
    RuntimeError
        For any other answer.
    """
    connection.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    if b" 200 " not in head[:16]:
        raise RuntimeError(f"answered {data[-600:]!r}")
    lower = head.lower()
    parts, got = [rest], len(rest)
    if b"transfer-encoding: chunked" in lower:
        while not parts[-1].endswith(b"0\r\n\r\n"):
            parts.append(_some(connection))
        return b"".join(parts)
    length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
    while got < length:
        part = _some(connection)
        parts.append(part)
        got += len(part)
    return b"".join(parts)


def run(target: Target, bodies: Sequence[bytes], clients: int, seconds: float) -> Measured:
    """Latencies of as many requests as ``clients`` connections get answered in some seconds."""
    requests = [target.request(body) for body in bodies]
    latencies: list[list[float]] = [[] for _ in range(clients)]
    failures: list[BaseException] = []
    gate = threading.Barrier(clients + 1)
    end = [0.0]

    def client(number: int) -> None:
        taken, place, step = latencies[number], number, clients
        try:
            with connected(target.port) as connection:
                gate.wait()
                while (started := time.perf_counter()) < end[0]:
                    ask(connection, requests[place % len(requests)])
                    taken.append(time.perf_counter() - started)
                    place += step
        except BaseException as error:
            failures.append(error)
            gate.abort()

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    end[0] = time.perf_counter() + seconds + 0.05
    with suppress(threading.BrokenBarrierError):  # a client says below what is wrong
        gate.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    if failures:
        raise failures[0]
    return Measured(np.sort(np.concatenate([np.array(taken) for taken in latencies])), took)


def _some(connection: socket.socket) -> bytes:
    part = connection.recv(_BUFFER)
    if not part:
        raise RuntimeError("the server closed the connection")
    return part
