import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pytest

from ml_project.dataset import Dataset
from ml_project.ensemble import AGEING_FEATURES, EnsembleSettings
from ml_project.errors import Unavailable
from ml_project.fitting import PreparedFold
from ml_project.simulator import simulate
from ml_project.split import forward_folds
from pipelines import tuning

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folds() -> list[PreparedFold]:
    (chunk,) = simulate(4_000, seed=2, fraud_rate=0.03)
    data = Dataset(chunk.raw, chunk.label, np.ones(len(chunk.label)), chunk.raw[:, 0])
    return [PreparedFold.prepare(fold, AGEING_FEATURES, 0, 1) for fold in forward_folds(data, 2)]


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


def test_the_first_trial_is_the_default_settings(storage: str, folds: list[PreparedFold]) -> None:
    study = tuning.open_study("s", storage, 0)
    seen: list[optuna.trial.FrozenTrial] = []
    chosen = tuning.tune(study, folds, 1, None, seen.append)
    assert chosen == EnsembleSettings()
    expected = np.mean([fold.average_precision(EnsembleSettings()) for fold in folds])
    assert seen[0].value == pytest.approx(expected, abs=1e-12)
    assert set(seen[0].user_attrs) == {"fold_0_average_precision", "fold_1_average_precision"}


def test_the_search_begins_where_it_is_told_and_a_killed_start_is_made_again(storage: str) -> None:
    starts = (EnsembleSettings(blend_weight=0.05), EnsembleSettings())
    points = [tuning.starting_point(each) for each in starts]
    study = tuning.open_study("s", storage, 0, starts)
    assert [trial.system_attrs["fixed_params"] for trial in study.trials] == points

    def killed(trial: optuna.Trial) -> float:
        assert tuning.suggest(trial) == starts[0]
        raise TimeoutError

    study.optimize(killed, n_trials=1, catch=TimeoutError)
    again = tuning.open_study("s", storage, 0, starts)
    waiting = [trial for trial in again.trials if trial.state.name == "WAITING"]
    assert [trial.system_attrs["fixed_params"] for trial in waiting] == [points[1], points[0]]


def test_the_budget_counts_earlier_trials(storage: str, folds: list[PreparedFold]) -> None:
    seen: list[int] = []
    tuning.tune(tuning.open_study("s", storage, 0), folds, 2, None, lambda t: seen.append(t.number))
    tuning.tune(tuning.open_study("s", storage, 0), folds, 3, None, lambda t: seen.append(t.number))
    tuning.tune(tuning.open_study("s", storage, 0), folds, 3, None, lambda t: seen.append(t.number))
    assert seen == [0, 1, 2]


def test_equal_seeds_search_equally(tmp_path: Path, folds: list[PreparedFold]) -> None:
    chosen = []
    for name in ("a", "b"):
        study = tuning.open_study("s", f"sqlite:///{tmp_path / name}.db", 5)
        tuning.tune(study, folds, 3, None, lambda _trial: None)
        chosen.append([trial.params for trial in study.trials])
    assert chosen[0] == chosen[1]


def test_a_resumed_sampler_draws_new_points(storage: str, folds: list[PreparedFold]) -> None:
    for budget in (2, 4):
        study = tuning.open_study("s", storage, 0)
        tuning.tune(study, folds, budget, None, lambda _trial: None)
    points = [tuple(trial.params.values()) for trial in study.trials]
    assert len(set(points)) == 4


def test_studies_differ_by_data_and_seed() -> None:
    names = {tuning.study_name(*key) for key in (("a", 0, 3, 10), ("b", 0, 3, 10), ("a", 1, 3, 10), ("a", 0, 2, 10))}
    assert len(names) == 4


def test_every_suggestion_can_be_enqueued() -> None:
    for settings in (EnsembleSettings(), EnsembleSettings(blend_weight=0.0)):
        assert tuning.suggest(optuna.trial.FixedTrial(tuning.starting_point(settings))) == settings


def test_storage_that_cannot_be_opened_is_named_without_its_password() -> None:
    with pytest.raises(Unavailable, match="FRAUD_STUDY_URL") as caught:
        tuning.open_study("s", "sqlite:////no/such/folder/study.db", 0)
    assert "no/such/folder" in str(caught.value)


_WORKER = """
import sys, time
sys.path.insert(0, {root!r})
from pipelines import tuning

class Slow:
    def average_precision(self, settings):
        time.sleep(0.3)
        return settings.booster.max_depth / 10

tuning.tune(tuning.open_study("s", {storage!r}, 0), [Slow(), Slow()], 1000, None, lambda t: print(t.number, flush=True))
"""


def test_a_killed_study_goes_on(storage: str) -> None:
    script = _WORKER.format(root=str(ROOT), storage=storage)
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert worker.stdout is not None
    for _ in range(2):
        worker.stdout.readline()
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    time.sleep(0.1)
    study = tuning.open_study("s", storage, 0)
    assert len(tuning.finished_trials(study)) >= 2
    before = len(tuning.finished_trials(study))

    class Fold:
        def average_precision(self, settings: EnsembleSettings) -> float:
            return settings.booster.max_depth / 10

    tuning.tune(study, [Fold(), Fold()], before + 2, None, lambda _trial: None)  # type: ignore[list-item]
    assert len(tuning.finished_trials(study)) == before + 2
