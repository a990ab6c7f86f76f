"""An acknowledged decision is not lost: real processes, killed, with their database away or their disk full."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stores.decisions import DecisionStore, Spool, migrate, open_engine

GATEWAY = Path(__file__).with_name("gateway_process.py")
ROOT = Path(__file__).resolve().parents[4]


@contextmanager
def gateway(url: str, spool: Path, run: int, *more: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(GATEWAY), url, str(spool), str(run), *more]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def acknowledged(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def ids(lines: list[str]) -> set[str]:
    """Of whole lines; the last one may be torn as well."""
    return {line.split()[1] for line in lines if line.endswith("\n") and line.split()[0] in ("database", "spool")}


def lost(store: DecisionStore, wanted: set[str]) -> set[str]:
    return wanted - store.find_all(sorted(wanted)).keys()


def kill_loop(url: str, spool: Path, runs: int) -> None:
    engine = open_engine(url)
    migrate(engine)
    store = DecisionStore(engine)
    for run in range(runs):
        with gateway(url, spool, run) as process:
            lines = acknowledged(process, 100 + 57 * run)
            process.kill()
            lines += process.communicate()[0].splitlines(keepends=True)
        assert len(ids(lines)) >= 100
        assert all(line.startswith("database ") for line in lines[:100])
        assert lost(store, ids(lines)) == set()
    engine.dispose()


def test_kill_9_loses_nothing(database_url: str, tmp_path: Path) -> None:
    kill_loop(database_url, tmp_path / "spool", 3)


@pytest.mark.soak
def test_kill_9_loses_nothing_in_full_numbers(database_url: str, tmp_path: Path) -> None:
    kill_loop(database_url, tmp_path / "spool", 20)


def test_kill_9_while_the_database_is_away(tmp_path: Path) -> None:
    url, spool, database = f"sqlite:///{tmp_path}/d.db", tmp_path / "spool", tmp_path / "d.db"
    with gateway(url, spool, 0) as process:
        lines = acknowledged(process, 50)
        database.rename(tmp_path / "away.db")
        while not lines[-1].startswith("spool "):
            lines += acknowledged(process, 1)
        lines += acknowledged(process, 100)
        process.kill()
        lines += process.communicate()[0].splitlines(keepends=True)
    (tmp_path / "away.db").rename(database)
    engine = open_engine(url)
    store = DecisionStore(engine)
    assert lost(store, ids(lines)) != set()
    assert Spool(spool).replay(store).added >= 100
    assert lost(store, ids(lines)) == set()
    engine.dispose()


def test_a_full_disk_is_no_lie(tmp_path: Path) -> None:
    """Every file may grow to 400 kB: the database fills up, then the spool, then callers are told 503."""
    url, spool = f"sqlite:///{tmp_path}/d.db", tmp_path / "spool"
    with gateway(url, spool, 0, "400000") as process:
        lines = process.communicate(timeout=60)[0].splitlines(keepends=True)
        assert process.returncode == 0
    assert lines.count("refused 503\n") == 8
    assert {line.split()[0] for line in lines} == {"database", "spool", "refused"}
    engine = open_engine(url)
    store = DecisionStore(engine)
    Spool(spool).replay(store)
    assert len(ids(lines)) > 200
    assert lost(store, ids(lines)) == set()
    engine.dispose()


def test_postgresql_stops_and_comes_back(postgres_server: Any, postgres_url: str, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with gateway(postgres_url, spool, 7) as process:
        lines = acknowledged(process, 50)
        postgres_server.stop()
        try:
            while not lines[-1].startswith("spool "):
                lines += acknowledged(process, 1)
            lines += acknowledged(process, 50)
        finally:
            postgres_server.start()
        while not lines[-1].startswith("database "):
            lines += acknowledged(process, 1)
        process.kill()
        lines += process.communicate()[0].splitlines(keepends=True)
    engine = open_engine(postgres_url)
    store = DecisionStore(engine)
    Spool(spool).replay(store)
    assert lost(store, ids(lines)) == set()
    engine.dispose()
