import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = ("ingest", "validate", "train", "threshold", "promote", "main", "monitor", "simulate-traffic", "up")


def pipelines(*arguments: str, state: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *arguments],
        cwd=ROOT,
        env={**os.environ, "FRAUD_STATE_DIR": str(state), "MLFLOW_TRACKING_URI": "", **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_help_lists_every_step_and_the_exit_codes(tmp_path: Path) -> None:
    answer = pipelines("--help", state=tmp_path)
    assert answer.returncode == 0
    assert all(command in answer.stdout for command in COMMANDS)
    assert "130 interrupted" in " ".join(answer.stdout.split())


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
        (("monitor", "--window", "soon"), "'soon' is no span of time"),
        (("monitor",), "There is no decision database"),
        (("simulate-traffic", "--drift", "V99=1"), "no feature 'V99'"),
        (("simulate-traffic", "--fraud-wave", "6h"), "START,LENGTH,FACTOR"),
        (("simulate-traffic", "--url", "http://127.0.0.1:9", "--patience", "0"), "http://127.0.0.1:9"),
    ],
)
def test_bad_input_is_one_message_and_exit_2(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    answer = pipelines(*arguments, state=tmp_path)
    assert answer.returncode == 2, answer.stderr
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    answer = pipelines("promote", state=tmp_path, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert answer.returncode == 2
    assert "http://127.0.0.1:9" in answer.stderr
    assert "MLFLOW_TRACKING_URI" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_bad_setting_in_the_environment_is_named(tmp_path: Path) -> None:
    answer = pipelines("validate", state=tmp_path, FRAUD_TRIALS="-3")
    assert answer.returncode == 2
    assert "trials" in answer.stderr
