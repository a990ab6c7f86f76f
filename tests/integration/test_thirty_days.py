"""Thirty days of 2,000 transactions with a drift on day 20, while every process is killed at random points.

Real processes throughout: MLflow, the gateway, and the commands. Whatever is killed is started again as a supervisor
would; at the end nothing may be lost, counted twice or left half-done.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import create_engine, text

from benchmarks.demo_drift import DAYS, PER_DAY, ROOT, Bank

pytestmark = pytest.mark.soak
DRIFT_DAY = 20
_TRIES = 20


class Killer:
    """Kills commands at random points until they have been killed so many times, and starts them again."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.kills: dict[str, int] = {}

    def __call__(self, command: list[str], environment: dict[str, str]) -> tuple[int, str]:
        name = command[3]
        longest = {"simulate-traffic": 25.0, "monitor": 12.0, "retrain": 60.0}.get(name, 0.0)
        to_kill = 3 if name == "retrain" else 2 if longest else 0
        for _ in range(_TRIES):
            with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
                process = subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=output, stderr=errors, start_new_session=True
                )
                try:
                    code = process.wait(self._random.uniform(1.0, longest) if to_kill else 1_800)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    to_kill -= 1
                    self.kills[name] = self.kills.get(name, 0) + 1
                    continue
                output.seek(0)
                errors.seek(0)
                said, complaint = output.read(), errors.read()
            if code in (0, 4):
                return code, said
            # A server was being killed, or the lease of one that was killed has yet to run out.
            assert code in (2, 3), f"{command[3:]}: {code} {complaint[-3000:]}"
            time.sleep(2)
        raise AssertionError(f"{command[3:]}: {complaint[-3000:]}")


class Supervisor(threading.Thread):
    """Kills the gateway and MLflow's server now and then, and starts them at once."""

    def __init__(self, bank: Bank, seed: int) -> None:
        super().__init__(daemon=True)
        self._bank, self._random, self._enough = bank, random.Random(seed), threading.Event()
        self.kills = {"gateway": 0, "mlflow": 0}

    def run(self) -> None:
        while not self._enough.wait(self._random.uniform(8, 20)):
            name = "mlflow" if self.kills["gateway"] % 4 == 3 and self.kills["mlflow"] < 2 else "gateway"
            service = self._bank.services[name]
            os.killpg(service.pid, signal.SIGKILL)
            service.__exit__(None, None, None)
            service.__enter__()
            self.kills[name] += 1

    def stop(self) -> None:
        self._enough.set()
        self.join()


def test_nothing_is_lost_and_the_history_is_complete() -> None:
    killer = Killer(seed=6)
    with tempfile.TemporaryDirectory(prefix="days-") as name, ExitStack() as stack:
        bank = Bank(Path(name), stack, killer, DRIFT_DAY)
        bank.serve()
        bank.run("main")
        bank.wait_for_version("1")
        supervisor = Supervisor(bank, seed=7)
        supervisor.start()
        bank.traffic(0, DAYS, "--drift", "V14=0.5", "--drift-after", f"{DRIFT_DAY}d")
        quiet, loud = bank.watch(DRIFT_DAY - 2), bank.watch(DRIFT_DAY)
        bank.run("retrain", "--reason", "drift")
        supervisor.stop()
        client = MlflowClient(bank.mlflow_url)
        aliases = client.get_registered_model("fraud-ensemble").aliases
        bank.wait_for_version(str(aliases["Production"]))
        bank.traffic(0, DAYS, "--drift", "V14=0.5", "--drift-after", f"{DRIFT_DAY}d")

        assert (quiet.exit_code, loud.exit_code) == (0, 4), (quiet.sentence, loud.sentence)
        assert "V14" in loud.sentence
        engine = create_engine(f"sqlite:///{bank.folder}/gateway/decisions.db")
        with engine.connect() as connection:
            kept = connection.scalar(text("SELECT count(*) FROM transactions"))
        engine.dispose()
        assert kept == DAYS * PER_DAY
        history = json.loads(bank.run("history", "--json")[1])
        assert history["problems"] == []
        assert history["unrecorded"] is None
        assert json.loads(bank.run("verify", "--json")[1])["ok"]
        experiment = client.get_experiment_by_name("fraud-detection")
        assert experiment is not None
        (retrained,) = client.search_runs(
            [experiment.experiment_id], "tags.`fraud.step` = 'retrain' and attributes.status = 'FINISHED'"
        )
        assert retrained.data.params
    sys.stdout.write(f"kills: {killer.kills | supervisor.kills}; aliases {aliases}; {kept:,} transactions kept\n")
    assert supervisor.kills["gateway"] >= 3
    assert {"simulate-traffic", "retrain"} <= set(killer.kills)
