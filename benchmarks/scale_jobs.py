"""What `bench_scale` measures, each in a process of its own: score a table, or train on it, without a registry.

python benchmarks/scale_jobs.py JOB ENGINE BUNDLE DATA OUTPUT
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

TREES = 100


def score(engine: Literal["local", "spark"], bundle: Path, data: Path, output: Path) -> int:
    """From Parquet to Parquet, one-thread scorers; the rows."""
    from ml_project.scorer import load_scorer
    from pipelines.scoring.output import open_output
    from pipelines.scoring.plan import make_plan
    from pipelines.scoring.run import run_parts
    from pipelines.settings import PipelineSettings

    settings = PipelineSettings.model_validate({})
    scorer = load_scorer(bundle, threads=1)
    target = open_output(str(output), "")
    with target.alone():
        plan = make_plan(str(data), str(output), 1, scorer.bundle.digest, scorer.contract, "")
        target.begin(plan)
        receipts = list(run_parts(settings, engine, plan, plan.parts, scorer, target.staging, lambda _rows: None))
        target.commit({"fingerprint": plan.fingerprint})
    return sum(receipt.tally.rows for receipt in receipts)


def train(engine: str, _bundle: Path, data: Path, output: Path) -> int:
    """The evaluation twin of 100 + 100 trees: fitted on 60 % of the rows, calibrated on 20 %; the rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ml_project.contract_file import contract_named
    from ml_project.dataset import Dataset
    from ml_project.engine import LocalEngine
    from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
    from ml_project.fitting import fit_twin
    from pipelines.settings import PipelineSettings
    from pipelines.spark_session import spark_session
    from pipelines.training.spark.engine import SparkEngine
    from pipelines.training.spark.part import read_transactions

    settings = EnsembleSettings(
        0.02, ForestSettings(TREES, 256), BoosterSettings(rounds=TREES // 4, num_parallel_tree=4)
    )
    origin = {"source": "simulated", "digest": ""}
    own = PipelineSettings.model_validate({})
    if engine == "spark":
        with spark_session(own) as spark:
            part = read_transactions(spark, data, contract_named(), 1)
            there = SparkEngine(spark, 1, own.threads, 3, own.spark_workers, own.spark_sample_rows)
            fit_twin(there.split(part), settings, there, origin).bundle.write(output)
            return len(part)
    here = LocalEngine(1, own.threads)
    rows = Dataset.from_frame(pq.read_table(data).to_pandas(split_blocks=True, self_destruct=True), contract_named())
    pa.default_memory_pool().release_unused()
    fit_twin(here.split(rows), settings, here, origin).bundle.write(output)
    return len(rows)


def reference_bundle(folder: Path) -> None:
    """What is scored by: 100 isolation and 100 boosted trees on 60,000 simulated rows."""
    import numpy as np

    from ml_project.bundle import Bundle
    from ml_project.contract_file import contract_named
    from ml_project.dataset import Dataset
    from ml_project.engine import LocalEngine
    from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
    from ml_project.fitting import fit_twin
    from ml_project.policies import Thresholds
    from ml_project.simulator import simulate
    from ml_project.split import split_by_time

    chunks = list(simulate(60_000, seed=3, fraud_rate=0.005))
    raw = np.concatenate([chunk.raw for chunk in chunks])
    label = np.concatenate([chunk.label for chunk in chunks])
    data = Dataset(contract_named(), raw, label, np.ones(len(label)), raw[:, 0])
    settings = EnsembleSettings(
        0.02, ForestSettings(TREES, 256), BoosterSettings(rounds=TREES // 4, num_parallel_tree=4)
    )
    bundle = fit_twin(split_by_time(data), settings, LocalEngine(seed=1), {"source": "simulated"}).bundle
    policies = {"f1": Thresholds(0.3, 0.7)}
    manifest = bundle.manifest.model_copy(update={"policy": "f1", "policies": policies})
    Bundle(manifest, bundle.onnx, bundle.booster).write(folder)


def main() -> None:
    job, engine, *places = sys.argv[1:]
    begun = time.perf_counter()
    work: Callable[..., int] = {"score": score, "train": train}[job]
    rows = work(engine, *(Path(place) for place in places))
    answer: dict[str, Any] = {"rows": rows, "seconds": round(time.perf_counter() - begun, 2)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
