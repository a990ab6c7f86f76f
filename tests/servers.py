"""Real servers that tests start, and a proxy that gets in their way."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import boto3

ACCESS_KEY, SECRET_KEY = "AKIATESTONLY", "a-secret-of-tests-only"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_program(name: str) -> str | None:
    """A program of the environment that runs the tests, else an installed one."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


@dataclass
class S3Server:
    """rclone's S3 server: buckets are folders, objects files."""

    rclone: str
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = os.environ | {
            "RCLONE_AUTH_KEY": f'"{ACCESS_KEY},{SECRET_KEY}"',
            "RCLONE_ADDR": f"127.0.0.1:{self.port}",
        }
        command = [self.rclone, "serve", "s3", "--config", os.devnull, str(self.folder)]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        wait_for_port(self.port, self.process)

    def client(self) -> Any:
        return boto3.client("s3", endpoint_url=self.url, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


@contextmanager
def moto_server(free_requests: int) -> Iterator[str]:
    """moto's S3 and IAM; after some requests it lets nobody do what no policy allows."""
    port = free_port()
    environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": str(free_requests)}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"exit code {process.returncode}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"port {port} did not open")


class Proxy:
    """Passes TCP connections on to a port; what the server answers, it passes on as told.

    ``hang`` answers nothing, ``trickle`` a byte at a time; of every connection's answers, ``stall`` passes on
    ``cut_after`` bytes and no more, ``cut`` ends the connection then.
    """

    def __init__(self, target: int, behaviour: Literal["pass", "hang", "trickle", "stall", "cut"] = "pass") -> None:
        self.behaviour: Literal["pass", "hang", "trickle", "stall", "cut"] = behaviour
        self.cut_after = 1_000_000
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with suppress(OSError), client, server:
            while data := server.recv(65536):
                over = passed + len(data) > self.cut_after
                if self.behaviour == "hang" or (self.behaviour == "stall" and over):
                    continue
                if self.behaviour == "trickle":
                    for byte in data:
                        client.sendall(bytes([byte]))
                        time.sleep(0.2)
                elif self.behaviour == "cut" and over:
                    client.shutdown(socket.SHUT_RDWR)  # closing alone would wait for the other thread
                    return
                else:
                    client.sendall(data)
                    passed += len(data)
