"""Which runs `prune` takes: a function of what MLflow holds."""

from datetime import UTC, datetime, timedelta

import pytest
from mlflow.entities import LifecycleStage, RunData, RunInfo, RunTag
from mlflow.entities import Run as MlflowRun

from pipelines.prune import Needed, chosen

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def run(name: str, age: float = 60, status: str = "FINISHED", parent: str = "", **tags: str) -> MlflowRun:
    """A run that began ``age`` days ago; of a pipeline, unless it has a parent."""
    begun = int((NOW - timedelta(days=age)).timestamp() * 1000)
    stage = tags.pop("stage", LifecycleStage.ACTIVE)
    info = RunInfo(name, "1", "anna", status, begun, None, stage)
    known = {"mlflow.parentRunId": parent} if parent else {"fraud.step": "main"}
    named = {key.replace("_", "."): value for key, value in tags.items()}
    return MlflowRun(info, RunData(tags=[RunTag(key, value) for key, value in (known | named).items()]))


def needed(**versions: str) -> Needed:
    return Needed(versions, frozenset({"d1"}), NOW - timedelta(days=30), NOW)


def ids(runs: list[MlflowRun]) -> list[str]:
    return [each.info.run_id for each in runs]


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (run("a"), "of version 3"),
        (run("b", bundle_sha256="d1"), "the history names its bundle"),
        (run("b", fraud_keep=""), "tagged fraud.keep"),
        (run("b", age=29), "young"),
        (run("b", age=0.5, status="RUNNING"), "young"),
    ],
)
def test_what_is_needed_stays_with_its_children(kept: MlflowRun, reason: str) -> None:
    child = run("child", parent=kept.info.run_id)
    assert chosen([kept, child], [], needed(a="of version 3")) == ([], {kept.info.run_id: reason})


def test_what_may_be_going_on_stays_whatever_age_is_asked_for() -> None:
    everything = Needed({}, frozenset(), NOW, NOW)
    going_on = [
        run("running", age=0.5, status="RUNNING"),
        run("cut short", age=0.5, status="FAILED", fraud_step="retrain"),
    ]
    ended = [
        run("killed long ago", age=2, status="RUNNING"),
        run("retrained", age=0.5, fraud_step="retrain", retrain_outcome="refused"),
        run("given up", age=2, status="FAILED", fraud_step="retrain"),
    ]
    doomed, kept = chosen([*going_on, *ended], [], everything)
    assert set(kept.values()) == {"may be going on"}
    assert ids(doomed) == ids(ended)


def test_what_nothing_needs_goes_with_its_children_and_orphans() -> None:
    runs = [run("old"), run("child", parent="old"), run("orphan", parent="gone"), run("own", age=1)]
    by_hand = MlflowRun(RunInfo("by hand", "1", "anna", "FINISHED", 0, None, LifecycleStage.ACTIVE), RunData())
    doomed, kept = chosen([*runs, by_hand], [], needed())
    assert ids(doomed) == ["old", "child", "orphan"]
    assert kept == {"own": "young"}


def test_the_trash_goes_but_for_what_is_needed() -> None:
    active = [run("a")]
    trash = [
        run("discarded", parent="a", stage="deleted"),
        run("thrown away", stage="deleted"),
        run("thrown away today", age=1, stage="deleted"),
        run("of a version", stage="deleted"),
    ]
    doomed, _ = chosen(active, trash, Needed({"a": "v1", "of a version": "v2"}, frozenset(), NOW - timedelta(30), NOW))
    assert ids(doomed) == ["discarded", "thrown away"]
