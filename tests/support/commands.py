"""``python -m pipelines`` without the seconds that its imports take: a process that has imported them forks commands.

A command runs as one of a user's does: a process of its own with arguments, environment, output, signals and an exit
code; `Commands` starts it, or another program that begins with the same imports. Run as a program, this module is the
process that forks.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]

_IMPORTED = (
    *("alembic", "boto3", "great_expectations", "httpx", "jinja2", "matplotlib.figure", "onnx"),
    *("mlflow", "mlflow.pyfunc", "mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store"),
    *("optuna", "pandas", "pyarrow.parquet", "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics"),
    *("sqlalchemy.dialects.sqlite", "xgboost", "pipelines.__main__"),
)
"""Not ONNX Runtime: a fork of a process that has loaded it waits at its end for a thread which it does not have."""


@dataclass
class Command:
    """A running or finished command, with what `subprocess.Popen` would offer."""

    args: tuple[str, ...]
    pid: int
    returncode: int | None
    _connection: socket.socket
    _written: tuple[Path, Path]

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended(self, seconds: float | None) -> int | None:
        if self.returncode is None:
            # not in blocking mode with 0 seconds, which is then asked without a wait
            self._connection.settimeout(seconds)
            try:
                said = self._connection.recv(64)
            except (BlockingIOError, TimeoutError):
                return None
            assert said, "the process that forks commands has died"
            self.returncode = int(said)
            self._connection.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def output(self) -> tuple[str, str]:
        """What it wrote so far: standard output and standard error."""
        output, errors = self._written
        return output.read_text(), errors.read_text()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; standard output and standard error."""
        self.wait(timeout)
        return self.output()


@dataclass
class Commands:
    """Starts commands; a context manager that ends the process which forks them."""

    folder: Path
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _started: int = field(default=0, init=False)

    @property
    def _address(self) -> str:
        return str(self.folder / "commands")

    def __enter__(self) -> "Commands":
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "MLFLOW_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.commands", self._address],
            cwd=_ROOT,
            env=kept | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def start(
        self, *arguments: str, environment: dict[str, str], program: str = "pipelines", folder: Path = _ROOT
    ) -> Command:
        """Start ``python -m pipelines``, another module or a script; the environment is all of its own."""
        assert self._process is not None
        assert self._process.stdout is not None
        if not Path(self._address).exists():
            assert self._process.stdout.readline() == b"ready\n"
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        self._started += 1
        written = self.folder / f"{self._started}.out", self.folder / f"{self._started}.err"
        asked = {"arguments": arguments, "environment": environment, "program": program, "folder": str(folder)}
        request = json.dumps(asked).encode()
        with written[0].open("wb") as output, written[1].open("wb") as errors:
            head = len(request).to_bytes(4, "big")
            socket.send_fds(connection, [head], [output.fileno(), errors.fileno()])
        connection.sendall(request)
        pid = int.from_bytes(connection.recv(4), "big")
        return Command(arguments, pid, None, connection, written)

    def run(
        self,
        *arguments: str,
        environment: dict[str, str],
        program: str = "pipelines",
        folder: Path = _ROOT,
        timeout: float = 900,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        command = self.start(*arguments, environment=environment, program=program, folder=folder)
        try:
            output, errors = command.communicate(timeout)
        finally:
            command.kill()
        return subprocess.CompletedProcess(arguments, command.wait(), output, errors)


def _next_command(address: str) -> str:
    """Fork for every request; return, in its process, the program to be run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return _watch(connection)
        connection.close()


def _watch(connection: socket.socket) -> str:
    """Fork the command and tell of its end; return its program in its process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, files, _flags, _address = socket.recv_fds(connection, 4, 2)
    request: dict[str, Any] = json.loads(connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
    pid = os.fork()
    if pid:
        for file in files:
            os.close(file)
        connection.sendall(pid.to_bytes(4, "big"))
        _, status = os.waitpid(pid, 0)
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    connection.close()
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in zip((1, 2), files, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv[1:] = request["arguments"]
    time.tzset()
    program: str = request["program"]
    return program


def _run(program: str) -> int:
    """Run a module or a script in this process; its exit code."""
    del sys.modules["pipelines.__main__"]  # it may be run now
    try:
        if program.endswith(".py"):
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else end.code is not None
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    for name in _IMPORTED:
        importlib.import_module(name)
    assert "onnxruntime" not in sys.modules
    # a collection in a command would write to, and so copy, every page that it shares with this process
    gc.collect()
    gc.freeze()
    code = _run(_next_command(sys.argv[1]))
    # all of an ordinary end but the freeing of every object, which copies those pages too, for seconds
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
