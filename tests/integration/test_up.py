"""`python -m pipelines up` as a newcomer meets it: real servers, real processes."""

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

from tests.support.commands import Command, Commands
from tests.support.machine import ROOT, find_pg_ctl, find_program, missing
from tests.support.pipelines import BANK_ROWS, transactions, up_environment
from tests.support.processes import closed, free_port, wait_for

pytestmark = pytest.mark.slow


def ask_as_deployed(port: int, version: str) -> "subprocess.CompletedProcess[str]":
    """What a deployment asks the gateway that it has started."""
    script, url = str(ROOT / "deploy" / "smoke.py"), f"http://127.0.0.1:{port}"
    command = [sys.executable, script, "--url", url, "--version", version, "--seconds", "0"]
    return subprocess.run(command, capture_output=True, text=True)


def ended(command: Command) -> str:
    """Wait for its end; all that it wrote."""
    output, errors = command.communicate(timeout=1200)
    return output + errors


def test_after_ctrl_c_and_after_kill_9_the_next_one_clears_up_and_goes_on(tmp_path: Path, commands: Commands) -> None:
    file = tmp_path / "bank.csv"
    transactions(BANK_ROWS, seed=4).to_csv(file, index=False)
    port, mlflow_port = free_port(), free_port()
    url, ports = f"http://127.0.0.1:{port}", ("--port", str(port), "--mlflow-port", str(mlflow_port))
    settings = up_environment(tmp_path / "var")

    def start(*arguments: str) -> Command:
        return commands.start("up", "--data", str(file), "--trials", "4", *ports, *arguments, environment=settings)

    interrupted = start()
    wait_for(f"{url}/health", 200)
    assert httpx.get(f"{url}/health/ready").status_code == 503
    second = commands.run("up", "--port", str(free_port()), "--mlflow-port", str(free_port()), environment=settings)
    assert "Another instance of `up` is using" in second.stderr
    assert second.returncode == 3
    while interrupted.poll() is None and "trials 2/4" not in "".join(interrupted.output()):
        time.sleep(0.1)
    interrupted.send_signal(signal.SIGINT)
    output = ended(interrupted)
    assert interrupted.returncode == 130, output
    assert "interrupted" in output
    assert closed(port)
    assert closed(mlflow_port)

    killed = start()
    ready = wait_for(f"{url}/health/ready", 200, seconds=1200)
    assert str(ready.json()["model_version"]) == "1"
    well, wrong = ask_as_deployed(port, "1"), ask_as_deployed(port, "2")
    # a command of the same folder is told nothing, and finds the stack
    found = commands.run("history", "--json", environment=settings)
    assert json.loads(found.stdout)["registry"] == f"http://127.0.0.1:{mlflow_port}", found.stderr
    assert "using the running stack" in found.stderr
    killed.kill()
    output = ended(killed)
    assert "continuing study" in output
    assert "trials 4/4" in output
    assert not closed(port)

    last = start("--smoke")
    output = ended(last)
    assert last.returncode == 0, output
    assert "The candidate is version 1, which is Production already" in output
    assert "/predict-batch answered 3 transactions" in output
    places = dict(line.split(maxsplit=1) for line in output.splitlines() if line.startswith(("  page ", "  API ")))
    assert places == {"page": url, "API": f"{url}/docs"}
    assert [line.split("pipelines ")[1].split()[0] for line in output.splitlines() if " -m pipelines " in line] == [
        *("simulate-traffic", "monitor", "history"),
    ]
    assert closed(port)
    assert closed(mlflow_port)
    gone = ask_as_deployed(port, "1")
    assert [well.returncode, wrong.returncode, gone.returncode] == [0, 1, 1], well.stderr
    assert "version 1 answers: " in well.stdout
    assert "names version 1, not 2" in wrong.stderr
    assert "gave no answer" in gone.stderr


@pytest.mark.parametrize("option", ["--port", "--mlflow-port"])
def test_a_port_in_use_is_said_at_once(tmp_path: Path, option: str, commands: Commands) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = "--mlflow-port" if option == "--port" else "--port"
        arguments = (option, str(port), other, str(free_port()))
        done = commands.run("up", *arguments, environment=up_environment(tmp_path))
    assert done.returncode == 2
    assert f"Port {port} on 127.0.0.1 is in use" in done.stderr
    assert "Traceback" not in done.stderr


def _collect_commands(done: threading.Event, shown: set[str]) -> None:
    """What `ps` would show anybody of this machine's processes until it is done."""
    while not done.wait(0.2):
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                shown.add(file.read_text(errors="replace").replace("\0", " "))


def test_smoke_on_postgresql_and_s3(tmp_path: Path, commands: Commands) -> None:
    if find_pg_ctl() is None or find_program("rclone") is None or importlib.util.find_spec("flask_wtf") is None:
        missing("PostgreSQL, rclone or Flask-WTF")
    transactions(BANK_ROWS, seed=4).to_csv(tmp_path / "bank.csv", index=False)
    ports = free_port(), free_port()
    arguments = ("--data", str(tmp_path / "bank.csv"), "--trials", "1", "--backend", "servers", "--smoke")
    with tempfile.TemporaryDirectory(prefix="up") as name:
        Path(name).chmod(0o755)  # PostgreSQL's account must reach it where this runs as root
        places = ("--port", str(ports[0]), "--mlflow-port", str(ports[1]))
        command = commands.start("up", *arguments, *places, environment=up_environment(Path(name)))
        secret = Path(name) / "servers" / "secrets.json"
        shown: set[str] = set()
        done = threading.Event()
        watch = threading.Thread(target=_collect_commands, args=(done, shown), daemon=True)
        watch.start()
        try:
            output = ended(command)
        finally:
            command.send_signal(signal.SIGTERM)
            done.set()
            watch.join()
        assert command.returncode == 0, output
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
