"""Traffic through a real gateway, watched from its real decision store: a day like training's, and one that drifts."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import create_engine, text

from pipelines.settings import PipelineSettings
from tests.support.commands import Command, Commands
from tests.support.processes import Forked, clean_environment, free_port, wait_for

pytestmark = pytest.mark.slow


def midnight() -> datetime:
    """The latest, in UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass
class Site:
    """A gateway on what `main` promoted, and the commands around it."""

    settings: PipelineSettings
    commands: Commands
    folder: Path
    port: int
    process: Forked | None = None
    first_day: datetime = field(default_factory=lambda: midnight() - timedelta(days=40))

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(
            FRAUD_STATE_DIR=str(self.settings.state_dir),
            FRAUD_RELEASES_URI=str(self.settings.releases),
            FRAUD_DATABASE_URL=f"sqlite:///{self.folder}/decisions.db",
            FRAUD_METRICS_TEXTFILE=str(self.folder / "fraud.prom"),
            FRAUD_REPLICATES="100",
            FRAUD_EVIDENTLY="false",
        )

    def start(self) -> None:
        own = {
            "FRAUD_STATE_DIR": str(self.folder / "gateway"),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        }
        self.process = Forked(["serving", "--port", str(self.port)], self.environment | own, self.folder / "log")
        wait_for(f"http://127.0.0.1:{self.port}/health/ready", 200)

    def pipelines(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        return self.commands.run(*arguments, environment=self.environment | settings)

    def begin(self, *arguments: str) -> Command:
        return self.commands.start(*arguments, environment=self.environment)

    def traffic(self, *arguments: str) -> list[str]:
        url = f"http://127.0.0.1:{self.port}"
        return ["simulate-traffic", "--url", url, "--start", self.day(0), "--fraud-rate", "0.015", *arguments]

    def day(self, number: int) -> str:
        return (self.first_day + timedelta(days=number)).isoformat()

    def kept(self) -> int:
        engine = create_engine(f"sqlite:///{self.folder}/decisions.db")
        with engine.connect() as connection:
            count = int(connection.scalar(text("SELECT count(*) FROM transactions")))
        engine.dispose()
        return count


@pytest.fixture
def site(own_settings: PipelineSettings, commands: Commands, tmp_path: Path) -> Iterator[Site]:
    running = Site(own_settings, commands, tmp_path, free_port())
    running.start()
    yield running
    assert running.process is not None
    running.process.kill()
    running.process.wait()


def test_a_day_like_training_is_no_breach_and_a_drifting_one_is(site: Site) -> None:
    sent = site.pipelines(
        *site.traffic("--duration", "4d", "--batch", "200", "--label-delay", "1d"),
        *("--drift", "V14=0.5", "--drift-after", "3d"),
    )
    assert sent.returncode == 0, sent.stderr
    assert "8,000 transactions" in sent.stdout
    assert site.kept() == 8_000

    quiet = site.pipelines("monitor", "--from", site.day(0), "--to", site.day(1), "--json")
    assert quiet.returncode == 0, quiet.stdout + quiet.stderr
    report = json.loads(quiet.stdout)
    figures = {(figure["name"], figure["of"]): figure for figure in report["figures"]}
    assert figures["rows", ""]["value"] == pytest.approx(2_000, rel=0.1)
    assert figures["psi", "V14"]["judged"]
    assert ("psi", "Time") not in figures
    assert figures["mature_frauds", ""]["value"] > 15
    assert 0 < figures["label_coverage", ""]["value"] < 0.2
    assert report["estimates"]["average_precision"]["low"] < report["estimates"]["average_precision"]["high"]

    away = {
        "FRAUD_NOTICE_WEBHOOK": f"http://127.0.0.1:{free_port()}/hook?token=sesame",
        "FRAUD_NOTICE_TOPIC": "arn:aws:sns:eu-central-1:123456789012:fraud",
        "AWS_ENDPOINT_URL_SNS": f"http://127.0.0.1:{free_port()}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    loud = site.pipelines("monitor", "--from", site.day(3), "--to", site.day(4), **away)
    assert loud.returncode == 4, loud.stdout + loud.stderr
    assert "PSI of V14" in loud.stdout
    assert "Breach: version 1" in loud.stdout
    assert "the webhook was not notified: ConnectError" in loud.stderr
    assert "fraud was not notified: EndpointConnectionError" in loud.stderr
    assert "sesame" not in loud.stdout + loud.stderr
    assert "Traceback" not in loud.stderr
    assert 'figure="psi",of="V14"' in (site.folder / "fraud.prom").read_text()

    client = MlflowClient(site.settings.mlflow_uri)
    experiment = client.get_experiment_by_name("fraud-monitoring")
    newest, before = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])[:2]
    assert (newest.data.tags["breached"], before.data.tags["breached"]) == ("true", "false")
    assert newest.data.tags["fraud.version"] == "1"
    assert newest.data.tags["notified"] == "none"
    assert newest.data.metrics["psi_V14"] > 0.1 > before.data.metrics["psi_V14"]
    assert {file.path for file in client.list_artifacts(newest.info.run_id)} == {"monitor.html", "monitor.json"}
    # and on the page of the version's model: its figures over time, each with the window that it was measured in
    version = client.get_model_version("fraud-ensemble", "1")
    live = client.get_logged_model(version.source.removeprefix("models:/")).metrics
    found = {each.run_id: each for each in live if each.key == "psi_V14"}
    assert set(found) == {newest.info.run_id, before.info.run_id}
    for run, day in ((newest, 4), (before, 1)):
        (given,) = run.inputs.dataset_inputs
        assert {tag.value for tag in given.tags} == {"monitoring"}
        figure = found[run.info.run_id]
        assert (figure.dataset_name, figure.dataset_digest) == (given.dataset.name, given.dataset.digest)
        assert figure.timestamp == (site.first_day + timedelta(days=day)).timestamp() * 1000
        assert run.info.run_name.startswith("v1 no breach · " if day == 1 else "v1 ")
    assert not [each.key for each in live if each.key.startswith(("challenger", "test_"))]


def test_a_gateway_that_restarts_is_waited_for_and_nothing_is_sent_twice(site: Site) -> None:
    arguments = site.traffic("--duration", "2d", "--batch", "20", "--connections", "2", "--label-delay", "1h")
    sending = site.begin(*arguments)
    while not site.kept():
        assert sending.poll() is None
        time.sleep(0.02)
    assert site.process is not None
    site.process.kill()
    site.process.wait()
    assert site.kept() < 4_000
    site.start()
    output, errors = sending.communicate(timeout=600)
    assert sending.returncode == 0, output + errors
    assert "4,000 transactions" in output
    assert " 0 retries" not in output
    assert site.kept() == 4_000
    again = site.pipelines(*arguments)
    assert again.returncode == 0, again.stderr
    assert site.kept() == 4_000


def test_ctrl_c_says_how_far_it_came(site: Site) -> None:
    sending = site.begin(*site.traffic("--rate", "50", "--duration", "1h"))
    while not site.kept():
        assert sending.poll() is None
        time.sleep(0.02)
    sending.send_signal(signal.SIGINT)
    output, errors = sending.communicate(timeout=600)
    assert sending.returncode == 130, output + errors
    assert "transactions in" in output
    assert "Traceback" not in errors
