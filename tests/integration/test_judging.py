"""What a judged candidate leaves behind, read back through the MLflow client only; and versions side by side."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from ml_project.card import POINTS, Card
from ml_project.errors import InvalidInput
from ml_project.policies import POLICIES
from ml_project.quantities import threshold_text
from ml_project.scorer import load_scorer
from pipelines.evaluation.compare import run_compare
from pipelines.promotion.checks import judge
from pipelines.promotion.evidence import gather
from pipelines.promotion.report import GateLimits
from pipelines.tracking import Tracker
from stores.registry import ModelVersion, Registry
from stores.releases import open_releases
from tests.support.pipelines import BANK_ROWS, Execution

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def client(executed: Execution) -> MlflowClient:
    return MlflowClient(executed.settings.mlflow_uri)


@pytest.fixture(scope="module")
def artifact(executed: Execution, client: MlflowClient, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("artifacts")
    return lambda name: Path(client.download_artifacts(executed.run.id, name, str(folder))).read_text()


@pytest.fixture(scope="module")
def card(artifact) -> Card:  # type: ignore[no-untyped-def]
    return Card.model_validate_json(artifact("card.json"))


def test_the_report_is_data_and_a_page_in_the_run(artifact) -> None:  # type: ignore[no-untyped-def]
    report = json.loads(artifact("gate.json"))
    assert report["passed"] is True
    rows = {check["name"]: check for check in report["checks"]}
    assert {"recall at the alert budget", "data validation", "bundle digest", "latency of one row"} <= set(rows)
    assert rows["latency of one row"]["figures"]["ratio"] > 0
    assert all(check["meaning"] for check in rows.values())
    page = artifact("gate.html")
    assert all(f"<th>{name}</th>" in page for name in rows)


def test_the_description_links_to_the_report_and_the_card(executed: Execution, client: MlflowClient) -> None:
    version = client.get_model_version_by_alias("fraud-ensemble", "Production")
    links = dict(re.findall(r"\[([^]]+)\]\(([^)]+)\)", version.description))
    base = f"#/experiments/{executed.run.experiment_id}/runs/{executed.run.id}/artifacts"
    assert links == {"Gate report": f"{base}/gate.html", "model card": f"{base}/card.html"}
    assert "average precision" in version.description
    assert "Gate passed." in version.description


def test_the_card_says_what_the_run_measured(executed: Execution, card: Card, client: MlflowClient) -> None:
    run = executed.run.data
    assert (card.version, card.policy, card.gate) == (1, "recall_at_fpr", "passed")
    assert card.figures["average_precision"].value == run.data.metrics["test_average_precision"]
    assert (card.data.rows, card.data.source) == (BANK_ROWS, "file")
    assert card.data.digest == run.data.tags["data.digest"]
    assert sum(part.rows for part in card.data.splits.values()) == BANK_ROWS
    assert set(card.ablations) == {"xgboost_alone", "seed_recipe", "logistic_regression"}
    assert card.lineage["bundle digest"] == run.data.tags["bundle.sha256"]
    assert card.lineage["run"] == run.info.run_id
    assert set(card.policies) == set(POLICIES)
    assert card.policies["f1"].test["recall"].value > 0.5


def test_the_card_is_published_beside_the_bundle(executed: Execution, card: Card) -> None:
    releases = open_releases(executed.settings.releases)
    release = releases.current()
    assert release is not None
    published = releases.card(release)
    assert published is not None
    assert published.checks
    # the gate may have judged the run again since, for another of these tests
    assert published.model_copy(update={"checks": card.checks}) == card


def test_the_cards_curves_can_move_a_slider(executed: Execution, card: Card) -> None:
    for curve in (card.test_curve, card.what_if):
        columns = list(curve.model_dump().values())
        assert {len(column) for column in columns} == {len(curve.threshold)}
        assert len(curve.threshold) <= POINTS
    folder = Path(mlflow.artifacts.download_artifacts("models:/fraud-ensemble@Production/artifacts/bundle"))
    thresholds = load_scorer(folder).bundle.manifest.thresholds
    assert card.policies[card.policy].alert == thresholds.alert
    point = card.what_if.at(thresholds.alert)
    assert card.what_if.false_positive_rate[point] <= 0.001


def test_the_cards_samples_score_as_it_says(executed: Execution, card: Card) -> None:
    folder = Path(mlflow.artifacts.download_artifacts("models:/fraud-ensemble@Production/artifacts/bundle"))
    scorer = load_scorer(folder)
    assert [sample.fraud for sample in card.samples] == [False, True]
    for sample in card.samples:
        scores = scorer.score(np.array([list(sample.transaction.values())])).row(0)
        assert scores == pytest.approx(sample.scores, abs=1e-6)
    assert card.samples[0].scores["hybrid_score"] < card.samples[1].scores["hybrid_score"]


def test_markdown_and_page_hold_the_same_figures(artifact, card: Card) -> None:  # type: ignore[no-untyped-def]
    markdown, page = artifact("card.md"), artifact("card.html")
    for text in (markdown, page):
        assert card.data.digest in text
        assert f"{card.figures['average_precision'].value:.3f}" in text
        assert threshold_text(card.policies["cost"].alert) in text
        assert "logistic regression" in text
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(tables) == 2 + 7 + 2 + 3 + 2 + 4


@pytest.mark.parametrize("suite", [("tests/model", "--model-version", "1"), ("tests/data", "--ingested")])
def test_the_suites_hold_for_what_was_made(executed: Execution, suite: tuple[str, ...]) -> None:
    environment = {**os.environ, "FRAUD_STATE_DIR": str(executed.settings.state_dir), "MLFLOW_TRACKING_URI": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *suite]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout


def test_a_version_that_somebody_registered_by_hand_is_no_reason_to_say_yes(executed: Execution) -> None:
    tracker, limits = Tracker(executed.settings), GateLimits.load()
    byhand = ModelVersion(9, "", None, {})
    report = judge(limits, gather(tracker, executed.run, byhand, limits))
    assert not report.passed
    assert "holds no evaluation twin" in report.failures


def test_a_file_changed_in_the_artifact_store_is_noticed(executed: Execution) -> None:
    tracker, limits = Tracker(executed.settings), GateLimits.load()
    assert gather(tracker, executed.run, None, limits).shipped.bundle is not None
    manifest = next(executed.settings.state_dir.rglob("artifacts/bundle/manifest.json"))
    whole = manifest.read_bytes()
    try:
        manifest.write_bytes(whole + b" ")
        report = judge(limits, gather(tracker, executed.run, None, limits))
    finally:
        manifest.write_bytes(whole)
    assert [check.name for check in report.checks if not check.passed] == ["bundle digest"]


def test_a_version_compared_with_itself_differs_by_nothing(executed: Execution, client: MlflowClient) -> None:
    comparison = run_compare(executed.settings, 1, 1)
    assert comparison.differing == {}
    assert comparison.paired is not None
    assert {str(gain) for gain in comparison.paired.differences.values()} == {"0.000 [0.000, 0.000]"}
    (run,) = client.search_runs([executed.run.experiment_id], "tags.kind = 'comparison'", max_results=1)
    assert run.data.metrics["difference_average_precision"] == 0
    names = {entry.path for entry in client.list_artifacts(run.info.run_id)}
    assert names == {"compare.html"}


def test_versions_that_do_not_exist_cannot_be_compared(executed: Execution) -> None:
    with pytest.raises(InvalidInput, match="There is no version 77"):
        run_compare(executed.settings, 1, 77)


def test_a_version_without_a_twin_can_still_be_compared(executed: Execution, client: MlflowClient) -> None:
    registry = Registry(executed.settings.mlflow_uri, "by-hand")
    known = client.get_model_version("fraud-ensemble", "1")
    client.create_registered_model("by-hand")
    client.create_model_version("by-hand", known.source, executed.run.id, tags=known.tags)
    # MLflow would find the run by itself from the model's own address
    client.create_model_version("by-hand", client.get_logged_model(known.source.split("/")[-1]).artifact_location)
    settings = executed.settings.model_copy(update={"model_name": "by-hand"})
    comparison = run_compare(settings, 1, 2)
    assert comparison.paired is None
    assert comparison.figures["average_precision"][1] is None
    assert comparison.thresholds["f1"][0] == comparison.thresholds["f1"][1]
    assert registry.version(2).run_id == ""
