"""PostgreSQL, S3 and AWS as real servers that tests start, and a proxy that disturbs connections to them."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import boto3
import psutil
from sqlalchemy import create_engine

from tests.support.machine import find_pg_ctl, missing
from tests.support.processes import free_port, wait_for_port

ACCESS_KEY, SECRET_KEY = "AKIATESTONLY", "a-secret-of-tests-only"


class PostgresServer:
    """A PostgreSQL server of our own on a Unix socket, without fsync: these tests lose processes, not machines."""

    def __init__(self, pg_ctl: str, folder: Path, user: str) -> None:
        self._pg_ctl, self._data, self._user = pg_ctl, folder / "data", user
        self._options = f"-c listen_addresses='' -c fsync=off -k {folder}"
        self.url = f"postgresql://{user}@/postgres?host={folder}"
        self._run(str(Path(pg_ctl).with_name("initdb")), "-A", "trust", "-U", user, "-D", str(self._data))

    def start(self) -> None:
        log = str(self._data.with_name("log"))
        self._run(self._pg_ctl, "-D", str(self._data), "-o", self._options, "-l", log, "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run(self._pg_ctl, "-D", str(self._data), "-m", mode, "-w", "stop")

    def signal(self, number: signal.Signals) -> None:
        """To all its processes, such as SIGSTOP: then it neither answers nor ends anything until SIGCONT."""
        server = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
        for process in (server, *server.children()):
            with suppress(psutil.NoSuchProcess):  # a client that left took its process along
                process.send_signal(number)

    def configure(self, statement: str) -> None:
        """Run an ALTER SYSTEM, and let the server read its settings again."""
        url = self.url.replace("postgresql://", "postgresql+psycopg://")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        engine.dispose()

    def program(self, name: str) -> str:
        """One of the programs beside the server."""
        return str(Path(self._pg_ctl).resolve().with_name(name))

    def _run(self, *command: str) -> None:
        user = self._user if os.geteuid() == 0 else None
        done = subprocess.run(command, user=user, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server for the length of the block."""
    pg_ctl = find_pg_ctl()
    if pg_ctl is None:
        missing("PostgreSQL")
    # PostgreSQL does not run as root.
    accounts = {entry.pw_name for entry in pwd.getpwall()}
    root = os.geteuid() == 0
    user = ("postgres" if "postgres" in accounts else "nobody") if root else pwd.getpwuid(os.geteuid()).pw_name
    with tempfile.TemporaryDirectory(prefix="pg") as name:  # short: a socket's path has at most 107 bytes
        if root:
            shutil.chown(name, user)
        server = PostgresServer(pg_ctl, Path(name), user)
        server.start()
        yield server
        server.stop()


@dataclass
class S3Server:
    """rclone's S3 server: buckets are folders, objects files."""

    rclone: str
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = os.environ | {
            "RCLONE_AUTH_KEY": f'"{ACCESS_KEY},{SECRET_KEY}"',
            "RCLONE_ADDR": f"127.0.0.1:{self.port}",
        }
        command = [self.rclone, "serve", "s3", "--config", os.devnull, str(self.folder)]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        wait_for_port(self.port, self.process)

    def client(self) -> Any:
        return boto3.client("s3", endpoint_url=self.url, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


@contextmanager
def moto_server(free_requests: int) -> Iterator[str]:
    """moto's S3 and IAM; after some requests it lets nobody do what no policy allows."""
    port = free_port()
    environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": str(free_requests)}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


class Proxy:
    """Passes TCP connections on to a port; what the server answers, it passes on as told.

    ``hang`` answers nothing, ``trickle`` a byte at a time; of every connection's answers, ``stall`` passes on
    ``cut_after`` bytes and no more, ``cut`` ends the connection then.
    """

    def __init__(self, target: int, behaviour: Literal["pass", "hang", "trickle", "stall", "cut"] = "pass") -> None:
        self.behaviour: Literal["pass", "hang", "trickle", "stall", "cut"] = behaviour
        self.cut_after = 1_000_000
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with suppress(OSError), client, server:
            while data := server.recv(65536):
                over = passed + len(data) > self.cut_after
                if self.behaviour == "hang" or (self.behaviour == "stall" and over):
                    continue
                if self.behaviour == "trickle":
                    for byte in data:
                        client.sendall(bytes([byte]))
                        time.sleep(0.2)
                elif self.behaviour == "cut" and over:
                    client.shutdown(socket.SHUT_RDWR)  # closing alone would wait for the other thread
                    return
                else:
                    client.sendall(data)
                    passed += len(data)
