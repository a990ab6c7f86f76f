"""What another version would have decided: kept decisions scored again, and what would change."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray
from pyarrow import compute
from rich.table import Table

from ml_project.errors import InvalidInput
from ml_project.schema import RAW_FEATURES
from ml_project.scorer import DECISIONS, Scorer, decide_all
from pipelines.monitoring.reading import answered_rows
from pipelines.monitoring.window import Window
from pipelines.scoring.planning import find_files

_NAMES: Final = tuple(map(str, DECISIONS))
_BATCH_ROWS: Final = 65_536
_MOMENT: Final = pa.timestamp("us", "UTC")


def _nothing() -> NDArray[np.float64]:
    return np.zeros((len(DECISIONS), len(DECISIONS)))


@dataclass
class Replayed:
    """Decisions as they were (rows) and as they would be (columns), in the order of ``DECISIONS``.

    Attributes
    ----------
    counts, amounts : ndarray of shape (3, 3)
        Transactions, and their Amount.
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
        table = table.filter(pa.array(np.asarray(answered_rows(table))))
        if not len(table):
            return
        raw = np.column_stack([table[name].to_numpy() for name in RAW_FEATURES])
        before = np.array([_NAMES.index(name) for name in table["decision"].to_pylist()])
        after = decide_all(scorer.score(raw).hybrid, scorer.thresholds)
        cells, amount = before * len(DECISIONS) + after, raw[:, -1]
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
        """Transactions that would be decided otherwise."""
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

    def to_table(self) -> Table:
        """Every change, then the totals before and after."""
        table = Table("decision", "transactions", "amount", "known frauds", "their amount", title_justify="left")
        sums = self.counts, self.amounts, self.frauds, self.fraud_amounts
        for before, after in zip(*np.nonzero(self.counts), strict=True):
            if before != after:
                cells = [matrix[before, after] for matrix in sums]
                table.add_row(f"{_NAMES[before]} → {_NAMES[after]}", *_words(cells))
        table.add_section()
        for place, name in enumerate(_NAMES):
            then = _words([matrix[place].sum() for matrix in sums])
            would = _words([matrix[:, place].sum() for matrix in sums])
            table.add_row(name, *(f"{a} → {b}" if a != b else a for a, b in zip(then, would, strict=True)))
        return table


def replay(tables: Iterable[Any], scorer: Scorer) -> Replayed:
    """Score kept decisions again, in bounded memory."""
    found = Replayed()
    for table in tables:
        found.add(table, scorer)
    return found


def exported(location: str, window: Window, endpoint_url: str) -> Iterator[Any]:
    """Tables of the files that ``python -m serving purge`` exports (``decisions-*.parquet``).

    Raises
    ------
    InvalidInput
        When there are none, or a file is no export.
    """
    place, names = find_files(location, endpoint_url)
    names = [name for name in names if name.rpartition("/")[2].startswith("decisions-")]
    if not names:
        raise InvalidInput(f"{location}: no decisions-*.parquet there.", "Give the folder that `purge` exported to.")
    for name in names:
        with place.open(name) as file:
            table = pa.parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
            if "hybrid_score" not in table.schema_arrow.names:
                raise InvalidInput(f"{name}: no export of decisions.", "Give the folder that `purge` exported to.")
            for batch in table.iter_batches(_BATCH_ROWS):
                yield _within(pa.table(batch), window)


def _within(table: Any, window: Window) -> Any:
    moments = compute.coalesce(table["event_time"], table["received_at"])
    after = compute.greater_equal(moments, _moment(window.since))
    return table.filter(compute.and_(after, compute.less(moments, _moment(window.until))))


def _moment(when: datetime) -> Any:
    return pa.scalar(when, _MOMENT)


def _words(cells: list[float]) -> list[str]:
    count, amount, frauds, fraud_amount = cells
    return [f"{count:,.0f}", f"{amount:,.2f}", f"{frauds:,.0f}", f"{fraud_amount:,.2f}"]
