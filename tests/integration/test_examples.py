"""The programs of examples/, each run as its docstring says, on a finished pipeline and a gateway of it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from pipelines.settings import PipelineSettings
from tests.support.commands import Commands
from tests.support.creditcard import LABEL
from tests.support.gateway import KEY, Gateway
from tests.support.machine import ROOT
from tests.support.pipelines import Execution, transactions
from tests.support.processes import clean_environment

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def gateway(executed: Execution, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Serves the version that the pipeline promoted, without an MLflow server."""
    folder = tmp_path_factory.mktemp("gateway")
    with Gateway(folder, FRAUD_RELEASES_URI=executed.settings.releases) as running:
        running.wait_for_version(executed.promotion.version.version)
        yield running


def run(name: str, *arguments: str, code: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=ROOT,
        env=clean_environment(FRAUD_API_KEY=KEY, PYTHONPATH=str(ROOT), **environment),
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_score_a_transaction_and_label_it(gateway: Gateway) -> None:
    shown = run("score_transaction.py", "--gateway", gateway.url)
    assert re.match(r"(APPROVE|REVIEW|DECLINE) by version 1, prediction \S+\n", shown)
    assert "alert threshold" in shown
    prediction_id = shown.split("prediction ")[1].split()[0]
    answer = json.loads(run("send_label.py", prediction_id, "fraud", "--gateway", gateway.url))
    assert (answer["prediction_id"], answer["outcome"]) == (prediction_id, "added")
    kept = gateway.client.get(f"/predictions/{prediction_id}").json()
    assert [label["label"] for label in kept["labels"]] == ["fraud"]


def test_a_refusal_is_shown(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text('{"Amount": 1}')
    run("score_transaction.py", "--gateway", gateway.url, "--transaction", str(tmp_path / "half.json"), code=2)
    assert "NoSuch" not in run("send_label.py", "no-such-id", "legitimate", "--gateway", gateway.url)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_score_a_file(gateway: Gateway, tmp_path: Path, suffix: str) -> None:
    frame = transactions(500, seed=9).drop(columns=LABEL)
    given, scored = tmp_path / f"given{suffix}", tmp_path / "scored.csv"
    frame.to_csv(given, index=False) if suffix == ".csv" else frame.to_parquet(given)
    shown = run("score_file.py", str(given), str(scored), "--gateway", gateway.url)
    counts = {line.split()[0]: int(line.split()[1]) for line in shown.splitlines()}
    assert counts == pd.read_csv(scored)["decision"].value_counts().to_dict()
    assert sum(counts.values()) == 500
    assert not list(tmp_path.glob("*.part"))


def test_decisions_as_a_frame(gateway: Gateway, tmp_path: Path) -> None:
    gateway.client.post(
        "/predict", json=transactions(1, seed=2).drop(columns=LABEL).iloc[0].to_dict()
    ).raise_for_status()
    shown = run(
        "read_decisions.py", "--output", str(tmp_path / "decisions.parquet"), FRAUD_STATE_DIR=str(gateway.state)
    )
    assert "not labelled" in shown
    frame = pd.read_parquet(tmp_path / "decisions.parquet")
    assert int(shown.split()[0].replace(",", "")) == len(frame) >= 1
    assert set(frame["model_version"]) == {"1"}
    assert str(frame["received_at"].dtype) == "datetime64[us, UTC]"


def test_compare_and_promote(own_settings: PipelineSettings, commands: Commands) -> None:
    ours = {"FRAUD_STATE_DIR": str(own_settings.state_dir), "FRAUD_RELEASES_URI": own_settings.releases}
    program, environment = str(EXAMPLES / "compare_and_promote.py"), clean_environment(**ours)
    listed = commands.run(environment=environment, program=program)
    assert listed.returncode == 0, listed.stderr
    line = r"^\w{32}  0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\]  recall_at_fpr, file data, version 1$"
    assert re.search(line, listed.stdout, re.MULTILINE)
    promoted = commands.run("--promote", environment=environment, program=program)
    assert (promoted.returncode, "which is Production already" in promoted.stdout) == (0, True), promoted.stderr


def test_the_dashboard_asks_for_metrics_that_there_are(gateway: Gateway) -> None:
    run("score_transaction.py", "--gateway", gateway.url)
    samples = re.findall(r"^(\w+)(?:\{(.*)\})? ", gateway.client.get("/metrics").text, re.MULTILINE)
    labels: dict[str, set[str]] = {}
    for name, found in samples:
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', found))
    dashboard = json.loads((EXAMPLES / "grafana_dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    assert len(asked) > 15
    for expression in asked:
        names = re.findall(r"\b(?:fraud|process)_\w+", expression)
        assert names, expression
        for name in names:
            assert name in labels, f"{name} is not in /metrics"
        wanted = set(re.findall(r"(\w+)(?==~|!=|=)\"?", expression))
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            wanted |= {label.strip() for label in grouped.split(",")}
        assert wanted <= set().union(*(labels[name] for name in names)), expression


def test_the_list_of_examples_is_whole() -> None:
    listed = set(re.findall(r"\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text()))
    assert listed == {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".json")}
