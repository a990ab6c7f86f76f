"""The smoke test against gateways that are well and that are not: it must say no with an exit code."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
ANSWER = {"model_version": "7", "decision": "DECLINE", "hybrid_score": 0.9}
Answers = dict[str, tuple[int, Any]]
DESCRIBED = {"requestBody": {"content": {"application/json": {"example": {"price": 1.0}}}}}
WELL: Answers = {
    "/openapi.json": (200, {"paths": {"/predict": {"post": DESCRIBED}}}),
    "/health/ready": (200, {"status": "ready", "model_version": "7"}),
    "/predict": (200, ANSWER),
    "/predict-batch": (200, [ANSWER, ANSWER]),
}


@contextmanager
def gateway(answers: Answers, seen: list[tuple[str, str | None]], sent: list[Any] | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if body and sent is not None:
                sent.append(json.loads(body))
            seen.append((self.path, self.headers.get("X-API-Key")))
            status, answer = answers[self.path]
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def smoke(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -I: no site-packages of a user, no PYTHONPATH, so that it stays a script of the standard library
    command = [sys.executable, "-I", str(ROOT / "deploy" / "smoke.py"), "--url", url, "--seconds", "0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_gateway_that_is_well_passes_and_sees_the_key() -> None:
    seen: list[tuple[str, str | None]] = []
    sent: list[Any] = []
    with gateway(WELL, seen, sent) as url:
        done = smoke(url, "--key", "secret", "--version", "7")
    assert done.returncode == 0, done.stderr
    assert "version 7 answers: DECLINE, hybrid score 0.9" in done.stdout
    assert seen == [(f"/{path}", "secret") for path in ("health/ready", "openapi.json", "predict", "predict-batch")]
    assert sent == [{"price": 1.0}, [{"price": 1.0}] * 2]


BAD: list[tuple[str, Callable[[Answers], Answers], str]] = [
    ("not ready", lambda well: {**well, "/health/ready": (503, {"detail": "no model"})}, "/health/ready answered 503"),
    ("nothing to send", lambda well: {**well, "/openapi.json": (200, {})}, "/openapi.json shows no transaction"),
    ("no key", lambda well: {**well, "/predict": (401, {"detail": "no key"})}, "/predict answered 401"),
    (
        "two versions",
        lambda well: {**well, "/predict": (200, {**ANSWER, "model_version": "6"})},
        "version 6 answered, /health/ready names 7",
    ),
    ("no decision", lambda well: {**well, "/predict": (200, {**ANSWER, "decision": "?"})}, "no decision"),
    ("a lost row", lambda well: {**well, "/predict-batch": (200, [ANSWER])}, "another shape"),
    (
        "another score",
        lambda well: {**well, "/predict-batch": (200, [ANSWER, {**ANSWER, "hybrid_score": 0.8}])},
        "equal transactions score 0.9 and 0.8",
    ),
]


@pytest.mark.parametrize(("_name", "spoil", "sentence"), BAD, ids=[name for name, _, _ in BAD])
def test_a_gateway_that_is_not_fails(_name: str, spoil: Callable[[Answers], Answers], sentence: str) -> None:
    with gateway(spoil(WELL), []) as url:
        done = smoke(url)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_another_version_than_wanted_fails() -> None:
    with gateway(WELL, []) as url:
        done = smoke(url, "--version", "8")
    assert done.returncode == 1
    assert "names version 7, not 8" in done.stderr


def test_nobody_there_fails() -> None:
    done = smoke("http://127.0.0.1:9")
    assert done.returncode == 1
    assert "gave no answer" in done.stderr
