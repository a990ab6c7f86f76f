"""The step ``retrain``: data set, validation, training, thresholds and the gate, each once, however often it is killed.

All that a later step needs is in the MLflow run and in the study, so that another machine can go on. Nothing that
traffic sees changes before the last step, which is taken with the lease in hand only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from ml_project.ensemble import EnsembleSettings
from ml_project.errors import FraudError, LostRace, Unavailable
from pipelines.console import console, step
from pipelines.data.ingest import IngestedMeta, read_ingested, write_ingested
from pipelines.decision_store import decision_store
from pipelines.promotion.mover import user_name
from pipelines.promotion.promote import Order, Promotion, promote
from pipelines.promotion.report import Theme
from pipelines.retraining.champion import BASE_UNTIL_TAG, Inherited, inherited
from pipelines.retraining.dataset import Built, build
from pipelines.retraining.decided import read_decided
from pipelines.retraining.lease import Held, held
from pipelines.retraining.page import explained
from pipelines.retraining.unfinished import ORDER_TAG, OUTCOME_TAG, STEP, order_of, unfinished
from pipelines.settings import PipelineSettings
from pipelines.tracking import DONE_TAG, Run, Tracker
from pipelines.training.steps import require_stores, run_ingest, train_in, validate_in
from pipelines.training.threshold import threshold
from stores.decisions import DecisionStore

DATA = "data/transactions.parquet"
UNTIL_TAG = "retrain.until"
REASON_TAG = "retrain.reason"
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Retrained:
    """How a retraining ended."""

    run_id: str
    promotion: Promotion

    @property
    def sound(self) -> bool:
        """False where the gate found a defect, and not only nothing better."""
        checks = self.promotion.report.checks if self.promotion.report else ()
        return not any(check.theme is Theme.INTEGRITY and not check.passed for check in checks)


def retrain(settings: PipelineSettings, reason: str, now: datetime) -> Retrained:
    """Train again on base data and what was decided since, and promote the result if it is not worse.

    Raises
    ------
    InvalidInput
        When there is no decision store, or nothing in it to learn from.
    Refused
        When the data fail validation; nothing is trained then.
    LostRace
        When another retraining runs, has taken over, or somebody moved Production meanwhile.
    Unavailable
        When a server does not answer; running it again goes on from there.
    """
    require_stores(settings)
    tracker = Tracker(settings)
    with (
        decision_store(settings) as store,
        held(store, f"{STEP} {settings.model_name}"[:64], user_name(settings), settings.lease_seconds) as lease,
    ):
        earlier = unfinished(tracker, settings, now)
        if earlier is not None:
            console.print(f"  goes on with run {earlier.id}, which was cut short")
        with tracker.pipeline_run(STEP, earlier) as run:
            if earlier is None:
                until = now - timedelta(days=settings.label_delay_days)
                run.log(tags={ORDER_TAG: order_of(settings), REASON_TAG: reason, UNTIL_TAG: until.isoformat()})
            try:
                promotion = _Retraining(settings, tracker, store, lease, run).carry_out()
            except (Unavailable, LostRace):
                raise
            except FraudError as error:
                # what fails now fails again with the same data: the next one begins anew
                run.log(tags={OUTCOME_TAG: f"failed: {error.cause}"[:500]})
                raise
            run.log(tags={OUTCOME_TAG: promotion.outcome})
    return Retrained(run.id, promotion)


@dataclass(frozen=True)
class _Retraining:
    settings: PipelineSettings
    tracker: Tracker
    store: DecisionStore
    lease: Held
    run: Run

    def carry_out(self) -> Promotion:
        champion = inherited(self.settings, self.tracker)
        self._once("ingest", lambda: self._ingest(champion))
        with TemporaryDirectory() as scratch:
            frame, meta = read_ingested(self.run.fetch(DATA, Path(scratch)))
        self._once("validate", lambda: validate_in(self.run, frame, meta))
        self._once("train", lambda: self._train(frame, meta, champion))
        self._once("threshold", lambda: threshold(self.settings, self.run))
        self.lease.require()
        order = Order(f"retrained ({self._tags[REASON_TAG]})")
        return promote(self.settings, self.tracker, self.run, order=order)

    @property
    def _tags(self) -> dict[str, str]:
        tags: dict[str, str] = self.run.data.data.tags
        return tags

    def _once(self, name: str, work: Callable[[], object]) -> None:
        """Do a step unless it is done; whoever lost the lease does no more."""
        if f"{DONE_TAG}{name}" in self._tags:
            console.print(f"  {name} was done before")
            return
        self.lease.require()
        work()

    def _ingest(self, champion: Inherited) -> None:
        until = datetime.fromisoformat(self._tags[UNTIL_TAG])
        with TemporaryDirectory() as scratch:
            base = run_ingest(self.settings, Path(scratch) / "base.parquet")
            with step(f"read decisions on transactions before {until:%Y-%m-%d %H:%M} UTC"):
                tables = self.store.tables_by_event_time(_ALWAYS, until)
                decided = read_decided(tables, self.settings.seed)
                built = build(*read_ingested(base.path), decided, champion.base_until)
            self._log(built, champion, until, Path(scratch) / "built" / Path(DATA).name)

    def _log(self, built: Built, champion: Inherited, until: datetime, file: Path) -> None:
        text = explained(built, champion, self._tags[REASON_TAG], until, self.settings)
        console.print(text, markup=False)
        write_ingested(built.frame, built.meta, file)
        self.run.log_folder(file.parent, str(Path(DATA).parent))
        self.run.log_json({**built.sources.to_dict(), "digest": built.meta.digest}, "data/sources.json")
        ends = {BASE_UNTIL_TAG: built.base_until.isoformat()} if built.base_until else {}
        self.run.log(
            metrics=built.sources.to_dict(),
            tags={**ends, "mlflow.note.content": text, "champion.version": champion.version or "none"},
        )
        self.run.log(tags={f"{DONE_TAG}ingest": "true"})

    def _train(self, frame: pd.DataFrame, meta: IngestedMeta, champion: Inherited) -> None:
        # the champion's own settings first, then the defaults
        first = (champion.settings,) if champion.settings else ()
        train_in(self.run, self.settings, frame, meta, (*first, EnsembleSettings()))
