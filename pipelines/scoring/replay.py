"""The step ``score --replay``: kept decisions scored again by another version, and which of them would change."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray
from pyarrow import compute

from ml_project.contract import Contract
from ml_project.errors import InvalidInput
from ml_project.policies import DECISIONS, decide_all
from ml_project.quantities import counted, money
from ml_project.scorer import Scorer
from pipelines.console import Table
from pipelines.data.files import whole_parquet
from pipelines.data.parquet_pages import check_pages
from pipelines.data.places import find_files
from pipelines.monitoring.kept_decisions import answered_rows, decision_places, raw_values
from pipelines.monitoring.window import Window
from pipelines.scoring.run import chosen_version, version_scorer
from pipelines.settings import PipelineSettings
from pipelines.tracking import DONE_TAG, VERSION_TAG, Tracker, run_address
from stores.decisions import open_store
from stores.registry import Registry

_NAMES: Final = tuple(map(str, DECISIONS))
_BATCH_ROWS: Final = 65_536
_NAMED: Final = 5
_MOMENT: Final = pa.timestamp("us", "UTC")


def _nothing() -> NDArray[np.float64]:
    return np.zeros((len(DECISIONS), len(DECISIONS)))


@dataclass
class DecisionChanges:
    """Decisions as they were (rows) and as they would be (columns), in the order of ``DECISIONS``.

    Attributes
    ----------
    counts, amounts : ndarray of shape (3, 3)
        Transactions, and their amounts.
    frauds, fraud_amounts : ndarray of shape (3, 3)
        Those whose newest label is fraud.
    versions : dict
        Transactions by the version that decided.
    """

    counts: NDArray[np.float64] = field(default_factory=_nothing)
    amounts: NDArray[np.float64] = field(default_factory=_nothing)
    frauds: NDArray[np.float64] = field(default_factory=_nothing)
    fraud_amounts: NDArray[np.float64] = field(default_factory=_nothing)
    versions: dict[str, int] = field(default_factory=dict)

    def add(self, table: Any, scorer: Scorer) -> None:
        """Score an Arrow table of `stores.decisions.archive` again."""
        table = table.filter(answered_rows(table))
        if not len(table):
            return
        raw = raw_values(table, scorer.contract)
        before = decision_places(table).astype(np.int64)
        after = decide_all(scorer.score(raw).hybrid, scorer.thresholds)
        cells, amount = before * len(DECISIONS) + after, scorer.contract.amounts(raw)
        fraud = table["label"].fill_null(0).to_numpy() == 1
        for sums, weight in (
            (self.counts, np.ones(len(table))),
            (self.amounts, amount),
            (self.frauds, fraud.astype(np.float64)),
            (self.fraud_amounts, amount * fraud),
        ):
            sums += np.bincount(cells, weights=weight, minlength=sums.size).reshape(sums.shape)
        for version in table["model_version"].to_pylist():
            self.versions[version] = self.versions.get(version, 0) + 1

    @property
    def rows(self) -> int:
        """Transactions."""
        return int(self.counts.sum())

    @property
    def changed(self) -> int:
        """Transactions that would be decided differently."""
        return int(self.counts.sum() - np.trace(self.counts))

    @property
    def metrics(self) -> dict[str, float]:
        """For MLflow: totals before and after, and every change."""
        found: dict[str, float] = {"rows": self.rows, "changed": self.changed}
        sums = ("rows", self.counts), ("amount", self.amounts), ("frauds", self.frauds)
        for name, matrix in (*sums, ("fraud_amount", self.fraud_amounts)):
            for place, decision in enumerate(_NAMES):
                found[f"{name}_{decision.lower()}_before"] = matrix[place].sum()
                found[f"{name}_{decision.lower()}_after"] = matrix[:, place].sum()
                for other, target in enumerate(_NAMES):
                    if other != place:
                        found[f"{name}_{decision.lower()}_to_{target.lower()}"] = matrix[place, other]
        return {name: float(value) for name, value in found.items()}

    def to_table(self, currency: str) -> Table:
        """Every change, then the totals before and after."""
        numbers = ("transactions", "amount", "known frauds", "their amount")
        table = Table(("decision", *numbers), numbers=numbers)
        sums = self.counts, self.amounts, self.frauds, self.fraud_amounts
        for before, after in zip(*np.nonzero(self.counts), strict=True):
            if before != after:
                cells = [matrix[before, after] for matrix in sums]
                table.add_row(f"{_NAMES[before]} → {_NAMES[after]}", *_words(cells, currency))
        table.add_section()
        for place, name in enumerate(_NAMES):
            then = _words([matrix[place].sum() for matrix in sums], currency)
            would = _words([matrix[:, place].sum() for matrix in sums], currency)
            table.add_row(name, *(f"{a} → {b}" if a != b else a for a, b in zip(then, would, strict=True)))
        return table


def replay(tables: Iterable[Any], scorer: Scorer) -> DecisionChanges:
    """Score kept decisions again, in bounded memory."""
    found = DecisionChanges()
    for table in tables:
        found.add(table, scorer)
    return found


@dataclass(frozen=True)
class ReplayRun:
    """What would change under a version, and where the run that holds it is seen."""

    replayed: DecisionChanges
    version: int
    run_id: str
    address: str


def run_replay(settings: PipelineSettings, window: Window, exports: str | None, version: int | None) -> ReplayRun:
    """Score a window of the decision store, or of its exports, again by a version (Production by default).

    Raises
    ------
    InvalidInput
        When there is no version, no decision database or no export.
    Unavailable
        When the database, MLflow or S3 does not answer.
    """
    tracker = Tracker(settings.model_copy(update={"experiment": settings.scoring_experiment}))
    registry = Registry(settings.mlflow_uri, settings.model_name)
    chosen = chosen_version(registry, version, settings.trust)
    with tracker.pipeline_run("replay") as run:
        scorer = version_scorer(registry, chosen)
        if exports is not None:
            found = replay(exported_decisions(exports, scorer.contract, window, settings.s3_endpoint_url), scorer)
        else:
            with open_store(settings.decisions_url, existing=True) as store:
                found = replay(store.tables_by_event_time(scorer.contract, window.since, window.until), scorer)
        run.log(
            params={"version": chosen.version, "exports": exports or "", "window": window.words},
            metrics=found.metrics,
            tags={VERSION_TAG: chosen.version, f"{DONE_TAG}replay": "true"},
        )
        run.rename(f"v{chosen.version} would change {found.changed:,} of {found.rows:,} · {window.words}")
        run.log_json({**found.metrics, "versions": found.versions, "version": chosen.version}, "replay.json")
    return ReplayRun(found, chosen.version, run.id, run_address(settings, run))


def exported_decisions(location: str, contract: Contract, window: Window, endpoint_url: str) -> Iterator[Any]:
    """Tables of the files that ``python -m serving purge`` exports (``decisions-*.parquet``).

    Raises
    ------
    InvalidInput
        When there are none, or a file is damaged, not an export, or one of decisions without a field that the contract
        needs.
    """
    place, names = find_files(location, endpoint_url)
    names = [name for name in names if name.rpartition("/")[2].startswith("decisions-")]
    if not names:
        raise InvalidInput(f"{location}: no decisions-*.parquet there.", "Give the folder that `purge` exported to.")
    for name in names:
        with place.open(name) as file, whole_parquet(name):
            table = pa.parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
            if "hybrid_score" not in table.schema_arrow.names:
                raise InvalidInput(
                    f"{name} is not an export of decisions.", "Give the folder that `purge` exported to."
                )
            needed = (field.name for field in contract.scored_fields if field.required)
            absent = [name for name in needed if name not in table.schema_arrow.names]
            if absent:
                raise InvalidInput(
                    f"{name} holds decisions without {', '.join(absent[:_NAMED])}, which {contract} has.",
                    "Replay them with a version of the contract that they were made under.",
                )
            check_pages(file, table.metadata, name)
            for batch in table.iter_batches(_BATCH_ROWS):
                yield _within(pa.table(batch), window)


def _within(table: Any, window: Window) -> Any:
    moments = compute.coalesce(table["event_time"], table["received_at"])
    after = compute.greater_equal(moments, _moment(window.since))
    return table.filter(compute.and_(after, compute.less(moments, _moment(window.until))))


def _moment(when: datetime) -> Any:
    return pa.scalar(when, _MOMENT)


def _words(cells: list[float], currency: str) -> list[str]:
    count, amount, frauds, fraud_amount = cells
    return [counted(count), money(amount, currency), counted(frauds), money(fraud_amount, currency)]
