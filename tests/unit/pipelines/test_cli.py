import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ml_project.errors import InvalidInput
from pipelines.__main__ import app
from pipelines.settings import PipelineSettings
from tests.support.commands import Commands
from tests.support.machine import ROOT
from tests.support.processes import clean_environment
from tests.support.shop import VISITS_YAML, visits

COMMANDS = (
    *("ingest", "validate", "train", "threshold", "promote", "main", "retrain", "up"),
    *("compare", "prequential"),
    *("score", "monitor", "schedule", "simulate-traffic"),
    *("rollback", "approve", "policy", "history", "verify"),
)


@pytest.fixture
def pipelines(
    commands: Commands, empty_mlflow_database: Path, tmp_path: Path
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs a command with a state folder of the test's own; settings as environment variables."""

    shutil.copy(empty_mlflow_database, tmp_path / "mlflow.db")

    def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        own = {"FRAUD_STATE_DIR": str(tmp_path), "MLFLOW_TRACKING_URI": ""} | settings
        return commands.run(*arguments, environment=clean_environment(**own))

    return run


def test_help_lists_every_step_and_the_exit_codes() -> None:
    command = [sys.executable, "-m", "pipelines", "--help"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert answer.returncode == 0
    assert all(command in answer.stdout for command in COMMANDS)
    assert "130 interrupted" in " ".join(answer.stdout.split())


def test_paragraphs_of_help_flow_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, ["retrain", "--help"]).output.splitlines()
    start = next(number for number, line in enumerate(shown) if "Learns from decisions" in line)
    paragraph = [line.strip() for line in shown[start : shown.index(" " * 80, start)]]
    words = [line.split()[0] for line in paragraph[1:]]
    assert len(words) >= 3
    # a line ends where the next word would not fit
    assert all(len(line) + len(word) >= 78 for line, word in zip(paragraph, words, strict=False))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--trails", "3"), "--trails"),
        (("main", "--trials", "many"), "valid integer"),
        (("main", "--trials", "0"), "trials"),
        (("nonsense",), "nonsense"),
        (("ingest", "--data", "no/such.csv"), "no/such.csv"),
        (("validate",), "Run ingest first"),
        (("threshold",), "No run has completed the step 'train'"),
        (("promote", "--run-id", "abc"), "There is no run 'abc'"),
        (("promote", "--version", "3"), "There is no version 3"),
        (("promote", "--run-id", "abc", "--version", "3"), "two candidates"),
        (("rollback",), "--reason"),
        (("policy", "set", "f1"), "There is no Production version"),
        (("score", "--data", "no/such.parquet"), "--output"),
        (("score", "--data", "a.parquet", "--output", "b"), "No version is Production"),
        (("monitor", "--window", "soon"), "'soon' is not a length of time"),
        (("monitor",), "There is no decision database"),
        (("schedule", "--cron", "0 3 * *"), "has 4 fields"),
        (("schedule", "--cron", "0 25 * * *"), "'0 25 * * *' is not a cron line"),
        (("schedule", "--cron", "0 3 * * *", "--monitor-cron", "0 0 30 2 *"), "never occurs"),
        (("retrain",), "There is no decision database"),
        (("retrain", "--reason", "boredom"), "'boredom' is not one of"),
        (("simulate-traffic", "--drift", "V99=1"), "no feature 'V99'"),
        (("simulate-traffic", "--fraud-wave", "6h"), "START,LENGTH,FACTOR"),
        (("simulate-traffic", "--url", "http://127.0.0.1:9", "--patience", "0"), "http://127.0.0.1:9"),
    ],
)
def test_bad_input_is_one_message_and_exit_2(pipelines, arguments: tuple[str, ...], words: str) -> None:
    answer = pipelines(*arguments)
    assert answer.returncode == 2, answer.stderr
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unreachable_server_is_named(pipelines) -> None:
    answer = pipelines("promote", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert answer.returncode == 2
    assert "http://127.0.0.1:9" in answer.stderr
    assert "MLFLOW_TRACKING_URI" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_bad_setting_in_the_environment_is_named(pipelines) -> None:
    answer = pipelines("validate", FRAUD_TRIALS="-3")
    assert answer.returncode == 2
    assert "trials" in answer.stderr


def test_rolling_back_from_nothing_is_refused(pipelines) -> None:
    answer = pipelines("rollback", "--reason", "bad")
    assert answer.returncode == 1, answer.stderr
    assert "no Previous version" in answer.stderr


def test_history_and_verify_of_nothing_as_json(pipelines) -> None:
    shown = pipelines("history", "--json")
    told = json.loads(shown.stdout)
    assert told.pop("registry").startswith("sqlite:///")
    assert told == {"moves": [], "unrecorded": None, "problems": []}
    checked = pipelines("verify", "--json")
    assert (checked.returncode, json.loads(checked.stdout)["ok"]) == (0, True)


def test_an_address_given_to_the_settings_is_not_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client writes its own into the process, where one pipeline would then follow another's."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
    assert PipelineSettings().mlflow_server == "http://elsewhere:5000"
    assert PipelineSettings(tracking_uri="").mlflow_server == ""


def test_a_contract_is_checked_line_by_line_and_shown(pipelines, tmp_path: Path) -> None:
    good, bad, table = tmp_path / "visits.yaml", tmp_path / "bad.yaml", tmp_path / "visits.csv"
    good.write_text(VISITS_YAML)
    bad.write_text(VISITS_YAML.replace("type: boolean", "type: bool").replace("ratio: [risk, items]", "ratio: [risk]"))
    visits(300, seed=1).to_csv(table, index=False)
    found = pipelines("contract", "check", str(bad))
    assert found.returncode == 2
    faults = found.stderr.splitlines()
    assert len(faults) == 2
    assert all(fault.startswith(f"{bad}, line ") for fault in faults)
    checked = pipelines("contract", "check", str(good), "--data", str(table))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "7 scored fields" in checked.stdout
    assert "rows have an unknown label: nothing is learnt from them" in " ".join(checked.stdout.split())
    table.write_text(table.read_text().replace("outcome", "outcom", 1))
    assert pipelines("contract", "check", str(good), "--data", str(table)).returncode == 2
    shown = pipelines("contract", "show", str(good))
    assert shown.returncode == 0
    assert {"channel=web", "learnt", "unknown:"} <= set(shown.stdout.split())
    draft = ("contract", "infer", "--data", str(table), "--label", "outcome")
    missing = pipelines(*draft)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "there is no column 'outcome'" in missing.stderr


def test_the_policy_of_costs_needs_amounts(tmp_path: Path) -> None:
    (tmp_path / "visits.yaml").write_text(VISITS_YAML)
    settings = PipelineSettings(contract=str(tmp_path / "visits.yaml"), policy="cost")
    with pytest.raises(InvalidInput, match="The policy cost needs amounts, and the contract visits has none"):
        settings.usable_policies()
    other = PipelineSettings(contract=str(tmp_path / "visits.yaml"))
    assert (other.usable_policies(), other.priced_review) == (("f1", "alert_budget", "recall_at_fpr"), None)
    assert PipelineSettings(policy="cost").usable_policies() == ("f1", "cost", "alert_budget", "recall_at_fpr")


def test_cards_are_the_contracts_first_entity_or_the_one_that_is_named() -> None:
    assert PipelineSettings().reviewed_entity is None
    assert PipelineSettings(contract="cards").reviewed_entity == "customer"
    assert PipelineSettings(contract="cards", card_entity="terminal").reviewed_entity == "terminal"
    with pytest.raises(InvalidInput, match="'amount' is not an entity of the contract cards") as raised:
        _ = PipelineSettings(contract="cards", card_entity="amount").reviewed_entity
    assert raised.value.remedy == "FRAUD_CARD_ENTITY is one of customer, terminal."
    with pytest.raises(InvalidInput, match="'card' is not an entity of the contract creditcard") as raised:
        _ = PipelineSettings(card_entity="card").reviewed_entity
    assert raised.value.remedy == "Leave FRAUD_CARD_ENTITY empty."
