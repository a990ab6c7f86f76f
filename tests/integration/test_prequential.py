"""History replayed, killed in the middle and gone on with."""

import shutil
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from ml_project.errors import InvalidInput
from ml_project.prequential import RetrainingReplay, RuleWeek
from pipelines.evaluation.prequential import BlockSettings, RulesSettings, run_prequential, run_retraining_rules
from pipelines.settings import PipelineSettings
from pipelines.training.steps import run_ingest
from tests.support.commands import Commands
from tests.support.pipelines import transactions
from tests.support.processes import clean_environment

BLOCKS = 5


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_database: Path) -> PipelineSettings:
    folder = tmp_path_factory.mktemp("prequential")
    (folder / "var").mkdir()
    shutil.copy(empty_mlflow_database, folder / "var")
    transactions(5_000, seed=6).to_csv(folder / "bank.csv", index=False)
    # by its environment's name, which MLflow itself may have set in this process
    own = {"MLFLOW_TRACKING_URI": "", "state_dir": folder / "var", "data": str(folder / "bank.csv")}
    settings = PipelineSettings.model_validate({**own, "replicates": 100, "threads": 1})
    run_ingest(settings)
    return settings


@pytest.fixture
def settings(ingested: PipelineSettings, tmp_path: Path) -> PipelineSettings:
    """The ingested data in a state folder of the test's own: replays look for runs of earlier ones."""
    shutil.copytree(ingested.state_dir, tmp_path / "var")
    return ingested.model_copy(update={"state_dir": tmp_path / "var"})


def children(settings: PipelineSettings) -> dict[int, list[MlflowRun]]:
    found: dict[int, list[MlflowRun]] = {}
    for run in MlflowClient(settings.mlflow_uri).search_runs(["1"], "tags.kind = 'block'"):
        found.setdefault(int(run.data.tags["prequential.block"]), []).append(run)
    return found


def test_killed_in_the_middle_it_goes_on_where_it_was(settings: PipelineSettings, commands: Commands) -> None:
    environment = clean_environment(
        FRAUD_STATE_DIR=str(settings.state_dir), MLFLOW_TRACKING_URI="", FRAUD_REPLICATES="100", FRAUD_THREADS="1"
    )
    replaying = commands.start("prequential", "--blocks", str(BLOCKS), "--label-delay", "0.05", environment=environment)
    while "blocks 2/" not in replaying.output()[0]:
        assert replaying.poll() is None, replaying.output()
        time.sleep(0.05)
    replaying.kill()
    assert replaying.wait(60) == -signal.SIGKILL
    before = {number: runs[0].info for number, runs in children(settings).items() if runs[0].info.status == "FINISHED"}
    assert 2 <= len(before) < BLOCKS

    replayed = run_prequential(settings, BlockSettings(BLOCKS, 0.05, 0.4))

    assert [block.number for block in replayed] == list(range(BLOCKS))
    assert all(block.known_frauds > 0 and block.figures["average_precision"].value > 0.3 for block in replayed)
    after = children(settings)
    for number, info in before.items():
        assert [run.info.run_id for run in after[number]] == [info.run_id]
        assert after[number][0].info.end_time == info.end_time
    assert {run.info.status for runs in after.values() for run in runs} <= {"FINISHED", "KILLED"}

    client = MlflowClient(settings.mlflow_uri)
    (parent,) = client.search_runs(["1"], "tags.`fraud.step` = 'prequential'")
    assert parent.info.status == "FINISHED"
    history = client.get_metric_history(parent.info.run_id, "average_precision")
    assert {entry.step: entry.value for entry in history} == {
        block.number: block.figures["average_precision"].value for block in replayed
    }
    assert [entry.path for entry in client.list_artifacts(parent.info.run_id)] == ["prequential.html"]


def test_done_once_it_is_not_done_again(settings: PipelineSettings) -> None:
    first = run_prequential(settings, BlockSettings(3, 0.0, 0.4))
    count = sum(map(len, children(settings).values()))
    assert count >= 3
    assert run_prequential(settings, BlockSettings(3, 0.0, 0.4)) == first
    assert sum(map(len, children(settings).values())) == count


def test_another_delay_is_another_replay(settings: PipelineSettings) -> None:
    late = run_prequential(settings, BlockSettings(3, 0.3, 0.4))
    soon = run_prequential(settings, BlockSettings(3, 0.0, 0.4))
    assert all(a.known_rows < b.known_rows for a, b in zip(late, soon, strict=True))


def test_a_delay_beyond_the_history_is_one_clear_message(settings: PipelineSettings) -> None:
    with pytest.raises(InvalidInput, match="label delay"):
        run_prequential(settings, BlockSettings(3, 30.0, 0.4))


@pytest.fixture
def seven_weeks(tmp_path: Path, empty_mlflow_database: Path) -> PipelineSettings:
    (tmp_path / "var").mkdir()
    shutil.copy(empty_mlflow_database, tmp_path / "var")
    frame = transactions(5_000, seed=6)
    times = pd.date_range("2026-01-01", "2026-02-14T23:59:59", periods=len(frame), tz="UTC")
    frame.assign(event_time=times).to_csv(tmp_path / "bank.csv", index=False)
    own = {"MLFLOW_TRACKING_URI": "", "state_dir": tmp_path / "var", "data": str(tmp_path / "bank.csv")}
    settings = PipelineSettings.model_validate({**own, "replicates": 100, "threads": 1, "alerts_per_day": 5})
    run_ingest(settings)
    return settings


def test_rules_of_retraining_go_on_with_the_week_that_is_missing(
    seven_weeks: PipelineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = RulesSettings(first_days=14, label_delay=2)
    week = RetrainingReplay.week

    def interrupted(self: RetrainingReplay, number: int, before: dict[str, RuleWeek]) -> dict[str, RuleWeek]:
        if number == 2:
            raise KeyboardInterrupt
        return week(self, number, before)

    with monkeypatch.context() as patch:
        patch.setattr(RetrainingReplay, "week", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_retraining_rules(seven_weeks, asked)
    client = MlflowClient(seven_weeks.mlflow_uri)
    finished = "tags.kind = 'week' and attributes.status = 'FINISHED'"
    before = {run.info.run_id for run in client.search_runs(["1"], finished)}
    assert len(before) == 2

    outcomes = {each.rule.key: each for each in run_retraining_rules(seven_weeks, asked)}

    weeks = client.search_runs(["1"], finished)
    assert len(weeks) == 4
    assert before < {run.info.run_id for run in weeks}
    assert {key: each.trainings for key, each in outcomes.items() if not key.startswith("drift")} == {
        "never": 1,
        "weekly_sliding": 4,
        "weekly_growing": 4,
        "monthly_sliding": 1,
        "monthly_growing": 1,
    }
    saved = [run.data.metrics["weekly_growing.saved"] for run in weeks]
    assert outcomes["weekly_growing"].saved == pytest.approx(sum(saved) / 28)
    (parent,) = client.search_runs(["1"], "tags.`fraud.step` = 'prequential'")
    assert parent.info.status == "FINISHED"
    assert [entry.path for entry in client.list_artifacts(parent.info.run_id)] == ["retraining.html"]
