"""``python -m serving`` as a process of its own, for tests that start, stop and kill it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.support.machine import ROOT
from tests.support.processes import Forked, free_port


def environment(folder: Path, **extra: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "MLFLOW_"))}
    return ours | {
        "FRAUD_STATE_DIR": str(folder / "state"),
        "FRAUD_RELEASES_URI": str(folder / "releases"),
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        **extra,
    }


class Process:
    """A gateway, its log and a client of it; forked (`Forked`), but for the parent of several, which imports little."""

    def __init__(self, folder: Path, *arguments: str, **extra: str) -> None:
        self.port = free_port()
        self.output = folder / "log"
        command, settings = ["serving", "--port", str(self.port), *arguments], environment(folder, **extra)
        self.process: subprocess.Popen[bytes] | Forked
        if "--workers" in arguments:
            with self.output.open("w") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", *command],
                    cwd=ROOT,
                    env=settings,
                    start_new_session=True,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        else:
            self.process = Forked(command, settings, self.output)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except httpx.TransportError:
                pass
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code, which is 1 when it hung and was cut off."""
        self.process.send_signal(how)
        return self.process.wait(60)

    def end(self) -> None:
        """Whatever it does, it is gone afterwards, workers included."""
        self.client.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
