"""`python -m pipelines up` as a newcomer meets it: real servers, real processes, the real sample."""

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.support.machine import REAL_SAMPLE, ROOT, find_pg_ctl, find_program, missing
from tests.support.pipelines import BANK_ROWS, start_up, transactions
from tests.support.processes import closed, free_port, wait_for

pytestmark = pytest.mark.slow


def test_smoke_on_the_real_sample_serves_what_it_promoted(tmp_path: Path) -> None:
    if not REAL_SAMPLE.is_file():
        missing(str(REAL_SAMPLE))
    ports = free_port(), free_port()
    arguments = ("--port", str(ports[0]), "--mlflow-port", str(ports[1]), "--trials", "3", "--smoke")
    for sentence in ("Production is now version 1.", "The candidate is version 1, which is Production already"):
        process = start_up(tmp_path, "--data", str(REAL_SAMPLE), *arguments)
        output, _ = process.communicate(timeout=1200)
        assert process.returncode == 0, output
        assert sentence in output
        assert '"decision": "DECLINE"' in output
        assert "/predict-batch answered 3 transactions" in output
        assert all(closed(port) for port in ports)


def ask_as_deployed(port: int, version: str) -> "subprocess.CompletedProcess[str]":
    """What a deployment asks the gateway that it has started."""
    script, url = str(ROOT / "deploy" / "smoke.py"), f"http://127.0.0.1:{port}"
    command = [sys.executable, script, "--url", url, "--version", version, "--seconds", "0"]
    return subprocess.run(command, capture_output=True, text=True)


def test_after_ctrl_c_and_after_kill_9_the_next_one_clears_up_goes_on_and_serves(tmp_path: Path) -> None:
    file = tmp_path / "bank.csv"
    transactions(BANK_ROWS, seed=4).to_csv(file, index=False)
    port, mlflow_port = free_port(), free_port()
    arguments = ("--data", str(file), "--trials", "4", "--port", str(port), "--mlflow-port", str(mlflow_port))

    interrupted = start_up(tmp_path / "var", *arguments)
    wait_for(f"http://127.0.0.1:{port}/health", 200)
    assert httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 503
    second = start_up(tmp_path / "var", "--port", str(free_port()), "--mlflow-port", str(free_port()))
    assert "Another `up` runs" in second.communicate(timeout=600)[0]
    assert second.returncode == 3
    assert interrupted.stdout is not None
    for line in interrupted.stdout:
        if "trials 2/4" in line:
            break
    interrupted.send_signal(signal.SIGINT)
    rest, _ = interrupted.communicate(timeout=600)
    assert interrupted.returncode == 130
    assert "interrupted" in rest
    assert closed(port)
    assert closed(mlflow_port)

    killed = start_up(tmp_path / "var", *arguments)
    wait_for(f"http://127.0.0.1:{port}/health", 200)
    killed.kill()
    killed.communicate(timeout=600)
    assert not closed(port)

    last = start_up(tmp_path / "var", *arguments)
    try:
        ready = wait_for(f"http://127.0.0.1:{port}/health/ready", 200, seconds=1200)
        assert str(ready.json()["model_version"]) == "1"
        well, wrong = ask_as_deployed(port, "1"), ask_as_deployed(port, "2")
        last.send_signal(signal.SIGINT)
        output, _ = last.communicate(timeout=600)
    finally:
        last.kill()
    assert last.returncode in (0, 130), output
    assert "continuing study" in output
    assert "trials 4/4" in output
    assert closed(port)
    assert closed(mlflow_port)
    gone = ask_as_deployed(port, "1")
    assert [well.returncode, wrong.returncode, gone.returncode] == [0, 1, 1], well.stderr
    assert "version 1 answers: " in well.stdout
    assert "names version 1, not 2" in wrong.stderr
    assert "gave no answer" in gone.stderr


@pytest.mark.parametrize("option", ["--port", "--mlflow-port"])
def test_a_port_in_use_is_said_at_once(tmp_path: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start_up(
            tmp_path, option, str(port), "--mlflow-port" if option == "--port" else "--port", str(free_port())
        )
        output, _ = process.communicate(timeout=600)
    assert process.returncode == 2
    assert f"Port {port} on 127.0.0.1 is in use" in output
    assert "Traceback" not in output


def _collect_commands(process: "subprocess.Popen[str]", shown: set[str]) -> None:
    """What `ps` would show anybody of this machine's processes until one of them ends."""
    while process.poll() is None:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                shown.add(file.read_text(errors="replace").replace("\0", " "))
        time.sleep(0.2)


def test_smoke_on_postgresql_and_s3(tmp_path: Path) -> None:
    if find_pg_ctl() is None or find_program("rclone") is None or importlib.util.find_spec("flask_wtf") is None:
        missing("PostgreSQL, rclone or Flask-WTF")
    transactions(BANK_ROWS, seed=4).to_csv(tmp_path / "bank.csv", index=False)
    ports = free_port(), free_port()
    arguments = ("--data", str(tmp_path / "bank.csv"), "--trials", "1", "--backend", "servers", "--smoke")
    with tempfile.TemporaryDirectory(prefix="up") as name:
        Path(name).chmod(0o755)  # PostgreSQL's account must reach it where this runs as root
        process = start_up(Path(name), *arguments, "--port", str(ports[0]), "--mlflow-port", str(ports[1]))
        secret = Path(name) / "servers" / "secrets.json"
        shown: set[str] = set()
        watch = threading.Thread(target=_collect_commands, args=(process, shown), daemon=True)
        watch.start()
        try:
            output, _ = process.communicate(timeout=1200)
        finally:
            process.terminate()
            watch.join()
        assert process.returncode == 0, output
        everything = "\n".join(shown)
        assert "rclone" in everything
        assert "postgres" in everything
        assert [key for key, value in json.loads(secret.read_text()).items() if value in everything] == []
        assert "Production is now version 1." in output
        assert "/predict-batch answered 3 transactions" in output
        assert all(closed(port) for port in ports)
        servers = Path(name) / "servers"
        assert (servers / "s3" / "fraud" / "releases" / "Production.json").is_file()
        assert (servers / "secrets.json").stat().st_mode & 0o777 == 0o600
        assert sorted(path.name for path in (Path(name) / "logs").glob("*.pid")) == []
        assert not (Path(name) / "mlflow.db").exists()
