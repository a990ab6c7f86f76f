"""Real servers as child processes, for tests that freeze, kill and end them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key-for-the-fault-tests-of-40-letters-"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Server:
    """A process group that can be started, ended in every way and started again, always on the same port."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path, port: int) -> None:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "MLFLOW_"))}
        self._command, self._environment = command, ours | dict(environment)
        self.log, self.port = log, port
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=10, headers={"X-API-Key": KEY})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.client.close()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def signal(self, number: signal.Signals) -> None:
        """To the whole group."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """Kill -9; nothing happens to one that has ended."""
        if self._process is not None and self._process.returncode is None:
            self.signal(signal.SIGKILL)
            self._process.wait()

    def end(self, seconds: float) -> int:
        """SIGTERM to the server itself, as an orchestrator sends it; its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(seconds)

    def wait_until(self, condition: Callable[[], object], seconds: float = 90) -> None:
        """Wait for something to become true of a server that lives."""
        deadline = time.monotonic() + seconds
        while True:
            assert self._process is not None
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            try:
                if condition():
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.02)


class MlflowServer(Server):
    """As `make run` starts one: SQLite, artifacts in a folder behind the server."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.artifacts = folder / "artifacts"
        self.artifacts.mkdir()
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        stores = ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        stores += ["--artifacts-destination", str(self.artifacts), "--workers", "1"]
        environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        super().__init__([*command, *stores], environment, folder / "mlflow.log", port)

    def wait_until_up(self) -> None:
        self.wait_until(lambda: self.client.get("/health").status_code == 200)


class Gateway(Server):
    """``python -m serving`` with keys; settings as environment variables."""

    def __init__(self, folder: Path, **environment: str) -> None:
        port = free_port()
        self.state, self.releases = folder / "state", folder / "releases"
        settings = {
            "FRAUD_STATE_DIR": str(self.state),
            "FRAUD_RELEASES_URI": str(self.releases),
            "FRAUD_REQUIRE_KEYS": "true",
            "FRAUD_BOOTSTRAP_KEY": KEY,
            "FRAUD_POLL_SECONDS": "0.2",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        }
        command = [sys.executable, "-m", "serving", "--port", str(port)]
        super().__init__(command, settings | environment, folder / "gateway.log", port)

    def ready(self) -> dict[str, Any]:
        """What /health/ready says; without a model, a problem."""
        content: dict[str, Any] = self.client.get("/health/ready").json()
        return content

    def wait_for_version(self, version: int, seconds: float = 90) -> None:
        self.wait_until(lambda: self.ready().get("model_version") == str(version), seconds)

    def metric(self, sample: str) -> float:
        """A sample of /metrics, by its name and labels as Prometheus writes them."""
        lines = self.client.get("/metrics").text.splitlines()
        return next(float(line.removeprefix(sample)) for line in lines if line.startswith(sample + " "))
