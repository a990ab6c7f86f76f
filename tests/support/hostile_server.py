"""A server that answers whatever it is asked in a way that no client should wait for, or keep."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from tests.support.processes import free_port

Behaviour = Callable[[socket.socket, threading.Event], None]

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_DRIBBLE_SECONDS: Final = 0.05


def _dribble(connection: socket.socket, ended: threading.Event, piece: bytes) -> None:
    while not ended.wait(_DRIBBLE_SECONDS):
        connection.sendall(piece)


def dribbled_head(connection: socket.socket, ended: threading.Event) -> None:
    """A header line that grows by a byte now and then."""
    connection.sendall(_HEAD + b"X: ")
    _dribble(connection, ended, b"y")


def dribbled_body(connection: socket.socket, ended: threading.Event) -> None:
    connection.sendall(_HEAD + b"Content-Length: 100000000\r\n\r\n{")
    _dribble(connection, ended, b" ")


def endless(connection: socket.socket, ended: threading.Event) -> None:
    connection.sendall(_HEAD + b"\r\n{")
    while not ended.is_set():
        connection.sendall(b" " * 1_000_000)


def whole(body: bytes, kind: str = "application/json", status: str = "200 OK", extra: str = "") -> Behaviour:
    """One answer that ends."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode()
    return lambda connection, _ended: connection.sendall(head + body)


BEHAVIOURS: Final[dict[str, Behaviour]] = {
    "dribbled head": dribbled_head,
    "dribbled body": dribbled_body,
    "endless": endless,
    "compressed": whole(gzip.compress(b" " * 50_000_000), extra="Content-Encoding: gzip\r\n"),
    "html": whole(b"<html>Sign in</html>", "text/html"),
    "server error": whole(b"{}", status="500 Broken"),
    "come back later": whole(b"{}", status="503 Busy", extra="Retry-After: 1000000\r\n"),
    "list": whole(b"[]"),
    "odd alias": whole(b'{"registered_model": {"name": "m", "aliases": [{"alias": "Production", "version": "x"}]}}'),
}


@contextmanager
def hostile_server(behaviour: Behaviour, port: int | None = None) -> Iterator[str]:
    """Its address, for as long as the block runs."""
    ended = threading.Event()
    port = port or free_port()
    with socket.create_server(("127.0.0.1", port), backlog=200) as listener:
        listener.settimeout(0.1)

        def answer(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                while connection.recv(65_536):
                    behaviour(connection, ended)

        def accept() -> None:
            while not ended.is_set():
                with suppress(TimeoutError):
                    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            ended.set()
            accepting.join()
