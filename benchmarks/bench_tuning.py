"""How many times the trials of one worker several finish in the same time, with one thread each.

PYTHONPATH=. python benchmarks/bench_tuning.py --seconds 60 --workers 1 2 --json FILE

Each number of workers gets a study of its own (SQLite, or --storage postgresql://...) on the same simulated rows, and
the same seconds from the moment its data are prepared.
"""

import argparse
import json
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ml_project.contract_file import contract_named
from ml_project.dataset import Dataset
from ml_project.fitting import thin
from ml_project.simulator import simulate
from pipelines.training import study as tuning
from pipelines.training.tuning import SharedStudy, prepared, tune_together

FOLDS, SEED, ROWS, TUNING_ROWS = 3, 0, 284_807, 40_000


def finished(workers: int, seconds: float, storage: str, rows: Dataset) -> dict[str, Any]:
    """Trials that so many workers finish."""
    prepare = partial(prepared, rows, FOLDS, SEED, 1)
    name = f"bench-{workers}-{os.getpid()}"
    study = tuning.open_study(name, storage, SEED)
    shared = SharedStudy(name, storage, SEED, 1_000_000, seconds, workers, prepare)
    tune_together(shared, study, lambda _trial: None)
    done = tuning.finished_trials(study)
    begun = min(trial.datetime_start for trial in done)
    inside = [trial for trial in done if (trial.datetime_complete - begun).total_seconds() <= seconds]
    return {"workers": workers, "seconds": seconds, "trials": len(inside), "load_before": round(os.getloadavg()[0], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--storage", help="Optuna storage (default: SQLite files of its own)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    chunks = list(simulate(ROWS, seed=SEED))
    raw, label = (np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("raw", "label"))
    rows = thin(Dataset(contract_named(), raw, label, np.ones(len(label)), raw[:, 0]), TUNING_ROWS, SEED)
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for workers in arguments.workers:
            storage = arguments.storage or f"sqlite:///{scratch}/{workers}.db"
            found.append(finished(workers, arguments.seconds, storage, rows))
            found[-1]["times"] = round(found[-1]["trials"] / found[0]["trials"], 2)
            print(json.dumps(found[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": len(rows), "measurements": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
