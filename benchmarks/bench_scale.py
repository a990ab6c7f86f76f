"""Scoring simulated transactions from Parquet to Parquet: rows/s, memory, and how time grows with rows.

PYTHONPATH=. python benchmarks/bench_scale.py --rows 1 3 10 30 --engine local spark --json benchmarks/scale.json

Each measurement is a process of its own, whose resident memory (with children) is sampled twice a second. The bundle
has 100 + 100 trees. The registry and its runs are left out: they cost seconds once, whatever the rows.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from ml_project.schema import RAW_FEATURES
from ml_project.simulator import simulate

MILLION = 1_000_000
BYTES_PER_MB = 1024**2


def reference_bundle(folder: Path) -> None:
    """100 isolation and 100 boosted trees on 60,000 simulated rows."""
    # Here, not above: scoring needs none of the libraries that fit, and its memory is measured.
    from ml_project.bundle import Bundle
    from ml_project.dataset import Dataset
    from ml_project.engine import LocalEngine
    from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
    from ml_project.fitting import fit_twin
    from ml_project.policies import Thresholds
    from ml_project.split import split_by_time

    chunks = list(simulate(60_000, seed=3, fraud_rate=0.005))
    raw = np.concatenate([chunk.raw for chunk in chunks])
    label = np.concatenate([chunk.label for chunk in chunks])
    data = Dataset(raw, label, np.ones(len(label)), raw[:, 0])
    settings = EnsembleSettings(0.02, ForestSettings(100, 256), BoosterSettings(rounds=25, num_parallel_tree=4))
    bundle = fit_twin(split_by_time(data), settings, LocalEngine(seed=1), {"source": "simulated"}).bundle
    policies = {"f1": Thresholds(0.3, 0.7)}
    manifest = bundle.manifest.model_copy(update={"policy": "f1", "policies": policies})
    Bundle(manifest, bundle.onnx, bundle.booster).write(folder)


def write_input(path: Path, rows: int) -> None:
    """Simulated transactions in row groups of 250,000."""
    schema = pa.schema([(name, pa.float64()) for name in RAW_FEATURES])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for chunk in simulate(rows, seed=1, days=30, chunk_rows=250_000):
            writer.write_table(pa.table([pa.array(column) for column in chunk.raw.T], schema=schema))


def score_once(bundle: Path, data: Path, output: Path, engine: str) -> dict[str, Any]:
    """One job in this process, without a registry."""
    from ml_project.scorer import load_scorer
    from pipelines.scoring.output import open_output
    from pipelines.scoring.planning import make_plan
    from pipelines.scoring.run import run_parts
    from pipelines.settings import PipelineSettings

    settings = PipelineSettings.model_validate({})
    begun = time.perf_counter()
    scorer = load_scorer(bundle, threads=1)
    target = open_output(str(output), "")
    with target.alone():
        plan = make_plan(str(data), str(output), 1, scorer.bundle.digest, "")
        target.begin(plan)
        receipts = list(run_parts(settings, engine, plan, plan.parts, scorer, target.staging, lambda _rows: None))
        target.commit({"fingerprint": plan.fingerprint})
    rows = sum(receipt.tally.rows for receipt in receipts)
    return {"rows": rows, "seconds": round(time.perf_counter() - begun, 2)}


def measured(bundle: Path, data: Path, engine: str) -> dict[str, Any]:
    """`score_once` in a process of its own, with the memory and processor time of it and its children."""
    with tempfile.TemporaryDirectory() as scratch:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, __file__, "--child", engine, str(bundle), str(data), str(Path(scratch) / "out")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(0.5)
        assert process.stdout is not None
        answer: dict[str, Any] = json.loads(process.stdout.read().splitlines()[-1])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "engine": engine,
        **answer,
        "cpu_seconds": round(cpu, 2),
        "rows_per_second": round(answer["rows"] / answer["seconds"]),
        "rows_per_cpu_second": round(answer["rows"] / cpu),
        "peak_mb": round(peak / BYTES_PER_MB),
    }


def _resident(pid: int) -> float:
    total = 0.0
    try:
        root = psutil.Process(pid)
        for each in (root, *root.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def exponent(found: list[dict[str, Any]], time_of: str) -> float | None:
    """Slope of log time against log rows; None of fewer than two sizes."""
    if len(found) < 2:
        return None
    slope, _ = np.polyfit(*(np.log([each[name] for each in found]) for name in ("rows", time_of)), 1)
    return round(float(slope), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, nargs="+", default=[1, 3], help="millions (default: 1 3)")
    parser.add_argument("--engine", nargs="+", default=["local"], choices=["local", "spark"])
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        engine, bundle, data, output = arguments.child
        print(json.dumps(score_once(Path(bundle), Path(data), Path(output), engine)))
        return
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("FRAUD_BENCH_DIR")) as scratch:
        bundle = Path(scratch) / "bundle"
        reference_bundle(bundle)
        for millions in arguments.rows:
            data = Path(scratch) / "input.parquet"
            write_input(data, int(millions * MILLION))
            for engine in arguments.engine:
                load = os.getloadavg()[0]
                found.append({**measured(bundle, data, engine), "load_before": round(load, 1)})
                print(json.dumps(found[-1]), flush=True)
    summary = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "measurements": found,
        "exponents": {
            f"{engine} {time_of}": exponent([each for each in found if each["engine"] == engine], time_of)
            for engine in arguments.engine
            for time_of in ("seconds", "cpu_seconds")
        },
    }
    print(json.dumps(summary["exponents"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
