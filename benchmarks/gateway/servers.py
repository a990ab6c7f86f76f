"""The servers that are measured, each as a process of its own with its log under a scratch folder."""

import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from benchmarks.gateway.load import Target
from ml_project.bundle import Bundle
from pipelines.processes import Service
from stores.releases import Releases, open_releases

NOBODY = "http://127.0.0.1:9"
"""No MLflow server: the gateway starts from the release pointer, and follows it."""


@dataclass(frozen=True)
class RunningGateway:
    """A gateway with keys, store, metrics and logs on."""

    port: int
    key: str
    releases: Releases
    pid: int

    def target(self, path: str, content_type: str = "application/json") -> Target:
        """Requests to one of its routes."""
        return Target(self.port, path, (("X-API-Key", self.key),), content_type)

    @property
    def resident(self) -> int:
        """Resident memory of all its processes, in bytes."""
        process = psutil.Process(self.pid)
        return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])

    @property
    def cpu_seconds(self) -> float:
        """Processor time that it has used so far."""
        return cpu_seconds(self.pid)


@contextmanager
def gateway(folder: Path, bundle: Bundle, python: str = sys.executable, **settings: str) -> Iterator[RunningGateway]:
    """The gateway on a bundle, in the environment of some Python; ends with the block."""
    releases = open_releases(str(folder / "releases"))
    publish(releases, bundle, 1)
    port, key = free_port(), secrets.token_urlsafe(32)
    environment = {
        "MLFLOW_TRACKING_URI": NOBODY,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "FRAUD_STATE_DIR": str(folder / "gateway"),
        "FRAUD_RELEASES_URI": str(folder / "releases"),
        "FRAUD_PORT": str(port),
        "FRAUD_REQUIRE_KEYS": "true",
        "FRAUD_BOOTSTRAP_KEY": key,
        **settings,
    }
    service = Service("gateway", [python, "-m", "serving"], environment, folder / "gateway.log")
    with service:
        service.wait_for(f"http://127.0.0.1:{port}/health/ready", 300)
        yield RunningGateway(port, key, releases, service.pid)


@contextmanager
def bare(folder: Path) -> Iterator[tuple[Target, int]]:
    """Uvicorn with an application that does next to nothing, and its process."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.gateway.echo:app", "--port", str(port), "--no-access-log"]
    service = Service("echo", [*command, "--log-level", "error"], {"PYTHONPATH": str(Path.cwd())}, folder / "echo.log")
    with service:
        service.wait_for(f"http://127.0.0.1:{port}/", 60)
        yield Target(port, "/echo"), service.pid


@contextmanager
def mlflow_model(folder: Path, model: Path, name: str) -> Iterator[Target]:
    """``mlflow models serve`` on a saved model, as its documentation starts it."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model), "-p", str(port)]
    # it looks for uvicorn on the PATH, and unpickles the plain model's class by name
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": path, "PYTHONPATH": str(Path.cwd())}
    service = Service(name, [*command, "--env-manager", "local"], environment, folder / f"{name}.log")
    with service:
        service.wait_for(f"http://127.0.0.1:{port}/ping", 120)
        yield Target(port, "/invocations")


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and its children have used so far."""
    process = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in [process, *process.children(recursive=True)])


def publish(releases: Releases, bundle: Bundle, version: int) -> None:
    """Let a bundle go live."""
    releases.publish(bundle, "fraud-ensemble", version, {"passed": True, "checks": []}, datetime.now(UTC))


def live_version(running: RunningGateway) -> str:
    """The version that answers at present."""
    return str(httpx.get(f"http://127.0.0.1:{running.port}/health/ready").json()["model_version"])


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
