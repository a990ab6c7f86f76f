"""How far a reader has to walk: source files, and those that a prediction, a training and a promotion pass through.

Run: PYTHONPATH=. python benchmarks/bench_calls.py [--files] [--json FILE]

Counted are the files of ml_project, stores, pipelines and serving. A file is touched when one of its functions runs. A
move is a call that enters a file from another one of them, or the return from it; libraries in between do not count.
"""

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ml_project", "stores", "pipelines", "serving")
KEY = "a-key-of-this-benchmark-and-no-other"
SETTLE_SECONDS = 0.3
"""What is logged and counted after the answer has gone out belongs to the request, too."""

REPEATS = 12
"""The one with the fewest files counts: threads that look at the spool or the keys once a second are no part of it."""

ROWS = 6_000
"""That the answering model and the two trainings before the promotion have: how many does not change the way."""


@dataclass
class Walk:
    """Calls in the order in which they began, over all threads."""

    recording: bool = False
    calls: int = 0
    moves: int = 0
    files: dict[str, None] = field(default_factory=dict)
    """The touched files in the order of their first call."""

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        """Take in one event of ``sys.setprofile``."""
        if not self.recording or event not in ("call", "return"):
            return
        here = _file_of(frame)
        if here is None:
            return
        caller = frame.f_back
        while caller is not None and _file_of(caller) is None:
            caller = caller.f_back
        if event == "call":
            self.calls += 1
            self.files[here] = None
        self.moves += caller is None or _file_of(caller) != here

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Count from zero, within the block."""
        self.calls, self.moves, self.files = 0, 0, {}
        self.recording = True
        try:
            yield
        finally:
            self.recording = False

    def figures(self) -> dict[str, Any]:
        """What was counted."""
        return {"files": len(self.files), "moves": self.moves, "calls": self.calls, "in order": list(self.files)}


_known: dict[str, str | None] = {}


def _file_of(frame: FrameType) -> str | None:
    """The project's file that a frame runs in; None for a library's."""
    name = frame.f_code.co_filename
    if name not in _known:
        path = Path(name)
        inside = path.suffix == ".py" and path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PACKAGES
        _known[name] = str(path.relative_to(ROOT)) if inside else None
    return _known[name]


def source_files() -> dict[str, int]:
    """Python files by package, tests and benchmarks left out."""
    return {package: len(list((ROOT / package).rglob("*.py"))) for package in PACKAGES}


def predictions(walk: Walk, folder: Path) -> dict[str, dict[str, Any]]:
    """An approved and a declined ``POST /predict`` with a key, a rate limit and SQLite, after some others."""
    import numpy as np
    import uvicorn

    from benchmarks.gateway import load, servers
    from benchmarks.gateway.reference import reference
    from ml_project.scorer import Scorer
    from serving.app import create_app
    from serving.process import listen
    from serving.server import configured
    from serving.settings import GatewaySettings
    from serving.telemetry.request import configure_logging
    from stores.releases import open_releases

    model = reference(ROWS)
    servers.publish(open_releases(str(folder / "releases")), model.bundle, 1)
    order = np.argsort(Scorer(model.bundle, 1).score(model.raw[: len(model.transactions)]).hybrid)
    settings = GatewaySettings(
        state_dir=folder / "state",
        releases_uri=str(folder / "releases"),
        tracking_uri=servers.NOBODY,
        require_keys="true",
        bootstrap_key=KEY,
        rate_limit="100000/minute",
        poll_seconds=3_600,
    )
    configure_logging("INFO")
    listener = listen("127.0.0.1", 0)
    config = configured(create_app(settings), settings)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    target = load.Target(listener.getsockname()[1], "/predict", (("X-API-Key", KEY),))
    bodies = {"approved": model.transactions[order[0]], "declined": model.transactions[order[-1]]}
    figures = {}
    try:
        _wait_for_model(target.port)
        with load.connected(target.port) as connection:
            for body in 20 * list(bodies.values()):
                load.ask(connection, target.request(body))
            for name, body in bodies.items():
                taken = []
                for _ in range(REPEATS):
                    time.sleep(SETTLE_SECONDS)
                    with walk.recorded():
                        answer = json.loads(load.ask(connection, target.request(body)))
                        time.sleep(SETTLE_SECONDS)
                    taken.append(walk.figures())
                    if (answer["decision"] == "APPROVE") != (name == "approved"):
                        raise RuntimeError(f"the transaction meant to be {name} was answered {answer['decision']}")
                figures[f"POST /predict, {name}"] = min(taken, key=lambda figure: (figure["files"], figure["moves"]))
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
    return figures


def _wait_for_model(port: int) -> None:
    import httpx

    deadline = time.monotonic() + 60
    with httpx.Client(timeout=60) as client:
        while client.get(f"http://127.0.0.1:{port}/health/ready").status_code != 200:
            if time.monotonic() > deadline:
                raise RuntimeError("the gateway found no model")
            time.sleep(0.1)


def pipeline(walk: Walk, folder: Path) -> dict[str, dict[str, Any]]:
    """The training of a second model and its promotion over a first one, judged by the gate; on SQLite and folders."""
    import pandas as pd

    from ml_project.simulator import FIELDS, LABEL, simulate
    from pipelines.settings import PipelineSettings
    from pipelines.training.steps import run_ingest, run_main, run_promote, run_threshold, run_train, run_validate
    from stores.mlflow_client import quiet_mlflow

    quiet_mlflow()
    data = folder / "transactions.parquet"
    [rows] = simulate(ROWS, seed=0, fraud_rate=0.02, chunk_rows=ROWS)
    pd.DataFrame(rows.raw, columns=list(FIELDS)).assign(**{LABEL: rows.label}).to_parquet(data)
    few = {"trials": 1, "folds": 2, "replicates": 100, "threads": 2}
    first = PipelineSettings(state_dir=folder / "var", tracking_uri="", data=str(data)).model_copy(update=few)
    run_main(first)
    second = first.model_copy(update={"seed": 1})
    figures = {}
    sys.setprofile(walk.profile)
    try:
        with walk.recorded():
            run_ingest(second)
            run_validate(second)
            run_train(second)
            run_threshold(second)
        figures["training"] = walk.figures()
        with walk.recorded():
            run_promote(second)
        figures["promote"] = walk.figures()
    finally:
        sys.setprofile(None)
    return figures


def measure(scratch: Path) -> dict[str, dict[str, Any]]:
    """Everything that is traced, by name."""
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    walk = Walk()
    threading.setprofile(walk.profile)
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            traced = predictions(walk, scratch)
            logging.disable(logging.WARNING)
            return traced | pipeline(walk, scratch)
    finally:
        threading.setprofile(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", action="store_true", help="also list the touched files, in the order of their calls")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(Path(scratch))
    files = source_files()
    print(f"source files outside tests {sum(files.values()):5d}  {files}")
    for name, figure in figures.items():
        print(f"{name:26s} {figure['files']:5d} files {figure['moves']:5d} moves {figure['calls']:5d} calls")
        for place in figure["in order"] if options.files else ():
            print(f"    {place}")
    if options.json:
        options.json.write_text(json.dumps({"source files": files, **figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
