"""``python -m serving`` as operators meet it: start without a registry, stop, and refuse what cannot work."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.__main__ import main
from serving.settings import GatewaySettings
from stores.releases import open_releases
from tests.unit.serving.processes import ROOT, Process, environment


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Process]:
    running = Process(tmp_path)
    yield running
    running.client.close()
    running.process.kill()
    running.process.wait()


def test_without_a_registry_it_lives_is_not_ready_and_stops_cleanly(started) -> None:
    started.wait_until(lambda: started.client.get("/health").json()["model_loaded"] is False)
    started.wait_until(lambda: "MLflow" in started.client.get("/health/ready").json()["detail"])
    ready = started.client.get("/health/ready")
    assert ready.status_code == 503
    assert "does not answer" in ready.json()["detail"]
    code, seconds = started.stop()
    assert code == 0
    assert seconds < 6
    lines = [json.loads(line) for line in started.output.read_text().splitlines()]
    assert {"timestamp", "level", "message"} <= set.intersection(*(set(line) for line in lines))
    assert sum("does not answer" in line["message"] for line in lines) == 1


def test_stops_cleanly_while_it_is_still_starting(started) -> None:
    started.wait_until(lambda: started.client.get("/health").status_code == 200)
    code, seconds = started.stop()
    assert code == 0
    assert seconds < 6


def test_ctrl_c_is_130(started) -> None:
    started.wait_until(lambda: started.client.get("/health").status_code == 200)
    assert started.stop(signal.SIGINT)[0] == 130


def test_starts_from_the_release_pointer_while_mlflow_is_down(tmp_path, scorer, legitimate) -> None:
    open_releases(str(tmp_path / "releases")).publish(scorer.bundle, "fraud-ensemble", 12, {}, datetime.now(UTC))
    running = Process(tmp_path)
    try:
        running.wait_until(lambda: running.client.get("/health/ready").status_code == 200)
        assert running.client.get("/health/ready").json()["named_by"] == "release pointer"
        answer = running.client.post("/predict", json=legitimate).json()
        assert (answer["model_version"], answer["decision"]) == ("12", "APPROVE")
        assert [path.name for path in (tmp_path / "state" / "bundles").iterdir()] == [scorer.bundle.digest]
        assert running.stop()[0] == 0
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
            timeout=30,
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
            "RELEASES_URI cannot be 'gs://bucket': only a local folder or s3://bucket/prefix is understood",
            "S3_ENDPOINT_URL cannot be 'http://***@host': keys do not belong into the address: give AWS_ACCESS_KEY_ID "
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
    text = capsys.readouterr().out
    for name, field in GatewaySettings.model_fields.items():
        assert f"FRAUD_{name.upper()}" in text
        assert field.description in text
    assert "MLFLOW_TRACKING_URI" in text
