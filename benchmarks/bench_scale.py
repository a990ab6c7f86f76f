"""Scoring and training on simulated transactions: rows/s, memory, and how time grows with rows.

PYTHONPATH=. python benchmarks/bench_scale.py --job score train --rows 1 3 10 30 --engine local spark --json FILE

Each measurement is a process of its own (`scale_jobs`), whose resident memory and processor time, with those of its
children, are sampled twice a second. The bundle has 100 + 100 trees. The registry and its runs are left out: they cost
seconds once, whatever the rows. Figures of an earlier FILE stay beside new ones.
"""

import argparse
import json
import os
import platform
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

from benchmarks import scale_jobs
from ml_project.simulator import FIELDS, LABEL, simulate

MILLION = 1_000_000
BYTES_PER_MB = 1024**2


def write_input(path: Path, rows: int, *, labelled: bool) -> None:
    """Simulated transactions in row groups of 250,000."""
    schema = pa.schema([(name, pa.float64()) for name in FIELDS] + [(LABEL, pa.int8())] * labelled)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for chunk in simulate(rows, seed=1, days=30, chunk_rows=250_000):
            columns = [pa.array(column) for column in chunk.raw.T] + [pa.array(chunk.label)] * labelled
            writer.write_table(pa.table(columns, schema=schema))


def measured(job: str, engine: str, bundle: Path, data: Path) -> dict[str, Any]:
    """A job in a process of its own, with the memory and processor time of it and its children."""
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as scratch:
        places = (str(bundle), str(data), str(Path(scratch) / "out"))
        command = [sys.executable, scale_jobs.__file__, job, engine, *places]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        peak, spent = 0.0, dict[int, float]()
        while process.poll() is None:
            resident = 0.0
            for each in _family(process.pid):
                try:
                    resident += each.memory_info().rss
                    spent[each.pid] = sum(each.cpu_times()[:2])
                except psutil.NoSuchProcess:
                    continue
            peak = max(peak, resident)
            time.sleep(0.5)
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
        if process.returncode:
            return {"job": job, "engine": engine, "failed": process.returncode, "peak_mb": round(peak / BYTES_PER_MB)}
        answer: dict[str, Any] = json.loads(lines[-1])
    cpu = sum(spent.values())
    return {
        "job": job,
        "engine": engine,
        **answer,
        "cpu_seconds": round(cpu, 1),
        "rows_per_second": round(answer["rows"] / answer["seconds"]),
        "peak_mb": round(peak / BYTES_PER_MB),
        "load_before": load,
    }


def _family(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def exponents(found: list[dict[str, Any]]) -> dict[str, float]:
    """Slope of log time against log rows, of each job and engine that was measured on two sizes at least."""
    slopes = {}
    for job, engine in sorted({(each["job"], each["engine"]) for each in found}):
        done = [each for each in found if (each["job"], each["engine"]) == (job, engine) and "seconds" in each]
        if len(done) > 1:
            rows, seconds = (np.log([each[name] for each in done]) for name in ("rows", "seconds"))
            slope, _ = np.polyfit(rows, seconds, 1)
            slopes[f"{job} {engine}"] = round(float(slope), 3)
    return slopes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", nargs="+", default=["score"], choices=["score", "train"])
    parser.add_argument("--rows", type=float, nargs="+", default=[1, 3], help="millions (default: 1 3)")
    parser.add_argument("--engine", nargs="+", default=["local"], choices=["local", "spark"])
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    found: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        found = json.loads(arguments.json.read_text())["measurements"]
    with tempfile.TemporaryDirectory(dir=os.environ.get("FRAUD_BENCH_DIR")) as scratch:
        bundle, data = Path(scratch) / "bundle", Path(scratch) / "input.parquet"
        scale_jobs.reference_bundle(bundle)
        for job in arguments.job:
            for millions in arguments.rows:
                write_input(data, int(millions * MILLION), labelled=job == "train")
                for engine in arguments.engine:
                    found.append(measured(job, engine, bundle, data))
                    print(json.dumps(found[-1]), flush=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    summary = {
        "machine": machine,
        "cores": len(os.sched_getaffinity(0)),
        "measurements": found,
        "exponents": exponents(found),
    }
    print(json.dumps(summary["exponents"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
