"""The whole platform on PostgreSQL, S3 and an MLflow server with users: train, promote, serve, back up, restore."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, make_url

from pipelines.up.servers import ServerSecrets
from tests.support.commands import Commands
from tests.support.machine import ROOT
from tests.support.pipelines import BANK_ROWS, transactions
from tests.support.processes import free_port, wait_for
from tests.support.servers import ACCESS_KEY, SECRET_KEY, PostgresServer, S3Server

pytestmark = pytest.mark.slow
BUCKET = "platform"
PASSWORD = "correct-horse-battery"
SAME = ("model_version", "hybrid_score", "fraud_probability", "threshold_used", "decision")
DATABASES = ("tracking", "tracking_users", "decided", "tuning")


@dataclass
class Platform:
    """Servers and the environment of whoever uses them."""

    folder: Path
    commands: Commands
    postgres: PostgresServer
    s3: S3Server
    port: int
    mlflow: subprocess.Popen[bytes] | None = None

    def database(self, name: str, driver: str = "postgresql+psycopg") -> str:
        url = make_url(self.postgres.url).set(drivername=driver, database=name)
        return url.render_as_string(hide_password=False)

    def administer(self, *statements: str) -> None:
        engine = create_engine(self.database("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, **extra: str) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "MLFLOW_", "AWS_"))}
        return ours | {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": PASSWORD,
            "FRAUD_S3_ENDPOINT_URL": self.s3.url,
            "FRAUD_RELEASES_URI": f"s3://{BUCKET}/releases",
            "FRAUD_STUDY_URL": self.database("tuning", "postgresql"),
            "FRAUD_DATABASE_URL": self.database("decided", "postgresql"),
            "FRAUD_STATE_DIR": str(self.folder / "state"),
            "FRAUD_REPLICATES": "100",
            "FRAUD_FOLDS": "2",
            "FRAUD_TUNING_ROWS": "2000",
            "FRAUD_THREADS": "1",
            **extra,
        }

    def pipelines(self, *arguments: str, **extra: str) -> "subprocess.CompletedProcess[str]":
        return self.commands.run(*arguments, environment=self.environment(**extra), timeout=600)

    def start_mlflow(self) -> None:
        secrets = ServerSecrets(mlflow_password=PASSWORD)
        environment = self.environment(
            MLFLOW_BACKEND_STORE_URI=self.database("tracking"),
            MLFLOW_ARTIFACTS_DESTINATION=f"s3://{BUCKET}/artifacts",
            MLFLOW_S3_ENDPOINT_URL=self.s3.url,
            MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE="path",
            **secrets.mlflow_environment(self.folder, self.database("tracking_users")),
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
            MLFLOW_DISABLE_TELEMETRY="true",
        )
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        with (self.folder / "mlflow.log").open("ab") as log:
            self.mlflow = subprocess.Popen(
                [*command, "--app-name", "basic-auth", "--allowed-hosts", "127.0.0.1:*"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(f"{self.mlflow_url}/health", 200, seconds=1200)

    def stop_mlflow(self) -> None:
        if self.mlflow is not None:
            os.killpg(self.mlflow.pid, signal.SIGTERM)
            self.mlflow.wait(60)
            self.mlflow = None

    def wipe(self) -> None:
        """Servers stopped, data gone."""
        self.stop_mlflow()
        self.s3.stop()
        shutil.rmtree(self.s3.folder / BUCKET)
        self.administer(*(f"DROP DATABASE {name} WITH (FORCE)" for name in DATABASES))

    def run_postgres(self, program: str, *arguments: str) -> None:
        done = subprocess.run([self.postgres.program(program), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def start_gateway(self) -> tuple[subprocess.Popen[bytes], str]:
        port = free_port()
        environment = self.environment(FRAUD_STATE_DIR=str(self.folder / f"gateway-{port}"), FRAUD_PORT=str(port))
        with (self.folder / "gateway.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "serving"], cwd=ROOT, env=environment, stdout=log)
        return process, f"http://127.0.0.1:{port}"


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)


@pytest.fixture(scope="module")
def platform(
    tmp_path_factory, commands: Commands, postgres_server: PostgresServer, s3_server: S3Server
) -> Iterator[Platform]:
    pytest.importorskip("flask_wtf", reason="MLflow's authentication needs Flask-WTF")
    made = Platform(tmp_path_factory.mktemp("platform"), commands, postgres_server, s3_server, free_port())
    made.administer(*(f"CREATE DATABASE {name}" for name in DATABASES))
    s3_server.client().create_bucket(Bucket=BUCKET)
    try:
        made.start_mlflow()
        yield made
    finally:
        made.stop_mlflow()


@pytest.fixture(scope="module")
def trained(platform: Platform) -> subprocess.CompletedProcess[str]:
    """`main` on data from S3."""
    client = platform.s3.client()
    content = transactions(BANK_ROWS, seed=4).to_csv(index=False).encode()
    client.put_object(Bucket=BUCKET, Key="data/bank.csv", Body=content)
    return platform.pipelines("main", "--data", f"s3://{BUCKET}/data/bank.csv", "--trials", "1")


@pytest.fixture
def row() -> dict[str, float]:
    return transactions(5_000, seed=4).drop(columns="Class").iloc[7].to_dict()


def ask(url: str, row: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(f"{url}/predict", json=row, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_wrong_credentials_and_places_are_one_line_each(platform: Platform) -> None:
    for extra, words in (
        ({"MLFLOW_TRACKING_PASSWORD": "wrong-password"}, "rejects the user 'admin'. Check MLFLOW_TRACKING_"),
        ({"FRAUD_STUDY_URL": f"postgresql://me:sesame@127.0.0.1:{free_port()}/x"}, "the connection is refused. Check"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong-password"}, "refuses the credentials (SignatureDoesNotMatch"),
        ({"FRAUD_RELEASES_URI": "s3://no-such-bucket/x"}, "there is no such bucket. Check FRAUD_RELEASES_URI"),
    ):
        done = platform.pipelines("main", "--data", "simulated", **extra)
        assert done.returncode == 2, done.stdout + done.stderr
        [line] = done.stderr.splitlines()
        assert words in line
        assert "wrong-password" not in line
        assert "sesame" not in line


def test_what_nothing_needs_is_pruned_from_postgresql_and_s3(
    platform: Platform, trained: subprocess.CompletedProcess[str]
) -> None:
    assert trained.returncode == 0, trained.stdout + trained.stderr
    compared = platform.pipelines("compare", "1", "1")
    assert compared.returncode == 0, compared.stderr
    run_id = re.findall(r"\b[0-9a-f]{32}\b", compared.stdout)[-1]

    def stored() -> set[str]:
        pages = platform.s3.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {each["Key"] for page in pages for each in page.get("Contents", ())}

    before = stored()
    page = {name for name in before if run_id in name}
    assert [name.rpartition("/")[2] for name in page] == ["compare.html"]
    # it ended; what was made by `main` a version needs
    dry = platform.pipelines("prune", "--older-than", "0s", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert stored() == before
    without = platform.pipelines("prune", "--older-than", "0s", "--yes")
    assert "Runs are in MLflow's trash; their files stay" in without.stdout, without.stderr
    assert stored() == before
    whole = platform.pipelines(
        "prune", "--older-than", "0s", "--yes", FRAUD_MLFLOW_DATABASE_URL=platform.database("tracking")
    )
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert "Removed; " in whole.stdout
    assert before - stored() == page
    verified = platform.pipelines("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_trained_served_backed_up_and_restored(
    platform: Platform, trained: subprocess.CompletedProcess[str], row: dict[str, float]
) -> None:
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "Production is now version 1" in trained.stdout
    gateway, url = platform.start_gateway()
    try:
        ready = wait_for(f"{url}/health/ready", 200).json()
        before = ask(url, {**row, "transaction_id": "kept"})
        assert (str(ready["model_version"]), before["model_version"], before["kept"]) == ("1", "1", "database")
    finally:
        end(gateway)

    # connections that MLflow holds are dead now
    platform.postgres.stop()
    platform.postgres.start()
    verified = platform.pipelines("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr

    folder = platform.folder / "backup"
    folder.mkdir()
    for name in DATABASES:
        platform.run_postgres("pg_dump", "-Fc", "-f", str(folder / name), platform.database(name, "postgresql"))
    shutil.copytree(platform.s3.folder / BUCKET, folder / "s3")

    platform.wipe()
    shutil.copytree(folder / "s3", platform.s3.folder / BUCKET)
    platform.s3.start()
    for name in DATABASES:
        platform.administer(f"CREATE DATABASE {name}")
        platform.run_postgres("pg_restore", "-d", platform.database(name, "postgresql"), str(folder / name))

    platform.start_mlflow()
    gateway, url = platform.start_gateway()
    try:
        wait_for(f"{url}/health/ready", 200)
        after = ask(url, row)
        assert {name: after[name] for name in SAME} == {name: before[name] for name in SAME}
        found = httpx.get(f"{url}/predictions/{before['prediction_id']}").json()
        assert (found["transaction_id"], found["hybrid_score"]) == ("kept", before["hybrid_score"])
        again = platform.pipelines("promote")
        assert "is version 1, which is Production already" in again.stdout, again.stderr
    finally:
        end(gateway)
