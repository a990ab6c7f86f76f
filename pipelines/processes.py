"""A server as a child process: started with a log file, watched, and stopped with everything that it started."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import httpx

from ml_project.errors import Unavailable

_STOP_SECONDS = 15
_ORPHAN_SECONDS = 1.0


class Service:
    """A server in a separate process group; a context manager that starts and stops it.

    Parameters
    ----------
    name : str
        For messages.
    command : list of str
    environment : mapping
        Added to this process's environment.
    log : Path
        File that takes its output.
    user : str, optional
        Account to run as, where this process may choose.
    """

    def __init__(
        self, name: str, command: list[str], environment: Mapping[str, str], log: Path, user: str | None = None
    ) -> None:
        self.name = name
        self._command = command
        self._environment = {**os.environ, **environment}
        self._log = log
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Service":
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            # a separate group: Ctrl-C reaches only this process, and the server's children are stopped with it
            self._process = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._user,
            )
        self._pid_file.write_text(str(self._process.pid))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._pid_file.unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        """Its process, once it was started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started.")
        return self._process.pid

    def require_running(self) -> None:
        """Raise `Unavailable` when the server has ended."""
        if self._process is not None and self._process.poll() is not None:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])
            raise Unavailable(
                f"{self.name} ended with exit code {self._process.returncode}.\n{tail}", f"See {self._log}."
            )

    def wait_for(self, url: str, seconds: float) -> None:
        """Wait until a URL answers 200; see `wait_until`."""
        with httpx.Client(timeout=2) as client:  # one for all looks: making it costs more than asking

            def answers() -> bool:
                try:
                    return client.get(url).status_code == httpx.codes.OK
                except httpx.TransportError:
                    return False

            self.wait_until(answers, seconds)

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until the server is ready.

        Raises
        ------
        Unavailable
            When it ends first, or takes longer.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.require_running()
            if ready():
                return
            time.sleep(0.25)
        raise Unavailable(f"{self.name} did not answer within {seconds:.0f} s.", f"See {self._log}.")

    @property
    def _pid_file(self) -> Path:
        return self._log.with_suffix(".pid")

    def stop_orphan(self) -> None:
        """Stop the server of an earlier process that was killed before it could stop it (needs /proc)."""
        stop_orphan(self._pid_file, self._command)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the whole group; its leader may have ended before its children."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return


def stop_orphan(pid_file: Path, command: list[str], patience: float = 0.0) -> None:
    """Stop the process group that a pid file names, if it still runs the command (needs /proc).

    Parameters
    ----------
    patience : float
        Seconds between SIGTERM and SIGKILL.
    """

    def running() -> bool:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        except OSError:
            return False
        return [argument.decode(errors="replace") for argument in arguments] == command

    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return
    deadline = time.monotonic() + patience
    while running():
        late = time.monotonic() >= deadline
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(_ORPHAN_SECONDS)
