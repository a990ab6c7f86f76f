"""Child processes that tests start, wait for, freeze, end and kill; the gateway and MLflow's server are such."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from tests.support.machine import ROOT

_PAUSE = 0.1
"""Between two looks at a condition: the processes that are waited for need the cores."""


def free_port() -> int:
    """A port that no process listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def closed(port: int) -> bool:
    """Whether nothing listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def wait_for_port(port: int, process: "subprocess.Popen[Any]", seconds: float = 60) -> None:
    """Until the process listens on the port."""
    deadline = time.monotonic() + seconds
    while closed(port):
        assert process.poll() is None, f"exit code {process.returncode}"
        assert time.monotonic() < deadline, f"port {port} did not open"
        time.sleep(0.02)


def wait_for(url: str, status: int, seconds: float = 300) -> httpx.Response:
    """Until an address answers with a status; that answer."""
    deadline = time.monotonic() + seconds
    with httpx.Client(timeout=60) as client:  # one: making it costs more than what it waits for
        while time.monotonic() < deadline:
            try:
                answer = client.get(url)
                if answer.status_code == status:
                    return answer
            except httpx.TransportError:
                pass
            time.sleep(_PAUSE)
    pytest.fail(f"{url} did not answer {status}")


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without settings of the platform and of MLflow, and some variables more."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "MLFLOW_"))}
    return kept | extra


class Server:
    """A process group that can be started, ended in every way and started again, always on the same port.

    A context manager that starts it and kills what is left of it.

    Attributes
    ----------
    log : Path
        What it wrote so far, of all starts.
    client : httpx.Client
        A client of it.
    """

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        log: Path,
        port: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._command, self._environment = command, clean_environment(**environment)
        self.log, self.port = log, port
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=60, headers=headers)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.client.close()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The latest that was started."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def signal(self, number: signal.Signals) -> None:
        """To the whole group."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """Kill -9; nothing happens to one that has ended."""
        if self._process is not None and self._process.returncode is None:
            self.signal(signal.SIGKILL)
            self._process.wait()

    def end(self, seconds: float) -> int:
        """SIGTERM to the server itself, as an orchestrator sends it; its exit code."""
        self.process.terminate()
        return self.process.wait(seconds)

    def wait_until(self, condition: Callable[[], object], seconds: float = 90) -> None:
        """Wait for something to become true of a server that lives."""
        deadline = time.monotonic() + seconds
        while True:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                if condition():
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(_PAUSE)
