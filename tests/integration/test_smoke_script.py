"""`deploy/smoke.py`, which asks deployed gateways, against what `make run` starts."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.machine import ROOT
from tests.support.pipelines import start_up, transactions
from tests.support.processes import free_port, wait_for

pytestmark = pytest.mark.slow


def test_it_passes_against_make_run_and_fails_once_that_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "bank.csv"
    transactions(12_000, seed=4).to_csv(file, index=False)
    port = free_port()
    smoke = [sys.executable, str(ROOT / "deploy" / "smoke.py"), "--url", f"http://127.0.0.1:{port}"]
    ports = ("--port", str(port), "--mlflow-port", str(free_port()))
    process = start_up(tmp_path / "var", "--data", str(file), "--trials", "1", *ports)
    try:
        wait_for(f"http://127.0.0.1:{port}/health/ready", 200, seconds=240)
        well = subprocess.run([*smoke, "--version", "1"], capture_output=True, text=True)
        wrong = subprocess.run([*smoke, "--version", "2", "--seconds", "0"], capture_output=True, text=True)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    gone = subprocess.run([*smoke, "--seconds", "0"], capture_output=True, text=True)
    assert well.returncode == 0, well.stderr
    assert "version 1 answers: " in well.stdout
    assert (wrong.returncode, gone.returncode) == (1, 1)
    assert "names version 1, not 2" in wrong.stderr
    assert "gave no answer" in gone.stderr
