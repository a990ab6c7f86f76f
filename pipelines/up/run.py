"""Runs the demonstration: backend, servers, one pipeline execution, the first answers, and waiting for Ctrl-C."""

import fcntl
import hashlib
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pydantic import SecretStr

from ml_project.bundle import Manifest
from ml_project.contract_file import DEFAULT
from ml_project.errors import InvalidInput, LostRace, Unavailable
from ml_project.simulator import FIELDS, TELLING, simulate
from pipelines.console import console, show_figures, step
from pipelines.processes import Service
from pipelines.promotion.promote import Promotion
from pipelines.run_page import runs_page
from pipelines.settings import PipelineSettings, StackFile
from pipelines.training.steps import run_main
from pipelines.up.services import HOST, Backend, embedded_backend, gateway_service, mlflow_service
from stores.registry import Registry

_START_SECONDS = 180.0

_READY_SECONDS = 60.0
_CANDIDATES = 50
_NEXT = (
    ("simulate-traffic --duration 24h --batch 100", "a day of transactions, as clients send them"),
    ("monitor", "that day against the training data: drift, alerts, response times"),
    ("history", "who moved Production, when and why"),
)
"""What to try first, with what it is for."""

_TELLING = FIELDS.index(TELLING)


class BackendName(StrEnum):
    """What MLflow and the gateway keep their data in."""

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
    """Run everything once and, unless ``smoke``, keep serving until Ctrl-C.

    Raises
    ------
    InvalidInput
        When a port is in use.
    LostRace
        When another demonstration runs on the same state folder.
    Unavailable
        When a server is not installed or does not start, or the gateway does not answer as it should.
    """
    mlflow_url, gateway_url = f"http://{HOST}:{mlflow_port}", f"http://{HOST}:{port}"
    state = settings.state_dir.resolve()
    file = StackFile(state)
    with _only_one(file), ExitStack() as stack:
        if backend is BackendName.SERVERS:
            from pipelines.up.servers import start_servers

            stores = start_servers(state / "servers", stack)
        else:
            stores = embedded_backend(settings)
        # boto3 and MLflow read their credentials there, in this process and in those it starts
        os.environ.update(stores.environment)
        settings = settings.model_copy(update=stores.settings)
        services = [
            mlflow_service(state, stores, mlflow_port),
            gateway_service(state, stores, settings, mlflow_url, port),
        ]
        for service in services:
            service.stop_orphan()
        for option, number in (("PORT", port), ("MLFLOW_PORT", mlflow_port)):
            _require_free(option, number)
        with step("start MLflow"):
            stack.enter_context(services[0]).wait_for(f"{mlflow_url}/health", _START_SECONDS)
        stores.prepare(mlflow_url, settings)
        with step("start the gateway"):
            stack.enter_context(services[1]).wait_for(f"{gateway_url}/health", _START_SECONDS)
        file.write(_environment(settings, stores, mlflow_url, gateway_url))
        stack.callback(file.remove)
        ready = httpx.get(f"{gateway_url}/health/ready").status_code == httpx.codes.OK
        model = "it has a model already" if ready else "waiting for a model"
        console.print(f"  MLflow {mlflow_url}\n  gateway {gateway_url} ({model})")
        served = settings.model_copy(update={"tracking_uri": SecretStr(mlflow_url)})
        run, measured, promotion = run_main(served)
        show_figures(measured, settings)
        console.print(f"[bold]{promotion.sentence}[/bold]")
        show_sample(gateway_url, served, promotion)
        show_addresses(gateway_url, f"{mlflow_url}/{runs_page(run.experiment_id)}", stores.notes, state)
        if not smoke:
            _serve([*stores.services, *services])


def _environment(settings: PipelineSettings, stores: Backend, mlflow_url: str, gateway_url: str) -> dict[str, str]:
    """What a command must have in its environment to reach this stack."""
    plain = {f"FRAUD_{name.upper()}": _as_variable(value) for name, value in stores.settings.items()}
    contract = Path(settings.contract)
    return {
        **stores.environment,
        **plain,
        "FRAUD_TRACKING_URI": mlflow_url,
        "FRAUD_GATEWAY_URL": gateway_url,
        "FRAUD_CONTRACT": str(contract.resolve()) if contract.is_file() else settings.contract,
    }


def _as_variable(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def show_addresses(gateway_url: str, runs_url: str, notes: Iterable[str], state: Path) -> None:
    """Say where everything is, and what to try next."""
    lines = (
        ("page", gateway_url),
        ("MLflow", runs_url),
        ("API", f"{gateway_url}/docs"),
        ("logs", str(state / "logs")),
    )
    console.print()
    for name, place in lines:
        console.print(f"  {name:9} {place}", markup=False)
    for line in notes:
        console.print(f"  {line}", markup=False)
    console.print("\nNext, in another terminal of this folder:")
    for command, purpose in _NEXT:
        console.print(f"\n  # {purpose}\n  {_program()} -m pipelines {command}", markup=False)


def _program() -> str:
    """The path by which this Python is called from here."""
    program = Path(sys.executable)
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)


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
def _only_one(file: StackFile) -> Iterator[None]:
    """Hold a lock on the state folder: two stacks on one would share MLflow's files."""
    file.lock.parent.mkdir(parents=True, exist_ok=True)
    with file.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LostRace(
                f"Another instance of `up` is using {file.lock.parent}.", "Stop it, or set FRAUD_STATE_DIR."
            ) from error
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


def show_sample(gateway_url: str, settings: PipelineSettings, promotion: Promotion) -> None:
    """Wait until the gateway serves the champion, request one prediction and one batch, and show the first."""
    champion = promotion.production
    if champion is None:
        raise Unavailable(
            "No version was promoted, so the gateway has nothing to serve.", "See the gate's table above."
        )
    with step(f"gateway switches to version {champion.version}"):
        _wait_for_version(gateway_url, str(champion.version))
    if settings.data_contract.contract == DEFAULT:
        transactions = sample_transactions()
    else:
        bundle = Registry(settings.mlflow_uri, settings.model_name).bundle(champion)
        transactions = golden_transactions(bundle.manifest)
    answer = _post(f"{gateway_url}/predict?trial=true", transactions[0])
    answers = _post(f"{gateway_url}/predict-batch?trial=true", transactions)
    if len(answers) != len(transactions) or {a["model_version"] for a in [answer, *answers]} != {str(champion.version)}:
        raise Unavailable("The gateway did not answer with the promoted version.", "See its log.")
    body = json.dumps(transactions[0])
    console.print(
        f"\n[bold]curl -s {gateway_url}/predict -H 'content-type: application/json' -d {shlex.quote(body)}[/bold]"
    )
    console.print_json(data=answer)
    console.print(f"  /predict-batch answered {len(answers)} transactions")


def _post(url: str, body: object) -> Any:
    response = httpx.post(url, json=body, timeout=10)
    if response.status_code != httpx.codes.OK:
        raise Unavailable(f"{url} answered {response.status_code}: {response.text[:300]}", "See the gateway's log.")
    return response.json()


def _wait_for_version(gateway_url: str, version: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    answer = ""
    while time.monotonic() < deadline:
        response = httpx.get(f"{gateway_url}/health/ready")
        answer = response.text
        if response.status_code == httpx.codes.OK and str(response.json().get("model_version")) == version:
            return
        time.sleep(0.3)
    raise Unavailable(f"The gateway does not serve version {version}: {answer[:300]}", "See its log.")


def sample_transactions(rows: int = 3) -> list[dict[str, float]]:
    """Simulated transactions as a client would send them; the first is a blatant fraud."""
    frauds = next(simulate(_CANDIDATES, seed=1, fraud_rate=1.0)).raw
    blatant = frauds[np.argmin(frauds[:, _TELLING])]
    others = next(simulate(rows - 1, seed=1, fraud_rate=0.0)).raw
    return [
        {name: round(float(value), 6) for name, value in zip(FIELDS, row, strict=True)} for row in (blatant, *others)
    ]


def golden_transactions(manifest: Manifest) -> list[dict[str, Any]]:
    """Transactions that a version was trained on, whatever its contract; the first is the clearest fraud."""
    rows, contract = manifest.golden_rows, manifest.contract
    found = [contract.transaction(row.values.tolist()) for row in (rows[-1], rows[0], rows[1])]
    if not contract.requires("transaction_id"):
        return found
    # by its content: what a later `up` sends again is the same transaction, whatever else it sends
    names = (hashlib.sha256(json.dumps(each, sort_keys=True).encode()).hexdigest()[:12] for each in found)
    return [{**each, contract.transaction_id: f"sample-{name}"} for each, name in zip(found, names, strict=True)]
