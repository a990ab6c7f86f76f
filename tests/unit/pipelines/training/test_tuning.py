"""Several processes on one study: one that is killed loses no trial."""

import gc
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import optuna
import pytest
from sqlalchemy import event

from ml_project.ensemble import EnsembleSettings
from pipelines.training.interrupts import Interrupts
from pipelines.training.sampler import STARTUP_TRIALS
from pipelines.training.study import finished_trials, fixed_point, open_study, starting_point, suggest
from pipelines.training.trials import WORKER, objective_of, put_back, tune, worker_name
from pipelines.training.tuning import SharedStudy, tune_together
from tests.support.machine import ROOT

TRIALS = 8
STATES = optuna.trial.TrialState


class Fold:
    """Takes a moment, as a fold does."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def average_precision(self, settings: EnsembleSettings) -> float:
        time.sleep(self.seconds)
        return settings.booster.max_depth / 10


def folds(seconds: float) -> list[Fold]:
    return [Fold(seconds), Fold(seconds)]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    postgres = request.param == "postgresql"
    yield str(request.getfixturevalue("postgres_database")) if postgres else f"sqlite:///{tmp_path / 'study.db'}"
    # Optuna has no way to close a storage: its connections end here, and not in a test that has nothing to do with them
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def points(study: optuna.Study, *states: STATES) -> list[tuple[float, ...]]:
    return [tuple(trial.params.values()) for trial in study.get_trials(states=states)]


@pytest.mark.slow
def test_a_killed_workers_point_is_tried_again(storage: str) -> None:
    study = open_study("s", storage, 0)
    shared = SharedStudy("s", storage, 0, TRIALS, None, 2, partial(folds, 0.4))  # type: ignore[arg-type]
    heard: list[int] = []
    killed: list[tuple[float, ...]] = []
    dead: list[str] = []

    def kill() -> None:
        while not killed:
            for trial in study.get_trials(states=(STATES.RUNNING,)):
                if WORKER in trial.user_attrs and len(trial.params) == len(starting_point(EnsembleSettings())):
                    dead.append(trial.user_attrs[WORKER])
                    os.kill(int(dead[0].split(":")[1]), signal.SIGKILL)
                    killed.append(tuple(trial.params.values()))
                    break
            time.sleep(0.05)
        study._storage._backend.remove_session()  # type: ignore[attr-defined]

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    tune_together(shared, study, lambda trial: heard.append(trial.number))
    killer.join(1)
    finished = points(study, STATES.COMPLETE, STATES.PRUNED)
    # on a slow machine the worker may have gone on to its next trial before the signal reached it
    assert killed[0] in finished, "what was being tried is not lost"
    # others fail, too, where two tried one point and one of them gave it up
    (failed,) = [
        trial for trial in study.get_trials(states=(STATES.FAIL,)) if trial.user_attrs.get(WORKER) in (*dead, None)
    ]
    again = [trial for trial in finished_trials(study) if failed.params.items() <= trial.params.items()]
    assert again, "its point was tried again"
    assert TRIALS <= len(finished) <= TRIALS + 1
    assert points(study, STATES.RUNNING, STATES.WAITING) == []
    assert sorted(heard) == sorted(trial.number for trial in finished_trials(study))
    last = max(finished_trials(study), key=lambda trial: trial.number)
    assert last.user_attrs[WORKER] not in dead
    study._storage._backend.remove_session()  # type: ignore[attr-defined]
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")  # for `ask`, which no worker uses
def test_put_back_knows_its_own(tmp_path: Path) -> None:
    study = open_study("s", f"sqlite:///{tmp_path / 'study.db'}", 0)
    for name in ("here:1", "elsewhere:1"):
        trial = study.ask()
        suggest(trial)
        trial.set_user_attr(WORKER, name)
    first, second = study.get_trials()
    put_back(study, "here:1")
    states = [trial.state for trial in study.get_trials()]
    assert states == [STATES.FAIL, STATES.RUNNING, STATES.WAITING]
    again = study.ask()
    assert suggest(again) == suggest(optuna.trial.FixedTrial(first.params))
    assert second.state == STATES.RUNNING
    assert worker_name(7).endswith(":7")


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")  # for `ask`, which no worker uses
def test_what_a_worker_left_before_it_signed_is_not_waited_for(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It died between making the trial and its first heartbeat: nothing says whose the trial is."""
    monkeypatch.setattr("pipelines.training.trials.UNSIGNED_SECONDS", 0.5)
    study = open_study("s", storage, 0)
    study.ask()
    tune(study, folds(0), 2, None, lambda _trial: None)  # type: ignore[arg-type]
    states = [trial.state for trial in study.get_trials()]
    assert states[0] == STATES.FAIL
    assert len(finished_trials(study)) == 2
    assert points(study, STATES.RUNNING, STATES.WAITING) == []
    tried = [fixed_point(trial) for trial in finished_trials(study)]
    assert starting_point(EnsembleSettings()) in tried, "the point that it had taken is tried"


def test_ctrl_c_at_any_statement_leaves_no_lock_and_no_trial_that_runs(tmp_path: Path) -> None:
    """It ended in a wait of a minute for its own lock, in an error of Optuna's, or was lost."""
    path, before = tmp_path / "study.db", signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for struck in range(1, 60, 4):
            study = open_study(str(struck), f"sqlite:///{path}", 0, ())
            engine = study._storage._backend.engine  # type: ignore[attr-defined]
            left = itertools.count(struck, -1)

            @event.listens_for(engine, "after_cursor_execute")
            def strike(*_: object, left: Iterator[int] = left) -> None:
                if next(left) == 1:
                    signal.raise_signal(signal.SIGINT)

            with pytest.raises(KeyboardInterrupt):
                tune(study, folds(0), 1_000, None, lambda _: None)  # type: ignore[arg-type]
            with closing(sqlite3.connect(path, timeout=0)) as other:
                other.execute("BEGIN IMMEDIATE")
            assert points(study, STATES.RUNNING) == []
    finally:
        signal.signal(signal.SIGINT, before)


def test_one_workers_pruner_sees_what_another_reported(tmp_path: Path) -> None:
    class Poor(Fold):
        def average_precision(self, settings: EnsembleSettings) -> float:
            return super().average_precision(settings) / 100

    storage = f"sqlite:///{tmp_path / 'study.db'}"
    first, second = (open_study("s", storage, 0) for _ in range(2))
    tune(first, folds(0), STARTUP_TRIALS, None, lambda _: None)  # type: ignore[arg-type]
    second.optimize(objective_of([Poor(0), Poor(0)], STARTUP_TRIALS + 1, Interrupts()), n_trials=1)  # type: ignore[list-item]
    assert [trial.state for trial in first.get_trials()] == [STATES.COMPLETE] * STARTUP_TRIALS + [STATES.PRUNED]


_MACHINE = """
import sys, threading
sys.path.insert(0, {root!r})
from pipelines.training.study import open_study
from pipelines.training.trials import tune

class Fold:
    def average_precision(self, settings):
        return settings.booster.max_depth / 10

study = open_study("s", {storage!r}, 0)
print("ready", flush=True)
sys.stdin.readline()
tune(study, [Fold(), Fold()], {trials}, None, lambda _trial: None)
"""


def test_machines_that_share_a_study_keep_its_budget_and_repeat_no_point(storage: str) -> None:
    """Each is a process that knows nothing of the other, and both begin at the same moment."""
    open_study("s", storage, 0, ())
    script = _MACHINE.format(root=str(ROOT), storage=storage, trials=6)
    command = [sys.executable, "-c", script]
    machines = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for machine in machines:
        assert machine.stdout is not None
        assert machine.stdout.readline() == "ready\n"
    for machine in machines:
        machine.communicate("go\n", timeout=120)
        assert machine.returncode == 0
    study = open_study("s", storage, 0, ())
    finished = points(study, STATES.COMPLETE, STATES.PRUNED)
    assert len(finished) == len(set(finished)) == 6


def test_a_trial_beyond_the_budget_or_of_a_known_point_gives_up_its_place(tmp_path: Path) -> None:
    study = open_study("s", f"sqlite:///{tmp_path / 'study.db'}", 0, ())
    tune(study, folds(0), 3, None, lambda _: None)  # type: ignore[arg-type]
    study.enqueue_trial(study.trials[0].params)
    for budget in (10, 3):
        study.optimize(objective_of(folds(0), budget, Interrupts()), n_trials=1, catch=(Exception,))  # type: ignore[arg-type]
    assert [trial.state for trial in study.trials] == [STATES.COMPLETE] * 3 + [STATES.FAIL] * 2


def test_machines_draw_different_points_and_a_study_that_goes_on_draws_the_same(tmp_path: Path) -> None:
    drawn = []
    for name in ("one", "two"):
        storage = f"sqlite:///{tmp_path / name}.db"
        for budget in (5,) if name == "one" else (2, 5):
            tune(open_study("s", storage, 0), folds(0), budget, None, lambda _: None)  # type: ignore[arg-type]
        drawn.append(points(open_study("s", storage, 0), STATES.COMPLETE))
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 5
