"""Retraining from a real decision store into a real registry: what it learns, whom it lets run, what a kill costs."""

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from sqlalchemy import text

from ml_project.ensemble import EnsembleSettings
from ml_project.errors import InvalidInput
from ml_project.policies import decide
from ml_project.scorer import Scorer
from ml_project.simulator import simulate
from pipelines.promotion.promote import Outcome
from pipelines.retraining.run import DATA, inheritance, retrain
from pipelines.settings import PipelineSettings
from pipelines.tracking import Tracker
from pipelines.training.study import settings_of, starting_point
from stores.decisions import Chunk, DecisionStore, KeptContract, LabelItem, migrate, open_engine
from stores.registry import Registry
from tests.support.commands import Command, Commands
from tests.support.creditcard import PCA_COMPONENTS
from tests.support.pipelines import BANK_ROWS
from tests.support.processes import clean_environment
from tests.support.sizes import few_or_full

pytestmark = pytest.mark.slow
ROWS = 15_000


@pytest.fixture
def settings(own_settings: PipelineSettings) -> PipelineSettings:
    """Nothing was decided yet."""
    changes = {"trials": 2, "folds": 2, "tuning_rows": 5_000, "threads": 1, "replicates": 100, "user": "anna"}
    return own_settings.model_copy(update=changes)


@pytest.fixture
def client(settings: PipelineSettings) -> MlflowClient:
    return MlflowClient(settings.mlflow_uri)


def champion(settings: PipelineSettings, version: int = 1) -> Scorer:
    registry = Registry(settings.mlflow_uri)
    return Scorer(registry.bundle(registry.version(version)))


def wave(seed: int = 7) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Thirty days in which most frauds look legitimate to who learnt from the past, but for two components."""
    (chunk,) = simulate(ROWS, seed=seed, days=30, fraud_rate=0.015)
    fraud, raw = chunk.label == 1, chunk.raw
    rng = np.random.default_rng(seed)
    new = np.flatnonzero(fraud)[rng.random(int(fraud.sum())) < 0.8]
    raw[new, 1:-1] = raw[rng.choice(np.flatnonzero(~fraud), len(new)), 1:-1]
    for name, shift in (("V23", 2.5), ("V26", -2.0)):
        column = 1 + PCA_COMPONENTS.index(name)
        raw[new, column] = shift + 0.2 * rng.normal(size=len(new))
    return raw, fraud


def decided_by(scorer: Scorer, url: str, raw: NDArray[np.float64], fraud: NDArray[np.bool_]) -> datetime:
    """As the gateway would have kept it; alerts, the review sample and half of the other frauds are labelled.

    Its first moment, forty days ago.
    """
    now = datetime.now(UTC)
    start = now - timedelta(days=40)
    engine = open_engine(url)
    migrate(engine)
    store = DecisionStore(engine)
    rng, share = np.random.default_rng(0), 0.05
    scores = scorer.score(raw)
    for begin in range(0, len(raw), 1_000):
        part = slice(begin, begin + 1_000)
        chunk = Chunk(
            received_at=now,
            contract=KeptContract.of(scorer.contract),
            raw=raw[part],
            scores=np.array([scores.isolation, scores.boosted, scores.hybrid, scores.probability])[:, part],
            decisions=[str(decide(score, scorer.thresholds)) for score in scores.hybrid[part]],
            alert_threshold=scorer.thresholds.alert,
            decline_threshold=scorer.thresholds.decline,
            model_version="1",
            bundle_digest="d" * 64,
            latency_ms=1.0,
            request_id="bulk",
            transaction_ids=[f"card-{row}" for row in range(begin, begin + len(raw[part]))],
            event_times=[start + timedelta(seconds=float(seconds)) for seconds in raw[part, 0]],
            sample=frozenset(np.flatnonzero(rng.random(len(raw[part])) < share).tolist()),
            sample_rate=share,
        )
        store.add_segment(chunk)
        told = np.array(chunk.decisions) != "APPROVE"
        told[list(chunk.sample)] = True
        told |= fraud[part] & (rng.random(len(told)) < 0.5)
        labels = [
            LabelItem(label=int(fraud[begin + row]), transaction_id=f"card-{begin + row}") for row in told.nonzero()[0]
        ]
        store.label(labels, "reviewers")
    engine.dispose()
    return start


@pytest.fixture
def after_a_wave(settings: PipelineSettings, tmp_path: Path) -> datetime:
    return decided_by(champion(settings), settings.decisions_url, *wave())


def retrainings(client: MlflowClient) -> list[MlflowRun]:
    experiment = client.get_experiment_by_name("fraud-detection")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], "tags.`fraud.step` = 'retrain'"))


def children(client: MlflowClient, run: MlflowRun, kind: str) -> list[MlflowRun]:
    wanted = f"tags.`mlflow.parentRunId` = '{run.info.run_id}' and tags.kind = '{kind}'"
    return list(client.search_runs([run.info.experiment_id], wanted))


def aliases(client: MlflowClient) -> dict[str, int]:
    return {name: int(version) for name, version in client.get_registered_model("fraud-ensemble").aliases.items()}


def study(settings: PipelineSettings, run: MlflowRun) -> optuna.Study:
    return optuna.load_study(study_name=run.data.tags["optuna.study"], storage=settings.study)


def test_after_a_fraud_wave_the_new_version_is_better_on_later_rows_and_live(
    settings: PipelineSettings, client: MlflowClient, after_a_wave: datetime, tmp_path: Path
) -> None:
    before = champion(settings)
    done = retrain(settings, "drift", datetime.now(UTC))
    assert done.promotion.outcome is Outcome.PROMOTED, done.promotion.sentence
    assert aliases(client) == {"Production": 2, "Previous": 1}
    assert done.sound

    report = done.promotion.report
    assert report is not None
    against = next(check for check in report.checks if check.name == "average precision against version 1")
    assert against.figures["low"] > 0
    # what neither has seen, in the eyes of the versions themselves: a wave's next month
    raw, fraud = wave(seed=8)
    old, new = (average_precision_score(fraud, each.score(raw).hybrid) for each in (before, champion(settings, 2)))
    assert new > old + 0.2

    (run,) = retrainings(client)
    figures, tags = run.data.metrics, run.data.tags
    assert (figures["base_rows"], figures["decided_rows"], figures["rows"]) == (BANK_ROWS, ROWS, BANK_ROWS + ROWS)
    true_frauds = wave()[1].sum()
    # some frauds nobody spoke of; the sample says how many
    assert figures["decided_frauds"] < true_frauds
    alerts_and_corrected = figures["decided_frauds"] - figures["approved_frauds"] + figures["corrected_frauds"]
    assert alerts_and_corrected == pytest.approx(true_frauds, rel=0.5)
    assert (tags["retrain.reason"], tags["retrain.outcome"], tags["champion.version"]) == ("drift", "promoted", "1")
    assert tags["mlflow.note.content"].startswith("**Production is now version 2 (before: version 1).**")
    assert f"Retraining (drift) on {BANK_ROWS + ROWS:,} rows" in tags["mlflow.note.content"]
    assert tags["data.digest"][:16] in tags["mlflow.note.content"]
    assert run.info.run_name == f"v2 promoted · bank.csv and {ROWS} decisions · recall_at_fpr · retrain (drift)"
    assert run.data.params["reason"] == "drift"
    given = {tag.value: each.dataset for each in run.inputs.dataset_inputs for tag in each.tags}
    assert set(given) == {"retraining", "training", "validation", "test"}
    assert tags["data.digest"].startswith(given["retraining"].digest)
    moves = client.get_model_version("fraud-ensemble", "1").description.split("**Moves**")[1]
    assert moves.strip().splitlines()[0].endswith("UTC: replaced by version 2, by anna (promote): retrained (drift)")
    assert datetime.fromisoformat(tags["data.base_until"]) >= after_a_wave
    first = study(settings, run).trials[0]
    assert first.params == starting_point(EnsembleSettings.from_dict(before.bundle.manifest.settings))

    # the next one keeps the base data's place in time, and begins its search here
    handed_on = inheritance(settings, Tracker(settings))
    assert handed_on.base_until == datetime.fromisoformat(tags["data.base_until"])
    best = settings_of(study(settings, run).best_trial).resolved(settings.data_contract)
    assert (handed_on.version, handed_on.settings) == (2, best)


def test_a_worse_one_becomes_challenger_and_traffic_sees_nothing(
    settings: PipelineSettings, client: MlflowClient, tmp_path: Path
) -> None:
    raw, fraud = wave()
    noise = np.random.default_rng(1).permutation(fraud)
    decided_by(champion(settings), settings.decisions_url, raw, noise)
    released = {path: path.read_bytes() for path in Path(settings.releases).rglob("*") if path.is_file()}
    done = retrain(settings, "schedule", datetime.now(UTC))
    assert (done.promotion.outcome, done.sound) == (Outcome.REFUSED, True)
    assert aliases(client) == {"Production": 1, "Challenger": 2}
    assert {path: path.read_bytes() for path in Path(settings.releases).rglob("*") if path.is_file()} == released
    assert retrainings(client)[0].data.tags["retrain.outcome"] == "refused"


@pytest.fixture
def start(commands: Commands, settings: PipelineSettings) -> Callable[..., Command]:
    def started(*arguments: str, **variables: str) -> Command:
        ours = {
            "FRAUD_STATE_DIR": str(settings.state_dir),
            "FRAUD_DATA": settings.data,
            "FRAUD_TRIALS": "3",
            "FRAUD_FOLDS": "2",
            "FRAUD_TUNING_ROWS": "5000",
            "FRAUD_THREADS": "1",
            "FRAUD_REPLICATES": "100",
            "FRAUD_LEASE_SECONDS": "600",
        }
        return commands.start("retrain", *arguments, environment=clean_environment(**ours | variables))

    return started


def lease(settings: PipelineSettings, statement: str) -> Any:
    engine = open_engine(settings.decisions_url)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        found = result.scalar() if result.returns_rows else None
    engine.dispose()
    return found


@pytest.mark.parametrize("kills", few_or_full(3, 7))
def test_killed_at_every_step_it_goes_on_and_repeats_nothing(
    kills: int, settings: PipelineSettings, client: MlflowClient, after_a_wave: datetime, start: Callable[..., Command]
) -> None:
    def tags() -> dict[str, str]:
        found = retrainings(client)
        return dict(found[0].data.tags) if found else {}

    def trial(number: int) -> bool:
        found = retrainings(client)
        names = {child.info.run_name for child in children(client, found[0], "trial")} if found else set()
        return f"trial {number}" in names

    registered = "name = 'fraud-ensemble' and run_id = '{}'"
    moments: list[Callable[[], bool]] = [
        lambda: "retrain.until" in tags(),
        lambda: "fraud.done.ingest" in tags(),
        lambda: trial(0),
        lambda: "optuna.trial" in tags(),
        lambda: "fraud.done.train" in tags(),
        lambda: "fraud.done.threshold" in tags(),
        lambda: bool(client.search_model_versions(registered.format(retrainings(client)[0].info.run_id))),
    ]
    step = (len(moments) - 1) // (kills - 1)
    for number, reached in enumerate(moments[::step]):
        process = start("--reason", "schedule")
        while not reached():
            assert process.poll() is None, process.communicate()
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if number == 0:  # the killed one's lease stands until it runs out
            output, errors = (second := start()).communicate(timeout=600)
            assert second.returncode == 3, output + errors
            assert "Another retraining is running, by" in errors
            assert "runs out in" in errors
        assert lease(settings, "SELECT count(*) FROM leases") == 1
        lease(settings, "UPDATE leases SET expires_at = '2000-01-01 00:00:00.000000'")
    output, errors = (last := start()).communicate(timeout=1200)
    assert last.returncode == 0, output + errors
    assert "continuing run" in output
    assert "Traceback" not in errors
    for name in ("ingest", "validate", "train", "threshold"):
        assert f"{name}: already done" in output
    assert lease(settings, "SELECT count(*) FROM leases") == 0

    (run,) = retrainings(client)
    assert run.info.status == "FINISHED"
    assert run.data.tags["retrain.reason"] == "schedule"
    names = [child.info.run_name for child in children(client, run, "trial")]
    assert sorted(names) == sorted(set(names))
    assert len(children(client, run, "policy")) == 4
    assert len(children(client, run, "baseline")) == 3
    assert len([each for each in study(settings, run).trials if each.state.is_finished()]) >= 3
    assert len(client.search_model_versions("name = 'fraud-ensemble'")) == 2
    assert aliases(client) == {"Production": 2, "Previous": 1}
    assert "data" in {file.path for file in client.list_artifacts(run.info.run_id)}
    assert client.list_artifacts(run.info.run_id, "data")[1].path == DATA


def test_of_two_at_once_one_runs(
    settings: PipelineSettings,
    client: MlflowClient,
    postgres_database: str,
    tmp_path: Path,
    start: Callable[..., Command],
) -> None:
    decided_by(champion(settings), postgres_database, *wave())
    running = [start("--reason", reason, FRAUD_DATABASE_URL=postgres_database) for reason in ("drift", "schedule")]
    said = [process.communicate(timeout=400) for process in running]
    codes = sorted(process.returncode for process in running)
    assert codes == [0, 3], said
    assert any("Another retraining is running, by" in errors for _output, errors in said)
    assert len(retrainings(client)) == 1


def test_without_decisions_the_next_one_begins_anew(settings: PipelineSettings, client: MlflowClient) -> None:
    engine = open_engine(settings.decisions_url)
    migrate(engine)
    engine.dispose()
    for _ in range(2):
        with pytest.raises(InvalidInput, match="No decision is older than the label delay"):
            retrain(settings, "manual", datetime.now(UTC))
    assert len(retrainings(client)) == 2
    assert retrainings(client)[0].data.tags["retrain.outcome"].startswith("failed: No decision")
