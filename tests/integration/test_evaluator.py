"""`mlflow.models.evaluate` on a registered version: found by the entry point, with the figures that `train` gives."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from ml_project.metrics import estimate, ranking_metrics
from ml_project.scorer import Scorer
from pipelines.settings import PipelineSettings
from stores.registry import Registry
from tests.support.machine import ROOT
from tests.support.pipelines import Execution, transactions
from tests.support.processes import clean_environment

pytestmark = pytest.mark.slow

EVALUATED = """
import json, sys
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("evaluations")
table = pd.read_parquet(sys.argv[2])
for evaluators, kind in ((None, "fraud"), ("fraud", "classifier")):
    with mlflow.start_run() as active:
        done = mlflow.models.evaluate("models:/fraud-ensemble@Production", table, targets="Class", model_type=kind,
                                      evaluators=evaluators)
run, size = active.info.run_id, done.artifacts["cost"].content.size
print(json.dumps({"metrics": done.metrics, "artifacts": sorted(done.artifacts), "run": run, "size": size}))
try:
    mlflow.models.evaluate(lambda rows: rows["V1"], table, targets="Class", model_type="fraud")
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What installing the project leaves in an environment, made by its own build backend: the entry point's name."""
    folder = tmp_path_factory.mktemp("installed")
    build = (
        "import sys; from setuptools.build_meta import prepare_metadata_for_build_editable as p; print(p(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", build, str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_registered_model_gives_our_figures(
    executed: Execution, own_settings: PipelineSettings, installed: Path, tmp_path: Path
) -> None:
    table = transactions(4_000, seed=21)
    table.to_parquet(tmp_path / "rows.parquet")
    done = subprocess.run(
        [sys.executable, "-c", EVALUATED, own_settings.mlflow_uri, str(tmp_path / "rows.parquet")],
        cwd=tmp_path,
        env=clean_environment(
            PYTHONPATH=f"{ROOT}:{installed}", FRAUD_REPLICATES="100", MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false"
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    found, refused = done.stdout.strip().splitlines()[-2:]
    answer = json.loads(found)
    registry = Registry(own_settings.mlflow_uri)
    version = registry.version(1)
    expected = by_hand(registry, table)
    assert {name: answer["metrics"][name] for name in expected} == pytest.approx(expected)
    assert answer["artifacts"] == ["calibration", "cost", "precision_recall", "score_histogram"]
    assert min(answer["size"]) > 100
    assert "InvalidInput" in refused

    client = MlflowClient(own_settings.mlflow_uri)
    run = client.get_run(answer["run"])
    assert run.data.metrics == pytest.approx(answer["metrics"])
    (given,) = run.inputs.dataset_inputs
    figures = [each for each in client.get_logged_model(version.model_id).metrics if each.run_id == run.info.run_id]
    assert {each.key for each in figures} == set(answer["metrics"])
    assert {each.dataset_digest for each in figures} == {given.dataset.digest}
    assert {file.path for file in client.list_artifacts(run.info.run_id, "evaluation")} >= {"evaluation/cost.png"}


def by_hand(registry: Registry, table: pd.DataFrame) -> dict[str, float]:
    """The same through the modules that `train` measures by."""
    from ml_project.dataset import Dataset

    scorer = Scorer(registry.bundle(registry.version(1)))
    rows = Dataset.from_frame(table.drop_duplicates(), scorer.contract)
    hybrid = scorer.score(rows.raw).hybrid
    figures = estimate(rows, hybrid, ranking_metrics(), replicates=100, seed=0)
    alerts = hybrid >= scorer.thresholds.alert
    found = {"precision": rows.label[alerts].mean(), "recall": rows.label[alerts].sum() / rows.frauds}
    for name, each in figures.items():
        found |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
    return found
