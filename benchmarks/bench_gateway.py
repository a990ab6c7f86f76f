"""The gateway beside a bare server and ``mlflow models serve``, in turns on one machine.

Run: PYTHONPATH=. python benchmarks/bench_gateway.py [--seconds 8] [--rounds 5] [--soak SECONDS] [--json FILE]

All but the bare server score the same ensemble of 100 + 100 trees. The gateway has its keys, store, metrics and logs
on; the plain pyfunc is the ensemble as a user would first write it; the third is our registered form of it behind
MLflow's own server. Machines differ, and are as busy as they are: what travels are the ratios.
"""

import argparse
import io
import json
import logging
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
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
SETTLE_SECONDS = 25
"""After which a gateway has imported all that it will."""

RATE, P50, P99, CPU = "requests/s, 16 clients", "p50 ms, 1 client", "p99 ms, 1 client", "processor ms, 16 clients"
ECHO, GATEWAY, PLAIN, OURS = "bare server", "gateway", "plain pyfunc", "our pyfunc"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of every measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of all (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the second gateway (default: 2)")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds of load in which memory is watched")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    model = reference()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(model, Path(scratch), options)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


@dataclass(frozen=True)
class Served:
    """One of the servers that are measured in turns; what its process has used of the processor, if that is known."""

    target: load.Target
    bodies: list[bytes]
    used: Callable[[], float] | None = None


def measure(model: Reference, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All figures, printed as they come."""
    rounds: dict[str, dict[str, list[float]]] = {}
    several = f"gateway, {options.workers} workers"
    with ExitStack() as stack:
        echo, pid = stack.enter_context(servers.bare(scratch))
        one = stack.enter_context(servers.gateway(scratch / "one", model.bundle))
        many = stack.enter_context(servers.gateway(scratch / "many", model.bundle, FRAUD_WORKERS=str(options.workers)))
        served = {
            ECHO: Served(echo, model.transactions, lambda: servers.cpu_seconds(pid)),
            GATEWAY: Served(one.target("/predict"), model.transactions, lambda: one.cpu_seconds),
            several: Served(many.target("/predict"), model.transactions, lambda: many.cpu_seconds),
        }
        for name, save in {PLAIN: models.save_plain, OURS: models.save_ours}.items():
            folder = scratch / name.replace(" ", "-")
            save(model, folder)
            target = stack.enter_context(servers.mlflow_model(scratch, folder, folder.name))
            served[name] = Served(target, models.invocations(model))
        time.sleep(SETTLE_SECONDS)
        for each in served.values():
            load.run(each.target, each.bodies, MANY, 2)
        for _ in range(options.rounds):
            for name, each in served.items():
                for what, value in _singles(each, options.seconds).items():
                    rounds.setdefault(name, {}).setdefault(what, []).append(value)
        sync = _sync_milliseconds(scratch)
        show(rounds, several, sync)
        rest = {"memory with a model, MB": one.resident / 2**20}
        rest |= _during_swaps(one, model, options.seconds)
        rest |= _files(one, model)
        rest["memory after files, MB"] = one.resident / 2**20
        if options.soak:
            rest |= _memory(one, model, options.soak)
    for what, value in rest.items():
        print(f"{what:42s}{value:14,.2f}")
    return {"rounds": rounds, "fdatasync, ms": sync, **rest}


def _singles(served: Served, seconds: float) -> dict[str, float]:
    one = load.run(served.target, served.bodies, 1, seconds)
    before = served.used() if served.used else 0.0
    many = load.run(served.target, served.bodies, MANY, seconds)
    used = {CPU: (served.used() - before) / many.requests * 1000} if served.used else {}
    return {P50: one.milliseconds(0.5), P99: one.milliseconds(0.99), RATE: many.rate, **used}


def _sync_milliseconds(folder: Path) -> float:
    """The median of writing 4 kB to the disk, as every commit does."""
    taken = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(bytes(4096))
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return median(taken) * 1000


def show(rounds: dict[str, dict[str, list[float]]], several: str, sync: float) -> None:
    """Print medians with their spread, and what they come to beside one another."""
    columns = (RATE, P50, P99, CPU)
    print(f"{'median (least to most)':22s}" + "".join(f"{what:>32s}" for what in columns))
    for name, taken in rounds.items():
        cells = []
        for what in columns:
            values = taken.get(what)
            cells.append(f"{median(values):,.2f} ({min(values):,.2f} to {max(values):,.2f})" if values else "")
        print(f"{name:22s}" + "".join(f"{cell:>32s}" for cell in cells))

    def compared(what: str, above: str, below: str) -> float:
        pairs = zip(rounds[above][what], rounds[below][what], strict=True)
        return median(over / under for over, under in pairs)

    allowed = 5 * median(rounds[ECHO][P50]) + sync
    print()
    for what, value, goal in (
        ("requests/s over the bare server's", compared(RATE, GATEWAY, ECHO), ">= 0.25"),
        ("requests/s over the plain pyfunc's", compared(RATE, GATEWAY, PLAIN), ">= 60"),
        ("p50, ms", median(rounds[GATEWAY][P50]), f"<= {allowed:.2f}: 5 of the bare server's and one fdatasync"),
        ("the plain pyfunc's p50 over it", compared(P50, PLAIN, GATEWAY), ">= 40"),
        ("p99, ms", median(rounds[GATEWAY][P99]), "<= 3"),
        ("processor time over the bare server's", compared(CPU, GATEWAY, ECHO), "<= 5"),
        (f"{several} over one, requests/s", compared(RATE, several, GATEWAY), ">= 1.5"),
    ):
        print(f"{what:42s}{value:14,.2f}   goal {goal}")


def _memory(running: servers.RunningGateway, model: Reference, seconds: float) -> dict[str, float]:
    """Resident memory under load: at its begin, at its end, and what a million requests add."""
    begun, requests, points = time.monotonic(), 0, []
    while time.monotonic() < begun + seconds:
        requests += load.run(running.target("/predict"), model.transactions, MANY, 10).requests
        points.append((requests / 1e6, running.resident / 2**20))
    millions, megabytes = np.array(points).T
    half = len(points) // 2  # until then caches fill
    return {
        "memory soak, million requests": float(millions[-1]),
        "memory soak, MB at its begin": float(megabytes[0]),
        "memory soak, MB at its end": float(megabytes[-1]),
        "memory soak, MB a million requests": float(np.polyfit(millions[half:], megabytes[half:], 1)[0]),
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
        "p99 ms without swaps": quiet.milliseconds(0.99),
        "p99 ms during swaps": during.milliseconds(0.99),
        "longest ms during swaps": during.milliseconds(1.0),
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


if __name__ == "__main__":
    main()
