"""Traffic drifts, `monitor` notices, `retrain` runs, and its version goes live without a failed answer.

Every part is a process of its own, as in production; 30 days pass by event time, in minutes. ``make demo-drift`` keeps
the page of results in docs/demo-drift.html.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pandas as pd

from ml_project.simulator import FIELDS, LABEL, TELLING, simulate
from pipelines.pages.charts import Axis, Line, Picture, chart
from pipelines.pages.render import render
from pipelines.processes import Service
from pipelines.settings import PipelineSettings
from pipelines.up.run import sample_transactions
from pipelines.up.services import embedded_backend, gateway_service, mlflow_service
from stores.mlflow_client import quiet_mlflow
from tests.support.processes import free_port

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "demo-drift.html"
DAYS, DRIFT_DAY, PER_DAY, FRAUD_RATE = 30, 10, 2_000, 0.015
WATCHED_DAYS = (1, 5, 9, 10, 11, 16, 22)

Finish = Callable[[list[str], dict[str, str]], tuple[int, str]]


def finished(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """A command's exit code and what it said, once it has ended by itself."""
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3600)
    if done.returncode not in (0, 4):
        raise RuntimeError(f"{command[3:]}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.returncode, done.stdout


@dataclass(frozen=True)
class Watched:
    """A day as `monitor` saw it."""

    day: int
    exit_code: int
    version: str
    sentence: str
    figures: dict[str, float]
    limits: dict[str, float | None]


@dataclass
class Bank:
    """MLflow, a gateway, and the commands around them, below a folder."""

    folder: Path
    stack: ExitStack
    finish: Finish = finished
    drift_day: int = DRIFT_DAY
    services: dict[str, Service] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
        self.settings = PipelineSettings(state_dir=self.folder, tracking_uri="")
        ports = free_port(), free_port()
        self.mlflow_url, self.url = (f"http://127.0.0.1:{port}" for port in ports)
        backend = embedded_backend(self.settings)
        self.services["mlflow"] = mlflow_service(self.folder, backend, ports[0])
        self.services["gateway"] = gateway_service(self.folder, backend, self.settings, self.mlflow_url, ports[1])
        file = self.folder / "bank.csv"
        (chunk,) = simulate(12_000, seed=4, fraud_rate=FRAUD_RATE, days=6)
        pd.DataFrame(chunk.raw, columns=list(FIELDS)).assign(**{LABEL: chunk.label}).to_csv(file, index=False)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "MLFLOW_"))}
        self.environment = kept | {
            "FRAUD_STATE_DIR": str(self.folder),
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "FRAUD_DATA": str(file),
            "FRAUD_TRIALS": "2",
            "FRAUD_FOLDS": "2",
            "FRAUD_TUNING_ROWS": "8000",
            "FRAUD_REPLICATES": "100",
            "FRAUD_EVIDENTLY": "false",
            "FRAUD_LEASE_SECONDS": "5",
        }

    def serve(self) -> None:
        for service, path in ((self.services["mlflow"], "/health"), (self.services["gateway"], "/health")):
            self.stack.enter_context(service)
            service.wait_for((self.mlflow_url if service.name == "MLflow" else self.url) + path, 120)

    def run(self, *arguments: str) -> tuple[int, str]:
        return self.finish([sys.executable, "-m", "pipelines", *arguments], self.environment)

    def traffic(self, begin: int, days: int, *options: str) -> None:
        when = ("--start", (self.start + timedelta(days=begin)).isoformat(), "--duration", f"{days}d")
        what = ("--fraud-rate", str(FRAUD_RATE), "--label-delay", "7d", "--batch", "200", "--seed", str(begin))
        self.run("simulate-traffic", "--url", self.url, *when, *what, *options)

    def watch(self, day: int) -> Watched:
        begin = self.start + timedelta(days=day)
        window = ("--from", begin.isoformat(), "--to", (begin + timedelta(days=1)).isoformat())
        code, said = self.run("monitor", *window, "--json")
        report = json.loads(said)
        found = {each["name"] + (f"_{each['of']}" if each["of"] else ""): each for each in report["figures"]}
        return Watched(
            day,
            code,
            report["version"],
            report["sentence"],
            {name: each["value"] for name, each in found.items()},
            {name: each["high"] for name, each in found.items()},
        )

    def wait_for_version(self, version: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                answer = httpx.get(f"{self.url}/health/ready", timeout=5)
                if answer.status_code == 200 and str(answer.json()["model_version"]) == version:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise RuntimeError(f"the gateway did not turn to version {version}")


class Probe(threading.Thread):
    """A client that asks all the time, and counts who answered and what failed."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.answers: dict[str, int] = {}
        self.failed = 0
        self._url, self._enough = url, threading.Event()

    def run(self) -> None:
        _blatant, body = sample_transactions(2)
        with httpx.Client(base_url=self._url, timeout=10) as client:
            while not self._enough.wait(0.05):
                try:
                    answer = client.post("/predict", json=body)
                    version = str(answer.raise_for_status().json()["model_version"])
                    self.answers[version] = self.answers.get(version, 0) + 1
                except httpx.HTTPError:
                    self.failed += 1

    def stop(self) -> None:
        self._enough.set()
        self.join()


def demonstrate(bank: Bank) -> tuple[list[Watched], Probe, dict[str, str]]:
    """The whole story."""
    bank.serve()
    bank.run("main")
    bank.wait_for_version("1")
    print("version 1 answers; 30 days of traffic")
    options = ("--drift", f"{TELLING}=0.5", "--drift-after", f"{bank.drift_day}d")
    bank.traffic(0, DAYS - 1, *options)
    windows = [bank.watch(day) for day in WATCHED_DAYS]
    for each in windows:
        print(f"day {each.day}: {each.sentence}")
    probe = Probe(bank.url)
    probe.start()
    began = time.monotonic()
    _code, said = bank.run("retrain", "--reason", "drift")
    took = time.monotonic() - began
    print(said)
    bank.wait_for_version("2")
    while probe.is_alive() and probe.answers.get("2", 0) < 20:
        time.sleep(0.1)
    probe.stop()
    bank.traffic(DAYS - 1, 1, "--drift", f"{TELLING}=0.5")
    windows.append(bank.watch(DAYS - 1))
    print(f"day {DAYS - 1}: {windows[-1].sentence}")
    facts = {
        "retraining": f"{took:.0f} s; {next(line for line in said.splitlines() if line.startswith('Production is'))}",
        "answers meanwhile": ", ".join(f"{count:,} by version {name}" for name, count in sorted(probe.answers.items())),
        "failed answers": str(probe.failed),
    }
    return windows, probe, facts


def page(windows: list[Watched], facts: dict[str, str]) -> str:
    """HTML of the results."""

    def over_days(title: str, name: str, caption: str, limit: bool = False) -> Picture:
        chosen = [each for each in windows if name in each.figures]
        days = np.array([each.day for each in chosen], dtype=float)
        lines = [Line("", days, np.array([each.figures[name] for each in chosen]), marker="o")]
        if limit:
            highs = np.array([each.limits[name] or 0.0 for each in chosen])
            lines.append(Line("limit", days, highs, "limit", style="--"))
        return Picture(
            title,
            chart(title, Axis("day"), Axis(title, kind="share" if name.endswith("share") else "number"), lines),
            caption,
        )

    first = next(each for each in windows if each.exit_code == 4)
    pictures = [
        over_days(
            f"PSI of {TELLING}",
            f"psi_{TELLING}",
            "The last day is the new version's, whose baseline holds days from before the drift, too.",
            limit=True,
        ),
        over_days(
            "PSI of the score",
            "psi_hybrid_score",
            "The last day is the new version's, whose baseline holds days from before the drift, too.",
            limit=True,
        ),
        over_days("average precision", "average_precision", "Of days whose labels had time to come."),
        over_days("share of alerts", "alert_share", "Of all decisions of the day.", limit=True),
    ]
    return render(
        "demo_drift.html",
        title="A drift, noticed and learnt",
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=(
            f"{DAYS} days of {PER_DAY:,} simulated transactions; from day {DRIFT_DAY} on {TELLING} is half a standard "
            f"deviation higher, which monitor says of day {first.day}. Labels come after 7 days."
        ),
        facts=facts,
        pictures=pictures,
        windows=windows,
    )


def main() -> None:
    """Run it and keep its page."""
    quiet_mlflow()
    with tempfile.TemporaryDirectory(prefix="demo-drift-") as name, ExitStack() as stack:
        windows, probe, facts = demonstrate(Bank(Path(name), stack))
        PAGE.write_text(page(windows, facts), encoding="utf-8")
    print(f"{probe.failed} failed answers; {PAGE.relative_to(ROOT)}")
    if probe.failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
