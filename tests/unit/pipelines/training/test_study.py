import os
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest
from sqlalchemy import create_engine, make_url

from ml_project.dataset import Dataset
from ml_project.ensemble import EnsembleSettings
from ml_project.errors import InvalidInput, Unavailable
from ml_project.fitting import PreparedFold
from ml_project.simulator import simulate
from ml_project.split import forward_folds
from pipelines.settings import PipelineSettings
from pipelines.training.steps import require_stores
from pipelines.training.study import (
    finished_trials,
    open_storage,
    open_study,
    require_storage,
    starting_point,
    study_name,
    suggest,
)
from pipelines.training.trials import WORKER, tune
from tests.support.creditcard import CREDITCARD, LEFT_OUT
from tests.support.processes import free_port

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def folds() -> list[PreparedFold]:
    (chunk,) = simulate(4_000, seed=2, fraud_rate=0.03)
    data = Dataset(CREDITCARD, chunk.raw, chunk.label, np.ones(len(chunk.label)), chunk.raw[:, 0])
    return [PreparedFold.prepare(fold, LEFT_OUT, 0, 1) for fold in forward_folds(data, 2)]


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


def test_the_first_trial_is_the_default_settings(storage: str, folds: list[PreparedFold]) -> None:
    study = open_study("s", storage, 0)
    seen: list[optuna.trial.FrozenTrial] = []
    chosen = tune(study, folds, 1, None, seen.append)
    assert chosen == EnsembleSettings()
    expected = np.mean([fold.average_precision(EnsembleSettings()) for fold in folds])
    assert seen[0].value == pytest.approx(expected, abs=1e-12)
    assert set(seen[0].user_attrs) == {"fold_0_average_precision", "fold_1_average_precision", WORKER}


def test_the_search_begins_where_it_is_told_and_a_killed_start_is_made_again(storage: str) -> None:
    starts = (EnsembleSettings(blend_weight=0.05), EnsembleSettings())
    points = [starting_point(each) for each in starts]
    study = open_study("s", storage, 0, starts)
    assert [trial.system_attrs["fixed_params"] for trial in study.trials] == points

    def killed(trial: optuna.Trial) -> float:
        assert suggest(trial) == starts[0]
        raise TimeoutError

    study.optimize(killed, n_trials=1, catch=TimeoutError)
    again = open_study("s", storage, 0, starts)
    waiting = [trial for trial in again.trials if trial.state.name == "WAITING"]
    assert [trial.system_attrs["fixed_params"] for trial in waiting] == [points[1], points[0]]


def test_the_budget_counts_earlier_trials(storage: str, folds: list[PreparedFold]) -> None:
    seen: list[int] = []
    tune(open_study("s", storage, 0), folds, 2, None, lambda t: seen.append(t.number))
    tune(open_study("s", storage, 0), folds, 3, None, lambda t: seen.append(t.number))
    tune(open_study("s", storage, 0), folds, 3, None, lambda t: seen.append(t.number))
    assert seen == [0, 1, 2]


def test_equal_seeds_search_equally(tmp_path: Path, folds: list[PreparedFold]) -> None:
    chosen = []
    for name in ("a", "b"):
        study = open_study("s", f"sqlite:///{tmp_path / name}.db", 5)
        tune(study, folds, 3, None, lambda _trial: None)
        chosen.append([trial.params for trial in study.trials])
    assert chosen[0] == chosen[1]


def test_a_resumed_sampler_draws_new_points(storage: str, folds: list[PreparedFold]) -> None:
    for budget in (2, 4):
        study = open_study("s", storage, 0)
        tune(study, folds, budget, None, lambda _trial: None)
    points = [tuple(trial.params.values()) for trial in study.trials]
    assert len(set(points)) == 4


def test_studies_differ_by_data_and_seed() -> None:
    keys = (
        ("a", "c", 0, 3, 10),
        ("b", "c", 0, 3, 10),
        ("a", "d", 0, 3, 10),
        ("a", "c", 1, 3, 10),
        ("a", "c", 0, 2, 10),
    )
    names = {study_name(*key) for key in keys}
    assert len(names) == 5


def test_every_suggestion_can_be_enqueued() -> None:
    for settings in (EnsembleSettings(), EnsembleSettings(blend_weight=0.0)):
        assert suggest(optuna.trial.FixedTrial(starting_point(settings))) == settings


def test_storage_that_cannot_be_opened_is_named_without_its_password() -> None:
    with pytest.raises(Unavailable, match="FRAUD_STUDY_URL") as caught:
        open_study("s", "sqlite:////no/such/folder/study.db", 0)
    assert "no/such/folder" in str(caught.value)


_WORKER = """
import sys, time
sys.path.insert(0, {root!r})
from pipelines.training.study import open_study
from pipelines.training.trials import tune

class Slow:
    def average_precision(self, settings):
        time.sleep(0.3)
        return settings.booster.max_depth / 10

tune(open_study("s", {storage!r}, 0), [Slow(), Slow()], 1000, None, lambda t: print(t.number, flush=True))
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
    study = open_study("s", storage, 0)
    assert len(finished_trials(study)) >= 2
    before = len(finished_trials(study))

    class Fold:
        def average_precision(self, settings: EnsembleSettings) -> float:
            return settings.booster.max_depth / 10

    tune(study, [Fold(), Fold()], before + 2, None, lambda _trial: None)  # type: ignore[list-item]
    assert len(finished_trials(study)) == before + 2


class Fold:
    """As good as the number of rounds."""

    def average_precision(self, settings) -> float:
        return settings.booster.rounds / 100


def test_a_study_in_postgresql_goes_on_after_a_restart_of_the_server(postgres_server) -> None:
    server = make_url(postgres_server.url).set(drivername="postgresql+psycopg")
    administrator = create_engine(server, isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE study")
    administrator.dispose()
    url = server.set(drivername="postgresql", database="study").render_as_string(hide_password=False)
    require_storage(url)
    study = open_study("fraud-x", url, seed=1)
    tune(study, [Fold()], 2, None, lambda _trial: None)
    postgres_server.stop()
    with pytest.raises(Unavailable, match=r"The Optuna study postgresql.* does not answer .*FRAUD_STUDY_URL"):
        require_storage(url)
    postgres_server.start()
    tune(study, [Fold()], 3, None, lambda _trial: None)
    again = open_study("fraud-x", url, seed=1)
    assert len(finished_trials(again)) == 3
    for opened in (study, again):
        opened._storage._backend.engine.dispose()


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("postgresql://me:sesame@127.0.0.1:{port}/x", Unavailable, "the connection is refused. Check FRAUD_STUDY_URL"),
        ("postgresql://me:sesame@no-such-host.invalid/x", Unavailable, "the host is unknown. Check FRAUD_STUDY_URL"),
        ("postgresql://me:sesame@host:port/x", InvalidInput, "FRAUD_STUDY_URL is not a URL"),
    ],
)
def test_a_storage_that_cannot_be_used(url: str, kind, words: str, tmp_path) -> None:
    with pytest.raises(kind, match=words) as caught:
        require_stores(PipelineSettings(state_dir=tmp_path, study_url=url.format(port=free_port())))
    assert "sesame" not in str(caught.value)


def test_an_old_schema_is_told_before_anything_is_trained(tmp_path) -> None:
    settings = PipelineSettings(state_dir=tmp_path)
    require_stores(settings)
    assert list(tmp_path.iterdir()) == []
    open_storage(settings.study).engine.dispose()
    with sqlite3.connect(tmp_path / "optuna.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'v2.4.0.a'")
    database.close()
    with pytest.raises(Unavailable, match=r"schema of another Optuna version\. Back it up and run .*FRAUD_STUDY_URL"):
        require_stores(settings)


def test_heartbeats_are_no_news() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", optuna.exceptions.ExperimentalWarning)
        open_study("fraud-y", "sqlite://", seed=0)
