"""A process that serves: its start, its end, its socket, and settings that it refuses with one clear line."""

import json
import logging
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import text

from ml_project.errors import FraudError
from serving.__main__ import main
from serving.app import create_app
from serving.process import listen
from serving.server import _Server
from serving.settings import GatewaySettings
from stores.decisions import migrate, open_engine
from stores.releases import open_releases
from tests.support.machine import ROOT
from tests.support.processes import free_port
from tests.unit.serving.processes import Process, environment


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Process]:
    running = Process(tmp_path)
    yield running
    running.client.close()
    running.process.kill()
    running.process.wait()


@pytest.mark.parametrize("order", [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)])
def test_the_terminals_and_the_parents_signal_end_a_worker_once(order, monkeypatch) -> None:
    """Forced to end at once, it would leave its lifespan in the middle, with a traceback."""
    monkeypatch.setattr("serving.server.faulthandler.dump_traceback_later", lambda *_a, **_k: None)
    server = _Server(uvicorn.Config("nowhere:app"), lambda: None)
    for number in order:
        server.handle_exit(number, None)
    assert (server.should_exit, server.force_exit) == (True, False)
    server.handle_exit(signal.SIGINT, None)
    assert server.force_exit


def test_without_a_registry_it_lives_is_not_ready_and_stops_cleanly(started) -> None:
    started.wait_until(lambda: started.client.get("/health").json()["model_loaded"] is False)
    started.wait_until(lambda: "MLflow" in started.client.get("/health/ready").json()["detail"])
    ready = started.client.get("/health/ready")
    assert ready.status_code == 503
    assert "does not answer" in ready.json()["detail"]
    assert started.stop() == 0
    lines = [json.loads(line) for line in started.output.read_text().splitlines()]
    assert {"timestamp", "level", "message"} <= set.intersection(*(set(line) for line in lines))
    assert sum("does not answer" in line["message"] for line in lines) == 1


def test_stops_cleanly_while_it_is_still_starting(started) -> None:
    started.wait_until(lambda: started.client.get("/health").status_code == 200)
    assert started.stop() == 0


def test_ctrl_c_is_130(started) -> None:
    started.wait_until(lambda: started.client.get("/health").status_code == 200)
    assert started.stop(signal.SIGINT) == 130


def test_starts_from_the_release_pointer_while_mlflow_is_down(tmp_path, scorer, legitimate) -> None:
    open_releases(str(tmp_path / "releases")).publish(scorer.bundle, "fraud-ensemble", 12, {}, datetime.now(UTC))
    running = Process(tmp_path)
    try:
        running.wait_until(lambda: running.client.get("/health/ready").status_code == 200)
        assert running.client.get("/health/ready").json()["named_by"] == "release pointer"
        answer = running.client.post("/predict", json=legitimate).json()
        assert (answer["model_version"], answer["decision"]) == ("12", "APPROVE")
        assert [path.name for path in (tmp_path / "state" / "gateway" / "bundles").iterdir()] == [scorer.bundle.digest]
        assert running.stop() == 0
    finally:
        running.client.close()
        running.process.kill()
        running.process.wait()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exited:
        main(list(arguments))
    assert exited.value.code == 2
    return capsys.readouterr().err


def test_a_port_in_use_is_one_clear_message_and_no_traceback(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "serving", "--port", str(port)],
            cwd=ROOT,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == (
        f"Cannot listen on 127.0.0.1:{port}: Address already in use. Choose another --host or --port.\n"
    )


def test_unusable_settings_are_named(monkeypatch, capsys) -> None:
    monkeypatch.setenv("FRAUD_POLL_SECONDS", "0")
    monkeypatch.setenv("FRAUD_RELEASES_URI", "gs://bucket")
    monkeypatch.setenv("FRAUD_S3_ENDPOINT_URL", "http://key:sesame@host")
    monkeypatch.setenv("FRAUD_BOOTSTRAP_KEY", "too-short-a-secret")
    assert sorted(refused(capsys).splitlines()) == [
        f"FRAUD_{fault}. See python -m serving --help."
        for fault in (
            "BOOTSTRAP_KEY cannot be ***: it needs at least 32 random characters, such as `openssl rand -hex 32` gives",
            "POLL_SECONDS cannot be '0': Input should be greater than 0",
            "RELEASES_URI cannot be 'gs://bucket': only a local folder or s3://bucket/prefix is supported",
            "S3_ENDPOINT_URL cannot be 'http://***@host': keys do not belong in the address: set AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY",
        )
    ]


def test_a_state_folder_that_cannot_be_made(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FRAUD_STATE_DIR", str(tmp_path / "file" / "state"))
    message = refused(capsys)
    assert message.startswith("Cannot write to ")
    assert "FRAUD_STATE_DIR" in message


def test_help_names_every_setting(capsys) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["--help"])
    assert exited.value.code == 0
    text = " ".join(capsys.readouterr().out.split())  # lines are as wide as the terminal
    for name, field in GatewaySettings.model_fields.items():
        assert f"FRAUD_{name.upper()}" in text
        assert " ".join(str(field.description).split()) in text
    assert "MLFLOW_TRACKING_URI" in text


def test_answers_are_not_held_back() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.proto == socket.IPPROTO_TCP


def test_a_name_is_resolved() -> None:
    with listen("localhost", 0) as listener:
        assert listener.getsockname()[0] in ("127.0.0.1", "::1")


@pytest.mark.parametrize("host", ["192.0.2.1", "::ffff:192.0.2.1"])
def test_foreign_addresses_are_refused(host) -> None:
    with pytest.raises(OSError):  # noqa: PT011 the system words it
        listen(host, 0)


def refusal(tmp_path: Path, **settings: Any) -> str:
    with pytest.raises(FraudError) as refused:
        create_app(GatewaySettings(**{"state_dir": tmp_path, **settings}))
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
    assert message == f"FRAUD_DATABASE_URL names {tmp_path}/text, which is not a SQLite database. Name another file."


def test_a_database_of_a_newer_release(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/newer.db"
    engine = open_engine(url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    assert refusal(tmp_path, database_url=url).startswith("The decision database has schema 9999, which this software")


def test_a_database_with_tables_of_another_program(tmp_path) -> None:
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
        ("s3cret", "*** (not a URL)"),
    ],
)
def test_rate_limit_stores_that_cannot_be_used(tmp_path, url, shown) -> None:
    message = refusal(tmp_path, rate_limit_store=url)
    assert message.startswith(f"FRAUD_RATE_LIMIT_STORE cannot be {shown}: ")
    assert message.endswith(". Write redis://:password@host:6379/0.")
    assert "s3cret" not in message


def test_a_database_that_is_away_is_waited_for(tmp_path, caplog) -> None:
    caplog.set_level(logging.WARNING, "serving")
    url = f"postgresql://u:s3cret@127.0.0.1:{free_port()}/name"
    app = create_app(GatewaySettings(state_dir=tmp_path, database_url=url))
    app.state.gateway.decisions.store.close()
    [record] = caplog.records
    assert "is unreachable" in record.message
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
    ended = Process(tmp_path, "--workers", workers, **{name: value})
    assert ended.process.wait(60) == 2
    [line] = [line for line in ended.output.read_text().splitlines() if not line.startswith('{"timestamp": ')]
    assert line.startswith(message)
    ended.client.close()
    assert not list((tmp_path / "state" / "gateway").glob("metrics-*"))
