"""The main job on Spark: the same kind of bundle through the same gate, beside versions that one machine trained."""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from ml_project.bundle import MANIFEST_FILE
from ml_project.scorer import load_scorer
from pipelines.promotion.promote import Outcome
from pipelines.promotion.report import Theme
from pipelines.settings import PipelineSettings
from pipelines.training.steps import run_main
from tests.support.creditcard import LABEL, RAW_FEATURES
from tests.support.pipelines import BANK_ROWS, transactions

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Spark's and MLflow's own

SAMPLED = 500


@pytest.fixture
def settings(tmp_path: Path) -> PipelineSettings:
    """Of a registry without a version, and transactions of which training brings a part into its own process."""
    transactions(BANK_ROWS, seed=4).to_csv(tmp_path / "bank.csv", index=False)
    own = PipelineSettings(state_dir=tmp_path, tracking_uri="", data=str(tmp_path / "bank.csv"), threads=2)
    return own.model_copy(update={"trials": 1, "folds": 2, "replicates": 100, "spark_sample_rows": SAMPLED})


def test_versions_of_both_engines_pass_one_gate(spark: Any, settings: PipelineSettings, tmp_path: Path) -> None:
    run, measured, promotion = run_main(settings, "spark")
    assert promotion.outcome is Outcome.PROMOTED
    found = MlflowClient(settings.mlflow_uri).get_run(run.id)
    assert (found.data.params["engine"], found.data.metrics["rows"]) == ("spark", BANK_ROWS)
    parts = [json.loads(each.dataset.profile)["num_rows"] for each in found.inputs.dataset_inputs]
    assert (len(parts), sum(parts)) == (3, BANK_ROWS)
    assert sum(int(found.data.params[f"{part}_rows"]) for part in ("train", "validation", "test")) == BANK_ROWS
    assert found.data.metrics["parity_max_difference"] < 1e-5
    assert measured.metrics["test_average_precision"].value > 0.6

    # what stays of the test rows: all frauds, the highest scores, and a sample that stands for the rest
    rows = run.frame("scores/test_rows.parquet")
    assert len(rows) <= 2 * SAMPLED + rows[LABEL].sum() < 0.5 * int(found.data.params["test_rows"])
    assert rows["Weight"].sum() == pytest.approx(int(found.data.params["test_rows"]))
    assert rows[LABEL].sum() == int(found.data.params["test_frauds"])

    folder = Path(mlflow.artifacts.download_artifacts("models:/fraud-ensemble@Production/artifacts/bundle"))
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    assert (manifest["data"]["role"], manifest["data"]["rows"]) == ("refit", BANK_ROWS)
    assert manifest["data"]["seen_until"] == float(found.data.params["last_moment"])
    scorer, later = load_scorer(folder), transactions(3_000, seed=9)
    hybrid = scorer.score(later[list(RAW_FEATURES)].to_numpy()).hybrid
    caught = hybrid[later[LABEL] == 1] >= scorer.thresholds.alert
    alarmed = hybrid[later[LABEL] == 0] >= scorer.thresholds.alert
    assert (float(np.mean(caught)) > 0.5, float(np.mean(alarmed)) < 0.02) == (True, True)

    _, _, second = run_main(settings, "local")
    assert second.champion is not None
    assert second.champion.version == promotion.version.version
    assert second.report is not None
    against = [check for check in second.report.checks if check.theme is Theme.CHAMPION]
    assert any(check.judged for check in against)
    assert all(check.passed for check in second.report.checks if check.theme is Theme.INTEGRITY)
