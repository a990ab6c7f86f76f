"""Settings that cannot work are one clear line and exit code 2, before anybody is answered."""

import logging
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ml_project.errors import FraudError
from serving.server import prepared_store
from serving.settings import GatewaySettings
from stores.decisions import migrate, open_engine
from tests.unit.serving.processes import ROOT, environment, free_port


def refusal(tmp_path: Path, **settings: Any) -> str:
    with pytest.raises(FraudError) as refused:
        prepared_store(GatewaySettings(**{"state_dir": tmp_path, **settings}))
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "FRAUD_DATABASE_URL is not a URL. Write sqlite:///path or postgresql://..."),
        (
            "postgresql://u:s3cret@host:port/name",
            "FRAUD_DATABASE_URL is not a URL. Write sqlite:///path or postgresql://...",
        ),
        (
            "mysql://u:s3cret@host/name?password=s3cret",
            "FRAUD_DATABASE_URL cannot be mysql://***@host/name. Write sqlite:///path (a file) or postgresql://...",
        ),
        (
            "postgresql://u:s3cret@host/name?nonsense=s3cret",
            "FRAUD_DATABASE_URL postgresql://***@host/name has an invalid connection option "
            '"nonsense". Write postgresql://user:password@host/name.',
        ),
    ],
)
def test_database_urls_that_nobody_understands(tmp_path, url, message) -> None:
    assert refusal(tmp_path, database_url=url) == message


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").touch()
    message = refusal(tmp_path, database_url=f"sqlite:///{tmp_path}/file/decisions.db")
    assert message.startswith(f"Cannot write {tmp_path}/file/decisions.db: ")
    assert message.endswith("Check FRAUD_DATABASE_URL and that the database runs.")


def test_a_file_that_is_no_database(tmp_path) -> None:
    (tmp_path / "text").write_text("Not a database, but longer than its beginning.")
    message = refusal(tmp_path, database_url=f"sqlite:///{tmp_path}/text")
    assert message == f"FRAUD_DATABASE_URL names {tmp_path}/text, which is no SQLite database. Name another file."


def test_a_database_of_a_newer_release(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/newer.db"
    engine = open_engine(url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    assert refusal(tmp_path, database_url=url).startswith("The decision database has schema 9999, which this software")


def test_a_database_with_tables_of_somebody_else(tmp_path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE predictions (a INTEGER)")
    connection.close()
    message = refusal(tmp_path, database_url=f"sqlite:///{tmp_path}/other.db")
    assert "table predictions already exists" in message
    assert "FRAUD_DATABASE_URL" in message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nonsense://:s3cret@host", "nonsense://***@host"),
        ("redis://:s3cret@host:port/0?password=s3cret", "redis://***@host:port/0"),
        ("s3cret", "*** (no URL)"),
    ],
)
def test_rate_limit_stores_that_nobody_understands(tmp_path, url, shown) -> None:
    message = refusal(tmp_path, rate_limit_store=url)
    assert message.startswith(f"FRAUD_RATE_LIMIT_STORE cannot be {shown}: ")
    assert message.endswith(". Write redis://:password@host:6379/0.")
    assert "s3cret" not in message


def test_a_database_that_is_away_is_waited_for(tmp_path, caplog) -> None:
    caplog.set_level(logging.WARNING, "serving")
    url = f"postgresql://u:s3cret@127.0.0.1:{free_port()}/name"
    prepared_store(GatewaySettings(state_dir=tmp_path, database_url=url)).engine.dispose()
    [record] = caplog.records
    assert "is away" in record.message
    assert "s3cret" not in record.message


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FRAUD_DATABASE_URL", "mysql://u:s3cret@h/d", "FRAUD_DATABASE_URL cannot be mysql://***@h/d. "),
        ("FRAUD_WEBHOOK_SECRET", "s3cret", "FRAUD_WEBHOOK_SECRET cannot be ***: it needs at least 32 random "),
    ],
)
def test_the_process_says_one_line_and_ends(tmp_path, workers, name, value, message) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serving", "--port", str(free_port()), "--workers", workers],
        cwd=ROOT,
        env=environment(tmp_path, **{name: value}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(message)
    assert "Traceback" not in done.stdout
    assert not list((tmp_path / "state").glob("metrics-*"))
