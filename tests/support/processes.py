"""Child processes that tests start, wait for, freeze, end and kill; the gateway and MLflow's server are such."""

import atexit
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
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


def wait_for_port(port: int, process: "subprocess.Popen[Any] | Forked", seconds: float = 60) -> None:
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


FORKS = multiprocessing.get_context("forkserver")
"""Forks processes from one that has imported what a gateway does."""

FORKS.set_forkserver_preload(["tests.support.imported"])


class Forked:
    """``python -m MODULE ARGUMENTS`` without the seconds that its imports take, with what `subprocess.Popen` offers.

    A process of its own in every other respect, in a session of its own. The one that it is forked from is started with
    the first and ends with the tests.

    Parameters
    ----------
    command : list of str
        The module and its arguments.
    environment : mapping
        All of its variables.
    log : Path
        What it writes is added to this file.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.args = command
        self._process = FORKS.Process(target=_run_module, args=(command, dict(environment), str(log.absolute())))
        self._process.start()
        with suppress(ProcessLookupError):  # until it is a group that can be signalled
            while os.getpgid(self.pid) != self.pid:
                time.sleep(0.001)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run_module(command: list[str], environment: dict[str, str], log: str) -> None:
    """What the fork does, to its end."""
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv[1:] = command[1:]
    code = 0
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    # all of an ordinary end but the freeing of every object, which would copy each page that is shared
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


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
        self._process: subprocess.Popen[bytes] | Forked | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.client.close()

    @property
    def process(self) -> "subprocess.Popen[bytes] | Forked":
        """The latest that was started."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        self._process = self._begun()

    def _begun(self) -> "subprocess.Popen[bytes] | Forked":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def signal(self, number: signal.Signals) -> None:
        """To the whole group."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """Kill -9; nothing happens to one that has ended."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):  # it may just have ended
                self.signal(signal.SIGKILL)
            self._process.wait()
            deadline = time.monotonic() + 90
            while not closed(self.port):  # its workers are killed, too, but are not waited for
                assert time.monotonic() < deadline
                time.sleep(_PAUSE)

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
