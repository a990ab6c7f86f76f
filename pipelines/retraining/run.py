"""The step ``retrain``: data set, validation, training, thresholds and gate, each done once even if it is killed.

All that a later step needs is in the MLflow run and in the study, so that another machine can continue. Traffic is not
affected before the last step, which only the holder of the lease takes.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ml_project.ensemble import EnsembleSettings
from ml_project.errors import FraudError, InvalidBundle, InvalidInput, LostRace, Unavailable
from pipelines.console import console, step
from pipelines.data.ingest import read_ingested, write_ingested
from pipelines.data.past_events import hashed_keys
from pipelines.promotion.mover import user_name
from pipelines.promotion.promote import Order, Promotion
from pipelines.promotion.report import Theme
from pipelines.retraining.dataset import TrainingData, build_training_data, read_decided
from pipelines.retraining.lease import Lease, hold_lease
from pipelines.run_page import SUMMARY_TAG
from pipelines.settings import PipelineSettings
from pipelines.tracking import DONE_TAG, STEP_TAG, DataPart, Run, Tracker, run_address
from pipelines.training.steps import DEFAULT_STARTS, complete_run, once, require_stores, run_ingest
from stores.decisions import DecisionStore, open_store
from stores.registry import PRODUCTION, Registry

STEP: Final = "retrain"
DATA: Final = "data/transactions.parquet"

UNTIL_TAG: Final = "retrain.until"
REASON_TAG: Final = "retrain.reason"
ORDER_TAG: Final = "retrain.order"
OUTCOME_TAG: Final = "retrain.outcome"

BASE_UNTIL_TAG: Final = "data.base_until"
"""The end that a retraining gave to base data without event times."""

_LONGEST_PAUSE: Final = timedelta(days=1)
"""After that, there is a day of labels more to learn from, and the data may be what stopped it."""

_ASKED: Final = (
    *("model_name", "data", "missing", "simulated_rows", "label_delay_days"),
    *("trials", "folds", "tuning_rows", "seed", "threads", "replicates"),
    *("policy", "review_cost", "alerts_per_day", "fpr", "decline_precision"),
)
"""Settings on which a run's parameters or its data depend."""


@dataclass(frozen=True)
class RetrainOutcome:
    """How a retraining ended, and where its run is seen."""

    run_id: str
    address: str
    promotion: Promotion

    @property
    def sound(self) -> bool:
        """False where the gate found a defect, rather than a candidate that is no better."""
        checks = self.promotion.report.checks if self.promotion.report else ()
        return not any(check.theme is Theme.INTEGRITY and not check.passed for check in checks)


def retrain(settings: PipelineSettings, reason: str, now: datetime) -> RetrainOutcome:
    """Train again on base data and the decisions since, and promote the result if it is not worse.

    Raises
    ------
    InvalidInput
        When there is no decision store, or nothing in it to learn from.
    Refused
        When the data fail validation; nothing is trained then.
    LostRace
        When another retraining runs or has taken over, or Production was moved meanwhile.
    Unavailable
        When a server does not answer; the next call continues from there.
    """
    require_stores(settings)
    tracker = Tracker(settings)
    with (
        open_store(settings.decisions_url, existing=True) as store,
        hold_lease(store, f"{STEP} {settings.model_name}"[:64], user_name(settings), settings.lease_seconds) as lease,
    ):
        earlier = unfinished_run(tracker, settings, now)
        if earlier is not None:
            console.print(f"  continuing run {earlier.id}, which was cut short")
        with tracker.pipeline_run(STEP, earlier) as run:
            if earlier is None:
                until = now - timedelta(days=settings.label_delay_days)
                run.log(
                    params={"reason": reason},
                    tags={ORDER_TAG: order_digest(settings), REASON_TAG: reason, UNTIL_TAG: until.isoformat()},
                )
            try:
                promotion = _Retraining(settings, tracker, store, lease, run, now).carry_out()
            except (Unavailable, LostRace):
                raise
            except FraudError as error:
                # it would fail again with the same data: the next retraining starts anew
                run.log(tags={OUTCOME_TAG: f"failed: {error.cause}"[:500]})
                raise
            run.log(tags={OUTCOME_TAG: promotion.outcome})
    return RetrainOutcome(run.id, run_address(settings, run), promotion)


def order_digest(settings: PipelineSettings) -> str:
    """A digest of the settings that define a retraining; only a run with an equal one is continued."""
    asked = {name: getattr(settings, name) for name in _ASKED}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def unfinished_run(tracker: Tracker, settings: PipelineSettings, now: datetime) -> Run | None:
    """The run to continue: the newest one, if it has not ended, has the same order, and is not too old."""
    found = tracker.newest({STEP_TAG: STEP, ORDER_TAG: order_digest(settings)})
    if found is None or OUTCOME_TAG in found.data.tags:
        return None
    age = now.timestamp() - found.info.start_time / 1000
    return tracker.run(found.info.run_id) if age < _LONGEST_PAUSE.total_seconds() else None


@dataclass(frozen=True)
class Inheritance:
    """What a retraining takes over from the champion; empty where there is none, or it cannot be read.

    Attributes
    ----------
    version : int or None
    settings : EnsembleSettings or None
        The champion's frozen settings, which tuning tries first.
    base_until : datetime or None
        The end that the champion's retraining gave to base data without event times.
    values : dict
        Values of its categories: its decisions are kept by them.
    """

    version: int | None = None
    settings: EnsembleSettings | None = None
    base_until: datetime | None = None
    values: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def inheritance(settings: PipelineSettings, tracker: Tracker) -> Inheritance:
    """What the current champion hands on to a retraining."""
    registry = Registry(settings.mlflow_uri, settings.model_name)
    champion = registry.resolve(PRODUCTION)
    if champion is None:
        return Inheritance()
    try:
        manifest = registry.bundle(champion, require_digest=False).manifest
        chosen = EnsembleSettings.from_dict(manifest.settings)
    except (InvalidBundle, InvalidInput):  # registered by hand: retraining is possible all the same
        return Inheritance(champion.version)
    until = None
    if champion.run_id:
        until = tracker.run(champion.run_id).data.data.tags.get(BASE_UNTIL_TAG)
    values = {field.name: field.values for field in manifest.contract.scored_fields if field.type == "category"}
    return Inheritance(champion.version, chosen, datetime.fromisoformat(until) if until else None, values)


@dataclass(frozen=True)
class _Retraining:
    settings: PipelineSettings
    tracker: Tracker
    store: DecisionStore
    lease: Lease
    run: Run
    now: datetime

    def carry_out(self) -> Promotion:
        champion = inheritance(self.settings, self.tracker)
        once(self.run, "ingest", lambda: self._ingest(champion), self.lease.require)
        with TemporaryDirectory() as scratch:
            data = read_ingested(self.run.fetch(DATA, Path(scratch)), self.settings.data_contract)
        _measured, promotion = complete_run(
            self.run,
            self.settings,
            self.tracker,
            data,
            # tuning tries the champion's settings first, then the defaults
            starts=((champion.settings,) if champion.settings else ()) + DEFAULT_STARTS,
            order=Order(f"retrained ({self._tags[REASON_TAG]})"),
            before_step=self.lease.require,
        )
        return promotion

    @property
    def _tags(self) -> dict[str, str]:
        tags: dict[str, str] = self.run.data.data.tags
        return tags

    def _ingest(self, champion: Inheritance) -> None:
        until = datetime.fromisoformat(self._tags[UNTIL_TAG])
        with TemporaryDirectory() as scratch:
            base = run_ingest(self.settings, Path(scratch) / "base.parquet", values=champion.values)
            rows, meta = read_ingested(base.path, self.settings.data_contract)
            contract = meta.resolved(self.settings.data_contract)
            rows = hashed_keys(rows, contract, self.settings.key_hash)  # as decisions have them
            with step(f"read decisions on transactions before {until:%Y-%m-%d %H:%M} UTC"):
                bounds = self.settings.event_time_bounds(self.now)
                decided = read_decided(self.store, contract, bounds, until, self.settings.seed)
                inherited = champion.base_until if champion.base_until and champion.base_until in bounds else None
                built = build_training_data(rows, meta, contract, decided, inherited)
            self._log(built, champion, until, Path(scratch) / "built" / Path(DATA).name)

    def _log(self, built: TrainingData, champion: Inheritance, until: datetime, file: Path) -> None:
        text = data_summary(built, champion, self._tags[REASON_TAG], until, self.settings)
        console.print(text, markup=False)
        write_ingested(built.frame, built.meta, file)
        self.run.log_folder(file.parent, str(Path(DATA).parent))
        self.run.log_dataset(built.frame, DataPart.of(built.meta.name, built.meta.digest), "retraining")
        self.run.log_json({**built.sources.to_dict(), "digest": built.meta.digest}, "data/sources.json")
        ends = {BASE_UNTIL_TAG: built.base_until.isoformat()} if built.base_until else {}
        self.run.log(
            metrics=built.sources.to_dict(),
            tags={**ends, SUMMARY_TAG: text, "champion.version": champion.version or "none"},
        )
        self.run.log(tags={f"{DONE_TAG}ingest": "true"})


def data_summary(
    built: TrainingData, champion: Inheritance, reason: str, until: datetime, settings: PipelineSettings
) -> str:
    """The data set in words, for the run's page in MLflow and the terminal (Markdown)."""
    sources, report = built.sources, built.meta.cleaning
    ends = f", moved to end at {built.base_until:%Y-%m-%d %H:%M} UTC" if built.base_until else ""
    again = f"; {sources.base_again:,} more were decided, too, and count there" if sources.base_again else ""
    if sources.corrected_frauds > sources.approved_frauds:
        corrected = (
            f"more than chance: {sources.approved_frauds:g} known frauds among approvals count for "
            f"{sources.corrected_frauds:.0f}"
        )
    else:
        corrected = "no more than labels say: nothing needs correcting"
    misdated = ""
    if sources.decided_misdated:
        misdated = (
            f"; {sources.decided_misdated:,} more have event times that cannot be right (FRAUD_EVENT_TIME_FROM, "
            "FRAUD_EVENT_TIME_AHEAD_HOURS) and are left out"
        )
    computed = []
    if sources.computed_base or sources.computed_decided:
        computed.append(
            f"- features from history are as they were served, but for {sources.computed_decided:,} decisions without "
            f"all of them and {sources.computed_base:,} rows of base data among the decisions: computed from both"
        )
    start = f"version {champion.version}'s settings" if champion.settings else "the default settings"
    return "\n".join(
        [
            f"Retraining ({reason}) on {report.rows_out:,} rows, {report.frauds:,} of them frauds; "
            f"digest `{built.meta.digest[:16]}`.",
            "",
            f"- base data: {sources.base_rows:,} rows, {sources.base_frauds:,} frauds{ends}{again}",
            f"- decisions on transactions before {until:%Y-%m-%d %H:%M} UTC ({settings.label_delay_days:g} days for "
            f"labels): {sources.decided_rows:,.0f}, {sources.decided_alerts:,} alerts{misdated}",
            f"- their labels: {sources.decided_frauds:,} fraud, {sources.decided_legitimate:,} legitimate; "
            f"{sources.decided_unlabelled:,} without one count as legitimate",
            f"- random review of approvals: {sources.reviewed_frauds:,} frauds among {sources.reviewed_approvals:,}, "
            f"{corrected}",
            *computed,
            f"- {report.duplicates_dropped:,} exact duplicates dropped; tuning starts from {start}",
        ]
    )
