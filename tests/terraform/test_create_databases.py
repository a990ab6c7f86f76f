"""The job that makes users and databases, on a real PostgreSQL: once, again with other passwords, and who may what."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support.servers import PostgresServer

PROGRAM = Path(__file__).resolve().parents[2] / "terraform" / "create_databases.py"
OWNERS = {
    "mlflow": "tracking",
    "mlflow_users": "tracking_users",
    "gateway": "decisions",
    "pipelines": "study",
}


def prepare(url: str, password: str) -> None:
    server = psycopg.conninfo.conninfo_to_dict(url)
    environment = {
        **os.environ,
        "PGHOST": str(server["host"]),
        "PGUSER": str(server["user"]),
        "PGDATABASE": str(server["dbname"]),
        "OWNERS": json.dumps(OWNERS),
        **{f"PASSWORD_{user}": password for user in OWNERS},
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM.read_text()], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def connect(url: str, user: str, database: str) -> psycopg.Connection:
    return psycopg.connect(url, user=user, dbname=database, autocommit=True)


def test_owners_own_the_pipelines_read_decisions_and_nobody_else_gets_in(own_postgres_server: PostgresServer) -> None:
    url = own_postgres_server.url
    prepare(url, "first")
    with connect(url, "gateway", "decisions") as decisions:
        decisions.execute("CREATE TABLE predictions (id int)")
        decisions.execute("INSERT INTO predictions VALUES (7)")
    prepare(url, "second")
    with connect(url, "pipelines", "decisions") as decisions:
        assert decisions.execute("SELECT id FROM predictions").fetchall() == [(7,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            decisions.execute("DELETE FROM predictions")
    with connect(url, "pipelines", "study") as study:
        study.execute("CREATE TABLE trials (id int)")
    for user, database in (("gateway", "tracking"), ("mlflow", "decisions"), ("mlflow", "study")):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            connect(url, user, database)
    with psycopg.connect(url) as server:
        stored = server.execute("SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'gateway'")
        assert stored.fetchone() == (True,)
