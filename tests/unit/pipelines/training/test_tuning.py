"""Several processes on one study: one that is killed loses no trial."""

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import optuna
import pytest

from ml_project.ensemble import EnsembleSettings
from pipelines.training.study import (
    STARTUP_TRIALS,
    finished_trials,
    objective_of,
    open_study,
    starting_point,
    suggest,
    tune,
)
from pipelines.training.tuning import WORKER, SharedStudy, put_back, tune_together, worker_name

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
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_database"))
    return f"sqlite:///{tmp_path / 'study.db'}"


def points(study: optuna.Study, *states: STATES) -> list[tuple[float, ...]]:
    return [tuple(trial.params.values()) for trial in study.get_trials(states=states)]


@pytest.mark.slow
def test_a_killed_workers_point_is_tried_again(storage: str) -> None:
    study = open_study("s", storage, 0)
    shared = SharedStudy("s", storage, 0, TRIALS, None, 2, partial(folds, 0.4))  # type: ignore[arg-type]
    heard: list[int] = []
    killed: list[tuple[float, ...]] = []

    def kill() -> None:
        while not killed:
            for trial in study.get_trials(states=(STATES.RUNNING,)):
                if WORKER in trial.user_attrs and len(trial.params) == len(starting_point(EnsembleSettings())):
                    os.kill(int(trial.user_attrs[WORKER].split(":")[1]), signal.SIGKILL)
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
    (failed,) = study.get_trials(states=(STATES.FAIL,))
    again = [trial for trial in finished_trials(study) if failed.params.items() <= trial.params.items()]
    assert again, "its point was tried again"
    assert TRIALS <= len(finished) <= TRIALS + 1
    assert points(study, STATES.RUNNING, STATES.WAITING) == []
    assert sorted(heard) == sorted(trial.number for trial in finished_trials(study))
    last = max(finished_trials(study), key=lambda trial: trial.number)
    assert last.user_attrs[WORKER] != failed.user_attrs.get(WORKER)
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


def test_one_workers_pruner_sees_what_another_reported(tmp_path: Path) -> None:
    class Poor(Fold):
        def average_precision(self, settings: EnsembleSettings) -> float:
            return super().average_precision(settings) / 100

    storage = f"sqlite:///{tmp_path / 'study.db'}"
    first, second = (open_study("s", storage, 0, worker=worker, workers=2) for worker in (0, 1))
    tune(first, folds(0), STARTUP_TRIALS, None, lambda _: None)  # type: ignore[arg-type]
    second.optimize(objective_of([Poor(0), Poor(0)]), n_trials=1)  # type: ignore[list-item]
    assert [trial.state for trial in first.get_trials()] == [STATES.COMPLETE] * STARTUP_TRIALS + [STATES.PRUNED]
