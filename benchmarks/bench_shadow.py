"""What a challenger in the shadow costs those who are answered: latencies of /predict without it and at a share of 1.

Run: PYTHONPATH=. python benchmarks/bench_shadow.py [--seconds 8] [--rounds 3] [--json FILE]

Both gateways have their keys, store, metrics and logs on and are measured in turns: a machine's moods meet both.
"""

import argparse
import json
import logging
import re
import statistics
import tempfile
import time
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from benchmarks.gateway import load, servers
from benchmarks.gateway.reference import Reference, reference
from ml_project.bundle import Bundle
from ml_project.policies import Thresholds
from stores.mlflow_client import quiet_mlflow

MODEL = "fraud-ensemble"
CLIENTS = (1, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of every measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of both in turns; medians are shown (default: 3)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    quiet_mlflow()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(reference(), Path(scratch), options.seconds, options.rounds)
    for name, values in figures.items():
        print(name)
        for what, value in values.items():
            print(f"  {what:28s}{value:12,.2f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure(model: Reference, scratch: Path, seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """All figures; latencies in milliseconds."""
    tracking = registered(scratch, [model.bundle, challenger(model.bundle)])
    found: dict[str, dict[str, list[float]]] = {"shadow off": {}, "shadow on": {}}
    with ExitStack() as stack:
        running = {}
        for name, share in (("shadow off", "0"), ("shadow on", "1")):
            given = {"MLFLOW_TRACKING_URI": tracking, "FRAUD_SHADOW_SHARE": share}
            one = servers.gateway(scratch / name.replace(" ", "-"), model.bundle, **given)
            running[name] = stack.enter_context(one)
        wait_for_challenger(running["shadow on"])
        for gateway in running.values():
            load.run(gateway.target("/predict"), model.transactions, CLIENTS[-1], 2)  # warm up
        used = {name: [-gateway.cpu_seconds, 0.0] for name, gateway in running.items()}
        for _ in range(rounds):
            for clients in CLIENTS:
                for name, gateway in running.items():
                    measured = load.run(gateway.target("/predict"), model.transactions, clients, seconds)
                    used[name][1] += measured.requests
                    for what, value in (
                        ("p50", measured.milliseconds(0.5)),
                        ("p99", measured.milliseconds(0.99)),
                        ("requests/s", measured.rate),
                    ):
                        found[name].setdefault(f"{what} at {clients} clients", []).append(value)
        figures = {
            name: {what: statistics.median(values) for what, values in measured.items()}
            for name, measured in found.items()
        }
        outcomes = rows(running["shadow on"])
        for name, gateway in running.items():
            cpu, requests = used[name][0] + gateway.cpu_seconds, used[name][1]
            figures[name]["processor ms a request"] = cpu / requests * 1000
            figures[name]["memory, MB"] = gateway.resident / 2**20
        return figures | {"rows of the challenger": outcomes}


def registered(scratch: Path, bundles: list[Bundle]) -> str:
    """A registry without a server, whose first version is Production and whose second is Challenger."""
    from mlflow.tracking import MlflowClient

    from stores.registry import BUNDLE_PATH, CHALLENGER, DIGEST_TAG, PRODUCTION, Registry

    uri = f"sqlite:///{scratch / 'mlflow.db'}"
    client: Any = MlflowClient(uri, uri)
    experiment = client.create_experiment(MODEL, artifact_location=(scratch / "artifacts").as_uri())
    client.create_registered_model(MODEL)
    for number, bundle in enumerate(bundles):
        run = client.create_run(experiment).info
        bundle.write(scratch / str(number))
        client.log_artifacts(run.run_id, str(scratch / str(number)), f"model/{BUNDLE_PATH}")
        tags = {DIGEST_TAG: bundle.digest}
        client.create_model_version(MODEL, f"{run.artifact_uri}/model", run_id=run.run_id, tags=tags)
    registry = Registry(uri, MODEL)
    registry.move(PRODUCTION, 1)
    registry.move(CHALLENGER, 2)
    return uri


def challenger(bundle: Bundle) -> Bundle:
    """The same trees with a lower threshold: as much work under another digest."""
    manifest, used = bundle.manifest, bundle.manifest.thresholds
    policies = {manifest.policy: Thresholds(used.alert / 2, used.decline)}
    return replace(bundle, manifest=manifest.model_copy(update={"policies": policies}))


def wait_for_challenger(running: servers.RunningGateway) -> None:
    """Until it is loaded."""
    while httpx.get(f"http://127.0.0.1:{running.port}/health/ready").json()["shadow"]["model_version"] is None:
        time.sleep(0.1)


def rows(running: servers.RunningGateway) -> dict[str, float]:
    """What became of the rows drawn, by outcome, once none waits."""
    while True:
        address = f"http://127.0.0.1:{running.port}/metrics"
        text = httpx.get(address, headers={"X-API-Key": running.key}).text
        if "fraud_shadow_waiting 0.0" in text:
            found = re.findall(r'fraud_shadow_rows_total\{outcome="(\w+)"\} (\S+)', text)
            return {outcome: float(count) for outcome, count in found}
        time.sleep(0.5)


if __name__ == "__main__":
    main()
