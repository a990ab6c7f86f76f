"""What a server that is unreachable or unwilling is told as; the server is a few lines, the client is MLflow's own."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mlflow.tracking import MlflowClient

from ml_project.errors import Unavailable
from stores.history import History
from stores.mlflow_client import open_client, require_server
from stores.registry import PRODUCTION, Registry
from tests.support.processes import free_port
from tests.support.servers import Proxy

BODIES = {
    401: b"You are not authenticated. Please see https://mlflow.org",
    403: b'{"error_code": "PERMISSION_DENIED", "message": "Permission denied"}',
    421: b"Invalid Host header - possible DNS rebinding attack detected",
    404: b"<html>no such page</html>",
}


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Answers everything with ``status``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = running.status  # type: ignore[attr-defined]
            self.send_response(403 if status == 421 else status)
            self.end_headers()
            self.wfile.write(BODIES[status])

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, r"rejects the user 'ann'\. Check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (403, r"does not allow the user 'ann' to do this\. See `python -m pipelines access show`"),
        (421, r"does not accept that host name\. Start it with --allowed-hosts"),
        (404, r"does not answer as it should: .*404.*Check MLFLOW_TRACKING_URI"),
    ],
)
def test_refusals_name_the_setting(server, monkeypatch, status: int, words: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "sesame")
    server.status = status
    uri = f"http://127.0.0.1:{server.server_port}"
    for work in (lambda: require_server(uri), lambda: Registry(uri).resolve(PRODUCTION)):
        with pytest.raises(Unavailable, match=words) as caught:
            work()
        assert "sesame" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_request_without_credentials_says_so(server) -> None:
    server.status = 401
    with pytest.raises(Unavailable, match="rejects a request without credentials"):
        require_server(f"http://127.0.0.1:{server.server_port}")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://ann:sesame@127.0.0.1:{port}", r"http://\*\*\*@127.0.0.1:\d+ .*: the connection is refused\."),
        ("http://no-such-host.invalid", "the host is unknown"),
    ],
)
def test_no_connection(uri: str, words: str) -> None:
    with pytest.raises(Unavailable, match=words) as caught:
        require_server(uri.format(port=free_port()))
    assert "sesame" not in str(caught.value)


@pytest.mark.slow
def test_a_server_that_hangs_is_told_in_time(server) -> None:
    server.status = 401
    with Proxy(server.server_port, "hang") as proxy, pytest.raises(Unavailable, match="no answer in time"):
        require_server(proxy.url)


def test_the_database_of_a_former_mlflow_is_told_as_such(mlflow_store: MlflowClient, tmp_path) -> None:
    shutil.copy(mlflow_store.tracking_uri.removeprefix("sqlite:///"), tmp_path / "old.db")
    with sqlite3.connect(tmp_path / "old.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    database.close()
    uri = f"sqlite:///{tmp_path}/old.db"
    for work in (lambda: Registry(uri), lambda: History(uri, "m"), lambda: open_client(uri)):
        with pytest.raises(Unavailable, match=r"old\.db has the schema of another .*`mlflow db upgrade`") as caught:
            work()
        assert "\n" not in str(caught.value)


def test_files_are_not_asked(tmp_path) -> None:
    require_server(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_files_that_only_a_server_hands_out_name_the_line_to_export(mlflow_store: MlflowClient) -> None:
    """What `make run` has made, asked for after it was stopped: the database is there, its files are not."""
    experiment = mlflow_store.create_experiment("made by up", artifact_location="mlflow-artifacts:/1")
    run = mlflow_store.create_run(experiment)
    mlflow_store.create_registered_model("made-by-up")
    mlflow_store.create_model_version("made-by-up", "mlflow-artifacts:/1/model", run_id=run.info.run_id)
    registry = Registry(mlflow_store.tracking_uri, "made-by-up")
    with pytest.raises(Unavailable) as caught:
        registry.bundle(registry.version(1), require_digest=False)
    assert "kept by an MLflow server" in str(caught.value)
    assert str(caught.value).endswith("export FRAUD_TRACKING_URI=http://127.0.0.1:5000")
