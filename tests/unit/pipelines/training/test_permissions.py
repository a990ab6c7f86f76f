"""Who may only read is told so before any work is done; the server is a few lines, the client is MLflow's own."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ml_project.errors import Unavailable
from pipelines.settings import PipelineSettings
from pipelines.training.model_logging import MODEL_URI_TAG
from pipelines.training.steps import run_promote, run_threshold
from stores.registry import DIGEST_TAG

EXPERIMENT = {"experiment_id": "1", "name": "fraud-detection", "artifact_location": "x", "lifecycle_stage": "active"}
RUN = {
    "info": {"run_id": "abc", "run_uuid": "abc", "experiment_id": "1", "status": "FINISHED", "artifact_uri": "x"},
    "data": {"tags": [{"key": DIGEST_TAG, "value": "d" * 64}, {"key": MODEL_URI_TAG, "value": "models:/m-1"}]},
}
READING = {
    "experiments/search": {},
    "experiments/get-by-name": {"experiment": EXPERIMENT},
    "runs/search": {"runs": [RUN]},
    "runs/get": {"run": RUN},
}


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A server that lets everybody read and nobody write: its address, and what it was asked."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0].rpartition("/mlflow/")[2]
            paths.append(path)
            denied = {"error_code": "PERMISSION_DENIED", "message": "Permission denied"}
            self.send_response(200 if path in READING else 403)
            self.end_headers()
            self.wfile.write(json.dumps(READING.get(path, denied)).encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", paths
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize("step", [run_threshold, run_promote])
def test_the_first_write_is_before_the_work(asked: tuple[str, list[str]], tmp_path: Path, step: object) -> None:
    uri, paths = asked
    settings = PipelineSettings(state_dir=tmp_path, tracking_uri=uri)  # type: ignore[call-arg]
    with pytest.raises(
        Unavailable, match=r"does not allow .* to do this\. See `python -m pipelines access show`"
    ) as caught:
        step(settings)  # type: ignore[operator]
    assert caught.value.exit_code == 2
    assert set(paths[:-1]) <= set(READING)
    assert paths[-1] == "runs/log-batch"
