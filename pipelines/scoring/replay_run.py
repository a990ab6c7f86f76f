"""The step ``score --replay``: where kept decisions come from, and the run that says what would change."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.decision_store import decision_store
from pipelines.monitoring.window import Window
from pipelines.scoring.replay import Replayed, exported, replay
from pipelines.scoring.run import chosen_version, version_scorer
from pipelines.settings import PipelineSettings
from pipelines.tracking import DONE_TAG, Tracker
from stores.registry import Registry


@dataclass(frozen=True)
class ReplayRun:
    """What would change under a version, and where that is written."""

    replayed: Replayed
    version: int
    run_id: str


def run_replay(settings: PipelineSettings, window: Window, exports: str | None, version: int | None) -> ReplayRun:
    """Score a window of the decision store, or of exports of it, again by a version (Production by default).

    Raises
    ------
    InvalidInput
        When there is no version, no decision database or no export.
    Unavailable
        When the database, MLflow or S3 does not answer.
    """
    tracker = Tracker(settings.model_copy(update={"experiment": settings.scoring_experiment}))
    registry = Registry(settings.mlflow_uri, settings.model_name)
    chosen = chosen_version(registry, version)
    with TemporaryDirectory() as scratch, tracker.pipeline_run("replay") as run:
        scorer = version_scorer(registry, chosen, Path(scratch))
        if exports is not None:
            found = replay(exported(exports, window, settings.s3_endpoint_url), scorer)
        else:
            with decision_store(settings) as store:
                found = replay(store.tables_by_event_time(window.since, window.until), scorer)
        run.log(
            params={"version": chosen.version, "exports": exports or "", "window": window.words},
            metrics=found.metrics,
            tags={"fraud.version": chosen.version, f"{DONE_TAG}replay": "true"},
        )
        run.log_json({**found.metrics, "versions": found.versions, "version": chosen.version}, "replay.json")
    return ReplayRun(found, chosen.version, run.id)
