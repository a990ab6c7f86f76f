"""The driver that every URL gets, a server that asks for passwords, and statements that run too long."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from ml_project.errors import Unavailable
from pipelines.training.study import require_storage
from stores.decisions import DecisionStore, migrate, open_engine
from stores.sql import Busy, time_allowed, translated

PASSWORD = "s3sa/me@home"


@pytest.fixture
def guarded(postgres_server, postgres_database: str) -> Iterator[Callable[[str], str]]:
    """The URL of a database for a user who has a password, with the password that is given."""
    url = make_url(postgres_database)
    rules = Path(str(url.query["host"])) / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all guarded scram-sha-256\n{before}")
    engine = create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        connection.exec_driver_sql("SELECT pg_reload_conf()")

    def address(password: str) -> str:
        made = url.set(drivername="postgresql", username="guarded", password=password)
        return made.render_as_string(hide_password=False)

    yield address
    rules.write_text(before)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_reload_conf()")
        connection.exec_driver_sql("REASSIGN OWNED BY guarded TO CURRENT_USER")
        connection.exec_driver_sql("DROP ROLE guarded")
    engine.dispose()


def ask_decisions(url: str) -> None:
    engine = open_engine(url)
    try:
        migrate(engine)
        DecisionStore(engine).ping()
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    ("ask", "setting"), [(ask_decisions, "FRAUD_DATABASE_URL"), (require_storage, "FRAUD_STUDY_URL")]
)
def test_a_wrong_password_is_one_clear_line(guarded: Callable[[str], str], ask, setting: str) -> None:
    # a reloaded server may take a moment to go by its new rules
    deadline = time.monotonic() + 60
    while True:
        try:
            ask(guarded("wr0ng/and@secret"))
        except Unavailable as error:
            said = str(error)
            break
        assert time.monotonic() < deadline
    assert 'password authentication failed for user "guarded"' in said
    assert f"Check {setting}" in said
    assert "\n" not in said
    assert "wr0ng" not in said
    assert "secret" not in said
    ask(guarded(PASSWORD))


def test_a_statement_that_takes_too_long_is_ended(postgres_database: str) -> None:
    engine = open_engine(postgres_database)
    with translated(engine.url), engine.connect() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "5s"
        connection.execute(text("SET statement_timeout = 50"))

        def sleep() -> None:
            with translated(engine.url):
                connection.execute(text("SELECT pg_sleep(20)"))

        with pytest.raises(Unavailable, match="statement timeout"):
            sleep()
    engine.dispose()


def test_a_server_that_hangs_is_given_up(postgres_database: str) -> None:
    """Its process is frozen, so that no limit of its own applies."""
    engine = open_engine(postgres_database)
    with engine.connect() as connection:
        backend = connection.scalar(text("SELECT pg_backend_pid()"))
        assert isinstance(backend, int)
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.answer_seconds == 7
        driver.answer_seconds = 0.3
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable, match="no answer in time"), translated(engine.url):
                connection.scalar(text("SELECT 1"))
            assert driver.closed
        finally:
            os.kill(backend, signal.SIGCONT)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()


def test_more_time_is_for_one_transaction(postgres_database: str) -> None:
    engine = open_engine(postgres_database)
    with engine.begin() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with time_allowed(connection, 300):
            assert connection.scalar(text("SHOW statement_timeout")) == "5min"
            assert driver.answer_seconds == 302
        assert driver.answer_seconds == 7
    with engine.begin() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "5s"
    engine.dispose()


def test_no_free_connection_is_no_outage(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/x.db", pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect(), pytest.raises(Busy, match="Too many queries"), translated(engine.url):
        engine.connect()
    engine.dispose()
