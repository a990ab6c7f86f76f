"""The main job on Spark: the same kind of bundle through the same gate, beside versions that one machine trained.

On a bank's own table with categories, booleans and missing values; the public one goes through Spark in `tests/unit`.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from ml_project.bundle import MANIFEST_FILE
from pipelines.promotion.promote import Outcome
from pipelines.promotion.report import Theme
from pipelines.scoring import plan as planning
from pipelines.scoring.run import score
from pipelines.settings import PipelineSettings
from pipelines.training.steps import run_main
from tests.support.shop import COUNTRIES, DATED_VISITS_YAML, dated_visits

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Spark's and MLflow's own

ROWS, SAMPLED = 6_000, 150
RESULT = "hybrid_score double, decision string"


@pytest.fixture
def settings(tmp_path: Path, empty_mlflow_database: Path) -> PipelineSettings:
    """Of a registry without a version, and transactions of which training brings a part into its own process."""
    shutil.copy(empty_mlflow_database, tmp_path)
    (tmp_path / "visits.yaml").write_text(DATED_VISITS_YAML)
    dated_visits(ROWS, seed=4).to_csv(tmp_path / "visits.csv", index=False)
    data, contract = str(tmp_path / "visits.csv"), str(tmp_path / "visits.yaml")
    own = PipelineSettings(state_dir=tmp_path, tracking_uri="", data=data, contract=contract, threads=2)
    return own.model_copy(update={"trials": 1, "folds": 2, "replicates": 100, "spark_sample_rows": SAMPLED})


def read(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder).sort_values("source_row", ignore_index=True)


def test_versions_of_both_engines_pass_one_gate(
    spark: Any, settings: PipelineSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, measured, promotion = run_main(settings, "spark")
    assert promotion.outcome is Outcome.PROMOTED
    found = MlflowClient(settings.mlflow_uri).get_run(run.id)
    rows_in = int(found.data.metrics["rows"])
    assert (found.data.params["engine"], rows_in + found.data.metrics["unlabelled_dropped"]) == ("spark", ROWS)
    inputs = found.inputs.dataset_inputs
    used = {each.tags[0].value: json.loads(each.dataset.profile)["num_rows"] for each in inputs}
    assert used.pop("refit") == rows_in
    assert (len(inputs), len(used), sum(used.values())) == (4, 3, rows_in)
    assert sum(int(found.data.params[f"{part}_rows"]) for part in ("train", "validation", "test")) == rows_in
    assert found.data.metrics["parity_max_difference"] < 1e-5
    assert measured.metrics["test_average_precision"].value > 0.6

    # what stays of the test rows: all frauds, the highest scores, and a sample that stands for the rest
    rows = run.frame("scores/test_rows.parquet")
    frauds = int(found.data.params["test_frauds"])
    assert len(rows) <= 2 * SAMPLED + frauds < 0.5 * int(found.data.params["test_rows"])
    assert rows["sampling_weight"].sum() == pytest.approx(int(found.data.params["test_rows"]))
    assert (rows["outcome"] == 1).sum() == frauds

    mlflow.set_tracking_uri(settings.mlflow_uri)
    folder = Path(mlflow.artifacts.download_artifacts("models:/fraud-ensemble@Production/artifacts/bundle"))
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    assert (manifest["data"]["role"], manifest["data"]["rows"]) == ("refit", rows_in)
    assert manifest["data"]["seen_until"] == float(found.data.params["last_moment"])
    learnt = {field["name"]: field.get("values") for field in manifest["contract"]["fields"]}
    assert learnt["country"] == [*COUNTRIES]

    scored_alike(spark, settings, tmp_path, monkeypatch)

    _, _, second = run_main(settings, "local")
    assert second.champion is not None
    assert second.champion.version == promotion.version.version
    assert second.report is not None
    against = [check for check in second.report.checks if check.theme is Theme.CHAMPION]
    assert any(check.judged for check in against)
    assert all(check.passed for check in second.report.checks if check.theme is Theme.INTEGRITY)


def scored_alike(spark: Any, settings: PipelineSettings, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one machine, by Spark, and by the pyfunc as a function of Spark's; bad rows are set aside alike."""
    from pyspark.sql.functions import col, struct

    monkeypatch.setattr(planning, "PART_ROWS", 100)
    frame = dated_visits(500, seed=9, frauds=0.2).astype({"items": object})
    frame.loc[[7, 20], "items"] = [2.5, "many"]
    data, bad = folder / "month.csv", [7, 20]
    frame.to_csv(data, index=False)
    here, there = (score(settings, str(data), str(folder / engine), engine) for engine in ("local", "spark"))
    for name in ("rows", "decisions", "quarantined", "reasons", "drifted"):
        assert there.job[name] == here.job[name]
    assert there.job["reasons"] == {"items is not a whole number": 2}
    scored = read(folder / "local")
    pd.testing.assert_frame_equal(read(folder / "spark"), scored)
    fraud, alert = scored["outcome"] == "fraud", scored["decision"] != "APPROVE"
    assert (float(np.mean(alert[fraud])) > 0.5, float(np.mean(alert[~fraud])) < 0.05) == (True, True)

    good = frame.drop(index=bad).drop(columns="outcome").astype({"items": float, "newsletter": "boolean"})
    good.reset_index(drop=True).to_parquet(folder / "good.parquet")
    function = mlflow.pyfunc.spark_udf(
        spark, "models:/fraud-ensemble@Production", env_manager="local", result_type=RESULT
    )
    table = spark.read.parquet(str(folder / "good.parquet"))
    rows = table.select(function(struct(*(col(f"`{name}`") for name in good.columns))).alias("s")).select("s.*")
    its = rows.toPandas()
    assert its["hybrid_score"].tolist() == pytest.approx(scored["hybrid_score"].tolist(), abs=1e-6)
    assert its["decision"].tolist() == scored["decision"].astype(str).tolist()
