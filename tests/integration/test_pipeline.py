"""The main job, read back through the MLflow client only."""

import hashlib
import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from ml_project.bundle import BOOSTER_FILE, MANIFEST_FILE, ONNX_FILE, combined_digest
from ml_project.errors import Refused
from pipelines.promotion.promote import Outcome
from pipelines.settings import PipelineSettings
from pipelines.training.steps import run_ingest, run_main, run_promote, run_threshold, run_train, run_validate
from stores.registry import Registry
from tests.support.creditcard import LABEL, RAW_FEATURES
from tests.support.pipelines import BANK_ROWS, Execution, transactions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def client(executed: Execution) -> MlflowClient:
    return MlflowClient(executed.settings.mlflow_uri)


@pytest.fixture(scope="session")
def children(executed: Execution, client: MlflowClient) -> dict[str, list[MlflowRun]]:
    found = client.search_runs(
        [executed.run.experiment_id], f"tags.`mlflow.parentRunId` = '{executed.run.id}'", max_results=200
    )
    kinds: dict[str, list[MlflowRun]] = {}
    for run in found:
        kinds.setdefault(run.data.tags["kind"], []).append(run)
    return kinds


def artifacts(client: MlflowClient, run_id: str, path: str = "") -> set[str]:
    found = set()
    for entry in client.list_artifacts(run_id, path):
        found |= artifacts(client, run_id, entry.path) if entry.is_dir else {entry.path}
    return found


def test_one_parent_and_a_child_for_every_part(executed: Execution, children: dict[str, list[MlflowRun]]) -> None:
    assert {kind: len(runs) for kind, runs in children.items()} == {
        "validation": 1,
        "trial": 3,
        "baseline": 3,
        "policy": 4,
    }
    assert {run.info.status for runs in children.values() for run in runs} == {"FINISHED"}
    assert executed.run.data.info.status == "FINISHED"


def test_the_parent_says_which_data_and_code(executed: Execution, client: MlflowClient) -> None:
    run = client.get_run(executed.run.id)
    assert run.data.tags["data.source"] == "file"
    contexts = {tag.value for dataset in run.inputs.dataset_inputs for tag in dataset.tags}
    assert contexts == {"training", "validation", "test"}
    names = {dataset.dataset.name for dataset in run.inputs.dataset_inputs}
    assert names == {f"bank.csv ({part})" for part in contexts}
    assert run.data.metrics["rows"] == BANK_ROWS
    assert int(run.data.params["train_rows"]) == pytest.approx(0.6 * BANK_ROWS, abs=30)


def test_each_model_bears_the_figures_that_it_earned_and_no_others(executed: Execution, client: MlflowClient) -> None:
    found = client.search_logged_models([executed.run.experiment_id])
    figures = {model.name: model.metrics for model in found}
    assert set(figures) == {"twin", "ensemble", "xgboost_alone", "seed_recipe", "logistic_regression"}
    for name, metrics in figures.items():
        keys = [metric.key for metric in metrics]
        assert len(keys) == len(set(keys)), f"{name} has a figure twice"
        if name == "ensemble":
            assert {key.partition("_")[0] for key in keys} == {"forward", "parity"}
            assert {metric.dataset_name for metric in metrics} == {"bank.csv"}
        else:
            assert all(key.startswith("test_") for key in keys)
            assert "test_average_precision_low" in keys
            assert {metric.dataset_name for metric in metrics} == {"bank.csv (test)"}
    run = client.get_run(executed.run.id)
    known = {(each.dataset.name, each.dataset.digest) for each in run.inputs.dataset_inputs}
    measured_on = {(m.dataset_name, m.dataset_digest) for name in set(figures) - {"ensemble"} for m in figures[name]}
    assert measured_on < known
    production = Registry(executed.settings.mlflow_uri).resolve("Production")
    assert production is not None
    assert client.get_logged_model(production.model_id).name == "ensemble"


def test_every_figure_has_an_interval(executed: Execution) -> None:
    metrics = executed.run.data.data.metrics
    for name in ("average_precision", "roc_auc", "recall_at_fpr_0.01", "precision", "recall", "cost_per_day"):
        low, value, high = (metrics[f"test_{name}{suffix}"] for suffix in ("_low", "", "_high"))
        assert low <= value <= high
    assert metrics["test_average_precision"] > 0.6
    assert metrics["parity_max_difference"] < 1e-5
    assert "test_average_precision_minus_xgboost_alone_low" in metrics


def test_trials_have_figures_per_fold(children: dict[str, list[MlflowRun]]) -> None:
    for run in children["trial"]:
        assert run.data.metrics["seconds"] > 0
        assert 0 < run.data.metrics["fold_0_average_precision"] <= 1
        assert "max_depth" in run.data.params


def test_baselines_are_measured_alike(children: dict[str, list[MlflowRun]]) -> None:
    names = {run.info.run_name: run.data.metrics for run in children["baseline"]}
    assert set(names) == {"xgboost_alone", "seed_recipe", "logistic_regression"}
    assert all({"test_average_precision", "test_roc_auc", "test_recall"} <= set(figures) for figures in names.values())


def test_data_docs_and_pictures_are_artifacts(
    executed: Execution, client: MlflowClient, children: dict[str, list[MlflowRun]]
) -> None:
    assert "data_docs/index.html" in artifacts(client, children["validation"][0].info.run_id, "data_docs")
    plots = artifacts(client, executed.run.id, "plots")
    assert plots == {f"plots/{name}.png" for name in ("precision_recall", "score_histogram", "cost", "calibration")}
    for run in children["policy"]:
        assert artifacts(client, run.info.run_id) == {f"plots/{run.data.params['policy']}.png"}


def test_the_alias_names_the_version_and_its_digest(executed: Execution, client: MlflowClient) -> None:
    version = client.get_model_version_by_alias("fraud-ensemble", "Production")
    assert version.run_id == executed.run.id
    folder = Path(mlflow.artifacts.download_artifacts("models:/fraud-ensemble@Production/artifacts/bundle"))
    files = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in (ONNX_FILE, BOOSTER_FILE, MANIFEST_FILE)
    }
    assert version.tags["bundle.sha256"] == combined_digest(files)
    pointer = json.loads((Path(executed.settings.releases) / "Production.json").read_text())
    assert pointer["files"] == files
    assert (pointer["version"], pointer["gate"]["passed"]) == (1, True)


def test_nothing_of_a_version_is_pickled(executed: Execution) -> None:
    folder = Path(mlflow.artifacts.download_artifacts("models:/fraud-ensemble@Production"))
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert suffixes <= {"", ".py", ".json", ".onnx", ".ubj", ".yaml", ".txt", ".yml"}


def test_the_pyfunc_scores_like_the_bundle(executed: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    from ml_project.scorer import load_scorer

    model = mlflow.pyfunc.load_model("models:/fraud-ensemble@Production")
    rows = transactions(200, seed=9)
    answer = model.predict(rows[list(RAW_FEATURES)])
    folder = Path(mlflow.artifacts.download_artifacts("models:/fraud-ensemble@Production/artifacts/bundle"))
    scorer = load_scorer(folder)
    expected = scorer.score(rows[list(RAW_FEATURES)].to_numpy())
    np.testing.assert_array_equal(answer["hybrid_score"], expected.hybrid)
    np.testing.assert_array_equal(answer["fraud"] == 1, expected.hybrid >= scorer.thresholds.alert)
    assert set(answer["decision"]) <= {"APPROVE", "REVIEW", "DECLINE"}
    assert answer["fraud"][rows[LABEL] == 1].mean() > 0.5


def test_twin_and_refit_are_told_apart(executed: Execution) -> None:
    from pipelines.training.model_logging import TWIN, read_run_bundle

    twin = read_run_bundle(executed.run, TWIN).manifest
    folder = Path(mlflow.artifacts.download_artifacts("models:/fraud-ensemble@Production/artifacts/bundle"))
    refit = json.loads((folder / MANIFEST_FILE).read_text())
    assert (twin.data["role"], refit["data"]["role"]) == ("twin", "refit")
    assert refit["data"]["rows"] == BANK_ROWS
    assert twin.data["rows"] < 7_300
    assert twin.data["seen_until"] < refit["data"]["seen_until"]
    assert json.loads(json.dumps(twin.settings)) == refit["settings"]


def test_from_an_empty_study_comes_the_same_model_which_changes_nothing(
    executed: Execution, own_settings: PipelineSettings
) -> None:
    run, _, promotion = run_main(own_settings)
    assert run.data.data.tags["bundle.sha256"] == executed.run.data.data.tags["bundle.sha256"]
    assert promotion.outcome is Outcome.UNCHANGED
    assert "nothing to do" in promotion.sentence


def test_step_by_step_refuses_simulated_after_real(own_settings: PipelineSettings) -> None:
    client = MlflowClient(own_settings.mlflow_uri)
    settings = own_settings.model_copy(update={"data": "simulated", "simulated_rows": 60_000, "trials": 1})
    run_ingest(settings)
    run_validate(settings)
    run = run_train(settings)
    run_threshold(settings)
    promotion = run_promote(settings)
    assert promotion.outcome is Outcome.REFUSED
    assert promotion.version.run_id == run.id
    assert "real data required" in promotion.sentence
    aliases = {name: int(v) for name, v in client.get_registered_model("fraud-ensemble").aliases.items()}
    assert aliases == {"Production": 1, "Challenger": promotion.version.version}


def test_data_that_fail_validation_are_not_trained_on(executed: Execution, tmp_path: Path) -> None:
    spoiled = transactions(BANK_ROWS, seed=4)
    spoiled["V14"] += 30
    file = tmp_path / "spoiled.csv"
    spoiled.to_csv(file, index=False)
    settings = executed.settings.model_copy(update={"data": str(file), "state_dir": tmp_path})
    with pytest.raises(Refused, match="failed validation"):
        run_main(settings)
    runs = MlflowClient(settings.mlflow_uri).search_runs(["1"])
    assert {run.data.tags.get("kind", "parent") for run in runs} == {"validation", "parent"}
    assert {run.info.status for run in runs} == {"FAILED"}


def test_a_frame_survives_the_store(executed: Execution) -> None:
    rows = executed.run.frame("scores/test_rows.parquet")
    assert list(rows.columns[:30]) == list(RAW_FEATURES)
    assert isinstance(rows, pd.DataFrame)
    assert len(rows) == int(executed.run.data.data.params["test_rows"])
