"""``python -m serving`` as a process."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.support.processes import Forked, Server, free_port

KEY = "a-key-for-the-fault-tests-of-40-letters-"


class Gateway(Server):
    """A gateway that asks for keys; settings as environment variables.

    It is forked (`Forked`) unless ``as_program``, which costs the seconds of its imports: where these are the matter.
    """

    def __init__(self, folder: Path, as_program: bool = False, **environment: str) -> None:
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
        self._as_program = as_program
        command = [sys.executable, "-m", "serving", "--port", str(port)]
        super().__init__(command, settings | environment, folder / "gateway.log", port, {"X-API-Key": KEY})

    def _begun(self) -> "subprocess.Popen[bytes] | Forked":
        if self._as_program:
            return super()._begun()
        return Forked(self._command[2:], self._environment, self.log)

    def ready(self) -> dict[str, Any]:
        """What /health/ready says; without a model, a problem."""
        content: dict[str, Any] = self.client.get("/health/ready").json()
        return content

    def wait_for_version(self, version: int, seconds: float = 90) -> None:
        self.wait_until(lambda: self.ready().get("model_version") == str(version), seconds)

    def kill_and_restart(self) -> None:
        """With the model that it had."""
        self.kill()
        self.start()
        self.wait_for_version(1)

    def kill_a_worker(self) -> None:
        """The others go on, and the parent starts another."""
        children = psutil.Process(self.process.pid).children()
        workers = [each for each in children if "spawn_main" in " ".join(each.cmdline())]
        workers[0].kill()

    def metric(self, sample: str) -> float:
        """A sample of /metrics, by its name and labels as Prometheus writes them."""
        lines = self.client.get("/metrics").text.splitlines()
        return next(float(line.removeprefix(sample)) for line in lines if line.startswith(sample + " "))
