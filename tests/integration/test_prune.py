"""`prune` on a real registry: what nothing needs is gone with its files, also if it was killed on the way."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import optuna
import pytest
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from pipelines import prune
from pipelines.promotion.mover import open_stores
from pipelines.promotion.verify import verify
from pipelines.prune import Pruner
from pipelines.settings import PipelineSettings
from pipelines.tracking import Run, Tracker
from pipelines.training.study import open_storage
from stores.registry import Registry
from tests.support.commands import Commands
from tests.support.processes import clean_environment

pytestmark = pytest.mark.slow


def pruner(settings: PipelineSettings) -> Pruner:
    """Two days later: nothing is young, and nothing is going on."""
    return Pruner(settings, timedelta(0), datetime.now(UTC) + timedelta(days=2))


@pytest.fixture
def client(own_settings: PipelineSettings) -> MlflowClient:
    return MlflowClient(own_settings.mlflow_uri)


@pytest.fixture
def junk(own_settings: PipelineSettings) -> Run:
    """A run of a pipeline that ended without a version, with a child, models and a study; and a released bundle."""
    others = pruner(own_settings)
    others.remove(others.look())  # what other tests left in the registry that this is a copy of
    tracker = Tracker(own_settings)
    with tracker.pipeline_run("train") as run:
        run.log_text("x" * 1_000, "plots/large.txt")
        run.add_model("twin", "evaluation twin")
        run.log(tags={"optuna.study": "fraud-old"})
        with run.child("trial 0", {"kind": "trial"}) as child:
            child.log_text("y" * 500, "small.txt")
    study = optuna.create_study(study_name="fraud-old", storage=open_storage(own_settings.study))
    study.add_trial(optuna.trial.create_trial(value=1.0))
    # that of the run of version 1
    used = Registry(own_settings.mlflow_uri).version(1).run_id
    tracker.run(used).log(tags={"optuna.study": "fraud-new"})
    optuna.create_study(study_name="fraud-new", storage=open_storage(own_settings.study))
    registry = Registry(own_settings.mlflow_uri)
    known = registry.version(1)
    # the same files under another digest: a version that was Production once
    second = registry.register(f"models:/{known.model_id}", known.run_id, {"bundle.sha256": "b" * 64}, "")
    assert second.version == 2
    open_stores(own_settings).releases.objects.write(f"bundles/{'b' * 64}/manifest.json", b"z" * 250)
    return run


def runs(client: MlflowClient, junk: Run) -> set[str]:
    found = client.search_runs([junk.experiment_id], "", ViewType.ALL, max_results=1_000)
    return {run.info.run_id for run in found}


def stop() -> None:
    raise KeyboardInterrupt


def among_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is in the trash, its parent is not."""
    put = Pruner._put_into_trash
    monkeypatch.setattr(
        Pruner, "_put_into_trash", lambda self, run: stop() if "fraud.step" in run.data.tags else put(self, run)
    )


def before_the_last_gc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are gone, and the runs that name them are in the trash."""
    collect = prune._collect
    monkeypatch.setattr(prune, "_collect", lambda *given: stop() if given[2] else collect(*given))


def test_what_nothing_needs_is_gone_with_its_files_also_after_two_kills(
    own_settings: PipelineSettings, client: MlflowClient, junk: Run, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, kept = runs(client, junk), client.search_model_versions("name = 'fraud-ensemble'")
    file = Path(junk.data.info.artifact_uri.removeprefix("file://")) / "plots" / "large.txt"
    plan = pruner(own_settings).look()
    assert len(plan.runs) == 2
    assert (len(plan.models), plan.studies, len(plan.releases)) == (1, ["fraud-old"], 1)
    assert plan.bytes == {"runs": 1_500, "models": 0, "releases": 250}
    assert plan.kept == {"of a registered version": 1}
    assert runs(client, junk) == before
    assert file.is_file()

    for kill in (among_runs, before_the_last_gc):
        with monkeypatch.context() as patched:
            kill(patched)
            with pytest.raises(KeyboardInterrupt):
                pruner(own_settings).remove(pruner(own_settings).look())
        left = pruner(own_settings).look()
        assert {run.info.run_id for run in left.runs} == {run.info.run_id for run in plan.runs}
        assert left.models == plan.models
    assert pruner(own_settings).remove(left)

    assert before - runs(client, junk) == {run.info.run_id for run in plan.runs}
    assert not file.exists()
    assert prune._models_present(own_settings.mlflow_database_address, plan.models) == []
    assert optuna.get_all_study_names(open_storage(own_settings.study)) == ["fraud-new"]
    assert client.search_model_versions("name = 'fraud-ensemble'") == kept
    stores = open_stores(own_settings)
    assert verify(stores.registry, stores.history, stores.releases).ok
    assert not any("b" * 64 in name for name in stores.releases.objects.names())
    # and nothing of its own is left
    assert client.search_experiments(ViewType.DELETED_ONLY) == []

    ours = clean_environment(FRAUD_STATE_DIR=str(own_settings.state_dir), MLFLOW_TRACKING_URI="")
    done = commands.run("prune", "--dry-run", environment=ours)
    assert done.returncode == 0, done.stderr
    assert "Nothing to remove." in done.stdout
