import sqlite3
import time
import warnings

import optuna
import pytest
from sqlalchemy import create_engine, make_url

from ml_project.errors import InvalidInput, Unavailable
from pipelines.preflight import require_stores
from pipelines.settings import PipelineSettings
from pipelines.study_storage import open_storage, require_storage
from pipelines.tuning import finished_trials, open_study, tune
from tests.support.processes import free_port


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
    with pytest.raises(Unavailable, match=r"The Optuna study in postgresql://.* cannot be used.*FRAUD_STUDY_URL"):
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
    started = time.monotonic()
    with pytest.raises(kind, match=words) as caught:
        require_stores(PipelineSettings(state_dir=tmp_path, study_url=url.format(port=free_port())))
    assert time.monotonic() - started < 15
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
