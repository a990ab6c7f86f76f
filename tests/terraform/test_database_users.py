"""The job that makes PostgreSQL's users, on a real server; and every other job's command as exactly those users."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest
from sqlalchemy import make_url

from ml_project.errors import Unavailable
from ml_project.simulator import simulate
from pipelines.data.past_events import base_events
from stores.decisions import Chunk, DecisionStore, LabelItem, PersonalKey, open_engine
from stores.decisions.event_plan import EventPlan
from tests.support.commands import Commands
from tests.support.creditcard import KEPT, LABEL, RAW_FEATURES
from tests.support.history import CONTRACT, decided, history_table
from tests.support.processes import Forked, clean_environment
from tests.support.servers import PostgresServer
from tests.terraform.terraform_cli import DATABASE_OWNERS, REPOSITORY

PROGRAM = REPOSITORY / "terraform" / "modules" / "setup" / "create_databases.py"


def prepare(url: str, password: str) -> None:
    """The job `database`, as ECS runs it."""
    server = psycopg.conninfo.conninfo_to_dict(url)
    environment = {
        **os.environ,
        "PGHOST": str(server["host"]),
        "PGUSER": str(server["user"]),
        "PGDATABASE": str(server["dbname"]),
        "OWNERS": json.dumps(DATABASE_OWNERS),
        **{f"PASSWORD_{user}": password for user in DATABASE_OWNERS},
    }
    command = [sys.executable, "-c", PROGRAM.read_text()]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def connect(url: str, user: str, database: str, **more: str) -> psycopg.Connection:
    return psycopg.connect(url, user=user, dbname=database, autocommit=True, **more)


def test_owners_own_the_pipelines_read_decisions_and_no_other_user_gets_in(own_postgres_server: PostgresServer) -> None:
    url = own_postgres_server.url
    prepare(url, "first")
    with connect(url, "gateway", "decisions") as decisions:
        decisions.execute("CREATE TABLE later (id int)")
        decisions.execute("INSERT INTO later VALUES (7)")
    prepare(url, "second")
    with connect(url, "pipelines", "decisions") as decisions:
        assert decisions.execute("SELECT id FROM later").fetchall() == [(7,)]
        for table in ("later", "predictions", "labels", "keys"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                decisions.execute(f"DELETE FROM {table}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            decisions.execute("SELECT sha256 FROM keys")
    with connect(url, "pipelines", "study") as study:
        study.execute("CREATE TABLE trials (id int)")
    for user, database in (("gateway", "tracking"), ("mlflow", "decisions"), ("mlflow", "study")):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            connect(url, user, database)


def test_the_pipelines_take_keep_and_give_back_a_lease(own_postgres_server: PostgresServer) -> None:
    prepare(own_postgres_server.url, "first")
    server = make_url(own_postgres_server.url)
    engine = open_engine(server.set(username="pipelines", database="decisions").render_as_string(hide_password=False))
    store = DecisionStore(engine)
    assert store.take_lease("retrain", "one", 60).holder == "one"
    assert store.take_lease("retrain", "another", 60).holder == "one"
    assert store.keep_lease("retrain", "one", 60)
    store.give_lease_back("retrain", "one")
    assert store.take_lease("retrain", "another", 60).holder == "another"
    plan, frame = EventPlan.of(CONTRACT), history_table(20, seed=1)
    assert store.add_events(plan, base_events(plan, frame)) > 0
    assert store.relabel_events({each.event_id: 1 - each.fraud for each in base_events(plan, frame)}) > 0
    engine.dispose()


def test_a_key_is_forgotten_by_who_owns_the_decisions(own_postgres_server: PostgresServer) -> None:
    prepare(own_postgres_server.url, "first")
    server = make_url(own_postgres_server.url)
    key = PersonalKey("card", ("a",))
    engines = {
        user: open_engine(server.set(username=user, database="decisions").render_as_string(hide_password=False))
        for user in ("gateway", "pipelines")
    }
    owner, reader = (DecisionStore(engine) for engine in engines.values())
    owner.add(decided(history_table(20, seed=1)))
    held = owner.forgetting(CONTRACT.contract, key).held()
    assert held.decisions == held.past > 0
    assert reader.forgetting(CONTRACT.contract, key).held() == held
    with pytest.raises(Unavailable, match="permission denied for table predictions"):
        reader.forgetting(CONTRACT.contract, key).erase()
    assert owner.forgetting(CONTRACT.contract, key).erase() == held
    for engine in engines.values():
        engine.dispose()


def test_passwords_are_in_no_log_and_let_in_those_who_know_them(own_postgres_server: PostgresServer) -> None:
    url = own_postgres_server.url
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("ALTER SYSTEM SET log_statement = 'ddl'")
        hba = Path(str(server.execute("SHOW hba_file").fetchall()[0][0]))
        hba.write_text("local all gateway,pipelines scram-sha-256\n" + hba.read_text())
        server.execute("SELECT pg_reload_conf()")
    for password in ("the-first-password", "the-second-password"):
        prepare(url, password)
        with connect(url, "gateway", "decisions", password=password):
            pass
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(url, "gateway", "decisions", password="the-first-password")
    log = hba.parent.with_name("log").read_text()
    assert "CREATE ROLE" in log
    assert "SCRAM-SHA-256$" in log
    assert "-password" not in log.replace("password authentication", "")


@dataclass(frozen=True)
class Jobs:
    """A folder with a bank's file, and what Terraform's task definitions set."""

    folder: Path
    server: str
    commands: Commands

    def url(self, user: str, database: str) -> str:
        return make_url(self.server).set(username=user, database=database).render_as_string(hide_password=False)

    def run(self, module: str, words: str, *, decisions_as: str) -> tuple[int, str]:
        """Its exit code, and what it said."""
        environment = clean_environment() | {
            "FRAUD_DATA": str(self.folder / "bank.csv"),
            "FRAUD_DATABASE_URL": self.url(decisions_as, "decisions"),
            "FRAUD_FOLDS": "2",
            "FRAUD_RELEASES_URI": str(self.folder / "releases"),
            "FRAUD_REPLICATES": "100",
            "FRAUD_STATE_DIR": str(self.folder / "state"),
            "FRAUD_STUDY_URL": self.url("pipelines", "study"),
            "FRAUD_THREADS": "1",
            "FRAUD_TRIALS": "1",
            "FRAUD_TUNING_ROWS": "2000",
            "FRAUD_USER": "jane",
        }
        if module == "pipelines":
            done = self.commands.run(*words.split(), environment=environment)
            return done.returncode, done.stdout + done.stderr
        log = self.folder / f"{words}.log".replace("/", "-")
        code = Forked([module, *words.split()], environment, log).wait(900)
        return code, log.read_text()


@pytest.fixture(scope="module")
def jobs(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    commands: Commands,
    empty_mlflow_database: Path,
) -> Iterator[Jobs]:
    """Users as Terraform makes them, and a month of decisions that the gateway kept."""
    folder = tmp_path_factory.mktemp("jobs")
    (chunk,) = simulate(12_000, seed=4, fraud_rate=0.015)
    frame = pd.DataFrame(chunk.raw, columns=list(RAW_FEATURES))
    frame.assign(**{LABEL: chunk.label}).to_csv(folder / "bank.csv", index=False)
    (folder / "state").mkdir()
    shutil.copy(empty_mlflow_database, folder / "state" / "mlflow.db")
    prepare(postgres_server.url, "password")
    made = Jobs(folder, postgres_server.url, commands)
    yield made
    with psycopg.connect(postgres_server.url, autocommit=True) as server:
        for database in DATABASE_OWNERS.values():
            server.execute(f"DROP DATABASE {database} WITH (FORCE)")
        for user in DATABASE_OWNERS:
            server.execute(f"DROP ROLE {user}")


def keep_decisions(url: str) -> None:
    """As the gateway does, five weeks of them."""
    (chunk,) = simulate(6_000, seed=7, days=30, fraud_rate=0.015)
    now = datetime.now(UTC)
    engine = open_engine(url)
    store = DecisionStore(engine)
    for begin in range(0, len(chunk.raw), 1_000):
        raw = chunk.raw[begin : begin + 1_000]
        store.add_segment(
            Chunk(
                received_at=now,
                contract=KEPT,
                raw=raw,
                scores=np.full((4, len(raw)), 0.001),
                decisions=["APPROVE"] * len(raw),
                alert_threshold=0.5,
                decline_threshold=0.9,
                model_version="1",
                bundle_digest="d" * 64,
                latency_ms=1.0,
                request_id="bulk",
                transaction_ids=[f"card-{begin + row}" for row in range(len(raw))],
                event_times=[now - timedelta(days=40) + timedelta(seconds=float(row[0])) for row in raw],
                sample=frozenset(),
                sample_rate=0.001,
            )
        )
    frauds = [LabelItem(label=1, transaction_id=f"card-{row}") for row in np.flatnonzero(chunk.label)]
    store.label(frauds, "reviewers")
    engine.dispose()


PIPELINES = [
    ("main", {0}),
    ("retrain --reason manual", {0}),
    # 4: the decisions above are not what the model would have scored
    ("monitor", {0, 1, 4}),
    ("history", {0}),
    ("verify", {0, 1}),
    ("promote --version 1 --force --reason drill", {0, 1}),
    ("policy set f1 --reason drill", {0, 1}),
    ("approve 1 --reason drill", {1, 2}),
    ("rollback --reason drill", {0, 1}),
]
GATEWAY = [
    ("keys create --name till-1 --scope predict", {0}),
    ("keys list", {0}),
    ("keys revoke --name till-1", {0}),
    ("purge --older-than 400d --to exports", {0}),
]


@pytest.mark.slow
def test_every_job_may_do_what_its_command_does(jobs: Jobs) -> None:
    for words, codes in PIPELINES:
        code, said = jobs.run("pipelines", words, decisions_as="pipelines")
        assert "permission denied" not in said, words
        assert code in codes, f"{words}: {said[-3000:]}"
        if words == "main":
            keep_decisions(jobs.url("gateway", "decisions"))
    for words, codes in GATEWAY:
        code, said = jobs.run("serving", words.replace("exports", str(jobs.folder / "exports")), decisions_as="gateway")
        assert code in codes, f"{words}: {said}"
