"""The gateway beside ``mlflow models serve``: requests, latencies, files, memory and swaps, in one run on one machine.

Run: PYTHONPATH=. python benchmarks/bench_gateway.py [--seconds 8] [--json FILE]

All score the same ensemble of 100 + 100 trees. The gateway has its keys, store, metrics and logs on; the plain pyfunc
is the ensemble as a user would first write it; the third is our registered form of it behind MLflow's own server.
"""

import argparse
import io
import json
import logging
import tempfile
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.gateway import load, models, servers
from benchmarks.gateway.reference import Reference, reference
from ml_project.bundle import Bundle
from ml_project.policies import Thresholds
from ml_project.simulator import FIELDS

FILE_ROWS, REPEATS = 200_000, 3
MANY = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of every measurement (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the gateway at 16 clients (default: 2)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    model = reference()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(model, Path(scratch), options.seconds, options.workers)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure(model: Reference, scratch: Path, seconds: float, workers: int) -> dict[str, Any]:
    """All figures; latencies in milliseconds, rates per second."""
    figures: dict[str, Any] = {}
    folders = {"plain pyfunc": models.save_plain, "our pyfunc": models.save_ours}
    for name, save in folders.items():
        folder = scratch / name.replace(" ", "-")
        save(model, folder)
        with servers.mlflow_model(scratch, folder, folder.name) as target:
            figures[name] = _singles(target, models.invocations(model), seconds)
    with servers.gateway(scratch / "one", model.bundle) as running:
        target = running.target("/predict")
        figures["gateway"] = _singles(target, model.transactions, seconds)
        figures["gateway"]["memory with a model, MB"] = running.resident / 2**20
        figures["swap"] = _during_swaps(running, model, seconds)
        figures["files"] = _files(running, model)
        figures["files"]["memory after files, MB"] = running.resident / 2**20
    with servers.gateway(scratch / "many", model.bundle, FRAUD_WORKERS=str(workers)) as running:
        name = f"gateway, {workers} workers"
        figures[name] = _singles(running.target("/predict"), model.transactions, seconds)
    return figures


def _singles(target: load.Target, bodies: list[bytes], seconds: float) -> dict[str, float]:
    load.run(target, bodies, MANY, 2)  # warm up
    one, many = load.run(target, bodies, 1, seconds), load.run(target, bodies, MANY, seconds)
    return {
        "p50 at 1 client": one.milliseconds(0.5),
        "p99 at 1 client": one.milliseconds(0.99),
        "p50 at 16 clients": many.milliseconds(0.5),
        "p99 at 16 clients": many.milliseconds(0.99),
        "requests at 16 clients": many.rate,
    }


def _during_swaps(running: servers.RunningGateway, model: Reference, seconds: float) -> dict[str, float]:
    """p99 at one client without swaps, and while the live version changes every two seconds."""
    target, stop, version = running.target("/predict"), threading.Event(), 1

    def swap() -> None:
        nonlocal version
        while not stop.wait(2):
            version += 1
            servers.publish(running.releases, _other(model.bundle, version), version)

    quiet = load.run(target, model.transactions, 1, seconds)
    swapper = threading.Thread(target=swap)
    swapper.start()
    during = load.run(target, model.transactions, 1, seconds)
    stop.set()
    swapper.join()
    return {
        "swaps": float(version - 1),
        "p99 without": quiet.milliseconds(0.99),
        "p99 during": during.milliseconds(0.99),
        "longest during": during.milliseconds(1.0),
    }


def _other(bundle: Bundle, version: int) -> Bundle:
    """The same trees under another digest."""
    manifest = bundle.manifest
    alert = manifest.thresholds.alert + version * 1e-9
    policies = {manifest.policy: Thresholds(alert, manifest.thresholds.decline)}
    return replace(bundle, manifest=manifest.model_copy(update={"policies": policies}))


def _files(running: servers.RunningGateway, model: Reference) -> dict[str, float]:
    rows = np.resize(model.raw, (FILE_ROWS, len(FIELDS)))
    frame = pd.DataFrame(rows, columns=list(FIELDS))
    parquet = io.BytesIO()
    frame.to_parquet(parquet)
    files = {"text/csv": frame.to_csv(index=False).encode(), "application/vnd.apache.parquet": parquet.getvalue()}
    figures = {}
    for media_type, content in files.items():
        request = running.target("/predict-batch", media_type).request(content)
        times = []
        for _ in range(REPEATS):
            with load.connected(running.port) as connection:
                started = time.perf_counter()
                answer = load.ask(connection, request)
                times.append(time.perf_counter() - started)
        _check(media_type, answer)
        figures[f"{media_type.rpartition('.')[2].rpartition('/')[2]}, rows/s"] = FILE_ROWS / min(times)
    return figures


def _check(media_type: str, answer: bytes) -> None:
    rows = answer.count(b"\n") - 1 if media_type == "text/csv" else None
    if rows is not None and rows < FILE_ROWS:
        raise RuntimeError(f"{rows} rows came back, not {FILE_ROWS}")


def show(figures: dict[str, Any]) -> None:
    """Print every figure, and the ratios to MLflow's server."""
    for name, values in figures.items():
        print(name)
        for what, value in values.items():
            print(f"  {what:28s}{value:12,.2f}")
    plain = figures["plain pyfunc"]
    for name in [name for name in figures if name.startswith("gateway")]:
        rate, latency = "requests at 16 clients", "p50 at 1 client"
        more, less = figures[name][rate] / plain[rate], plain[latency] / figures[name][latency]
        print(f"{name} against the plain pyfunc: {more:.0f} times the requests, p50 {less:.0f} times lower")
    swap = figures["swap"]
    print(f"p99 during swaps: {swap['p99 during'] / swap['p99 without']:.1f} times the usual")


if __name__ == "__main__":
    main()
