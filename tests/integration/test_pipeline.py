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
    given = {each.dataset.name: (each.tags[0].value, each.dataset.digest) for each in run.inputs.dataset_inputs}
    assert {name: context for name, (context, _) in given.items()} == {
        "bank.csv (training)": "training",
        "bank.csv (validation)": "validation",
        "bank.csv (test)": "test",
        "bank.csv": "refit",
    }
    assert len({digest for _, digest in given.values()}) == 4
    assert run.data.tags["data.digest"].startswith(given["bank.csv"][1])
    rows = {each.dataset.name: json.loads(each.dataset.profile)["num_rows"] for each in run.inputs.dataset_inputs}
    assert rows["bank.csv"] == run.data.metrics["rows"] == BANK_ROWS
    assert int(run.data.params["train_rows"]) == rows["bank.csv (training)"] == pytest.approx(0.6 * BANK_ROWS, abs=30)


def test_each_model_bears_the_figures_that_it_earned_and_no_others(executed: Execution, client: MlflowClient) -> None:
    models = {each.name: each for each in client.search_logged_models([executed.run.experiment_id])}
    assert {name: model.model_type for name, model in models.items()} == {
        "twin": "evaluation twin",
        "refit": "refit",
        "xgboost_alone": "baseline",
        "seed_recipe": "baseline",
        "logistic_regression": "baseline",
    }
    run = client.get_run(executed.run.id)
    digests = {each.dataset.name: each.dataset.digest for each in run.inputs.dataset_inputs}
    ranking = {"average_precision", "roc_auc", "recall_at_fpr_0.01"}
    judged = {f"test_{name}" for name in ranking | {"precision", "recall", "alerts_per_day", "cost_per_day"}}
    against = {f"test_average_precision_minus_{name}" for name in models.keys() - {"twin", "refit"}}
    earned = dict.fromkeys(models.keys() - {"twin", "refit"}, with_ends(judged))
    earned["twin"] = with_ends(judged | against) | {"test_calibration_error", "twin_parity_max_difference"}
    earned["refit"] = with_ends({f"forward_{name}" for name in ranking}) | {"parity_max_difference"}
    for name, found in models.items():
        model = client.get_logged_model(found.model_id)
        assert sorted(metric.key for metric in model.metrics) == sorted(earned[name]), name
        data = "bank.csv" if name == "refit" else "bank.csv (test)"
        assert {(m.dataset_name, m.dataset_digest) for m in model.metrics} == {(data, digests[data])}
        fitted_on = "bank.csv" if name == "refit" else "bank.csv (training)"
        assert (model.tags["data.name"], model.tags["data.digest"]) == (fitted_on, digests[fitted_on])
        assert model.tags["contract"] == "creditcard, version 1"
        assert model.params
    params = {name: model.params for name, model in models.items()}
    assert params["seed_recipe"]["blend_weight"] == "0.4"
    assert params["xgboost_alone"] | {"blend_weight": ""} == params["twin"] | {
        "blend_weight": "",
        "policy": "recall_at_fpr",
    }
    assert params["logistic_regression"]["C"] == "0.1"
    production = Registry(executed.settings.mlflow_uri).resolve("Production")
    assert production is not None
    assert production.model_id == models["refit"].model_id


def with_ends(names: set[str]) -> set[str]:
    return {f"{name}{end}" for name in names for end in ("", "_low", "_high")}


def test_children_say_on_which_data_they_were_measured(
    executed: Execution, client: MlflowClient, children: dict[str, list[MlflowRun]]
) -> None:
    parent = client.get_run(executed.run.id).inputs.dataset_inputs
    digests = {each.dataset.digest: each.tags[0].value for each in parent}
    for kind, contexts in (
        ("trial", {"training"}),
        ("baseline", {"training", "test"}),
        ("policy", {"validation", "test"}),
    ):
        for run in children[kind]:
            given = client.get_run(run.info.run_id).inputs.dataset_inputs
            assert {digests[each.dataset.digest] for each in given} == contexts
            assert {tag.value for each in given for tag in each.tags} == contexts


def test_runs_are_told_apart_by_their_names(executed: Execution, client: MlflowClient) -> None:
    run = client.get_run(executed.run.id)
    assert run.info.run_name == "v1 promoted · bank.csv · recall_at_fpr"
    grouped = {name: run.data.params[name] for name in ("policy", "reason", "engine", "contract", "data_digest")}
    assert grouped == {
        "policy": "recall_at_fpr",
        "reason": "by hand",
        "engine": "local",
        "contract": "creditcard, version 1",
        "data_digest": run.data.tags["data.digest"][:16],
    }
    steps = {"validate", "train", "tune", "fit", "measure", "threshold", "promote"}
    assert all(run.data.metrics[f"seconds_{step}"] >= 0 for step in steps)
    assert run.data.metrics["seconds_train"] >= run.data.metrics["seconds_tune"] > 0
    assert run.data.metrics["system/cpu_utilization_percentage"] >= 0


def test_a_note_says_what_came_out_and_links_to_the_children(
    executed: Execution, client: MlflowClient, children: dict[str, list[MlflowRun]]
) -> None:
    note = client.get_run(executed.run.id).data.tags["mlflow.note.content"]
    assert note.startswith("**Production is now version 1.**")
    assert "(#/models/fraud-ensemble/versions/1)" in note
    assert "\n- average precision: **0." in note
    best = max(children["trial"], key=lambda run: run.data.metrics["average_precision"])
    linked = [best, *children["validation"], *children["baseline"], *children["policy"]]
    missing = [run.info.run_name for run in linked if f"/runs/{run.info.run_id})" not in note]
    assert missing == []


def test_a_version_says_its_gate_figures_data_and_moves(client: MlflowClient) -> None:
    text = client.get_model_version("fraud-ensemble", "1").description
    summary, moves = text.split("**Moves**")
    assert summary.startswith("**Gate passed.**")
    assert f"bank.csv: file data, {BANK_ROWS:,} rows" in summary
    assert "\n- average precision: **0." in summary
    assert "**Production**, by " in moves
    assert moves.rstrip().endswith("(promote, gate passed): the gate passed it")


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
    settings = own_settings.model_copy(update={"data": "simulated", "simulated_rows": 40_000, "trials": 1, "folds": 2})
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
