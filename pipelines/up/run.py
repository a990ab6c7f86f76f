"""The order of things: stores, servers, one execution, the first answers, and waiting for Ctrl-C."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path

import httpx

from ml_project.errors import InvalidInput, LostRace
from pipelines.console import console, show_figures, step
from pipelines.processes import Service
from pipelines.settings import PipelineSettings
from pipelines.training.steps import run_main
from pipelines.up.first_answers import show_sample
from pipelines.up.services import HOST, gateway, mlflow
from pipelines.up.stores import embedded

_START_SECONDS = 90.0


class BackendName(StrEnum):
    """What lies under MLflow and the gateway."""

    EMBEDDED = "embedded"
    SERVERS = "servers"


def up(
    settings: PipelineSettings,
    *,
    port: int = 8000,
    mlflow_port: int = 5000,
    smoke: bool = False,
    backend: BackendName = BackendName.EMBEDDED,
) -> None:
    """Run everything once and, unless ``smoke``, go on serving until Ctrl-C.

    Raises
    ------
    InvalidInput
        When a port is in use.
    LostRace
        When another one runs on the same state folder.
    Unavailable
        When a server is not installed or does not start, or the gateway does not answer as it should.
    """
    mlflow_url, gateway_url = f"http://{HOST}:{mlflow_port}", f"http://{HOST}:{port}"
    state = settings.state_dir.resolve()
    with _only_one(state), ExitStack() as stack:
        if backend is BackendName.SERVERS:
            from pipelines.up.servers import start_servers

            stores = start_servers(state / "servers", stack)
        else:
            stores = embedded(settings)
        os.environ.update(
            stores.environment
        )  # boto3 and MLflow read their credentials there, here and in what we start
        settings = settings.model_copy(update=stores.settings)
        services = [mlflow(state, stores, mlflow_port), gateway(state, settings, mlflow_url, port)]
        for service in services:
            service.stop_orphan()
        for option, number in (("PORT", port), ("MLFLOW_PORT", mlflow_port)):
            _require_free(option, number)
        for service in services:
            stack.enter_context(service)
        with step("start MLflow and the gateway"):
            services[0].wait_for(f"{mlflow_url}/health", _START_SECONDS)
            services[1].wait_for(f"{gateway_url}/health", _START_SECONDS)
        ready = httpx.get(f"{gateway_url}/health/ready").status_code
        console.print(f"  MLflow {mlflow_url}, gateway {gateway_url} (ready: {'yes' if ready == 200 else 'not yet'})")
        served = settings.model_copy(update={"tracking_uri": mlflow_url})
        run, measured, promotion = run_main(served)
        show_figures(measured, settings.policy)
        console.print(f"[bold]{promotion.sentence}[/bold]")
        show_sample(gateway_url, promotion)
        console.print(
            f"\n  runs      {mlflow_url}/#/experiments/{run.experiment_id}"
            f"\n  registry  {mlflow_url}/#/models/{settings.model_name}"
            f"\n  gateway   {gateway_url}/predict"
        )
        for line in stores.notes:
            console.print(f"  {line}")
        if not smoke:
            _serve([*stores.services, *services])


def _require_free(option: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InvalidInput(
                f"Port {port} on {HOST} is in use.", f"Stop what listens there, or choose another: {option}={port + 1}."
            ) from error


@contextmanager
def _only_one(state: Path) -> Iterator[None]:
    """Two at once on one state folder would share MLflow's files."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LostRace(f"Another one runs on {state}.", "Stop it, or set FRAUD_STATE_DIR.") from error
        yield


def _serve(services: list[Service]) -> None:
    console.print("\nServing. Ctrl-C stops everything.")
    try:
        while True:
            for service in services:
                service.require_running()
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("stopping")
