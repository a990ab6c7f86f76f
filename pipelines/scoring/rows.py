"""Scores batches of rows, quarantines rows that cannot be scored, and counts both; for every engine and file type."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml_project.columns import EXPECTED, distinct_texts, raw_column
from ml_project.contract import Contract
from ml_project.contract_parts import A_VALUE, OUTPUTS, ContractField
from ml_project.drift import DriftCounts
from ml_project.errors import InvalidInput
from ml_project.policies import DECISIONS, decide_all
from ml_project.scorer import Scorer
from ml_project.tables import as_text, is_text
from pipelines.scoring.plan import SOURCE_FILE, SOURCE_ROW, VERSION, fields_beside

QUARANTINE: Final = pa.schema(
    [(SOURCE_FILE, pa.string()), (SOURCE_ROW, pa.int64()), ("reasons", pa.list_(pa.string())), ("content", pa.string())]
)
"""Rows that were not scored: their place (rows counted from 0), the reasons, and the content (JSON or CSV text)."""


@dataclass(frozen=True)
class Tally:
    """Counts of rows that were read.

    Attributes
    ----------
    decisions, amounts : Counter
        Rows and sum of their amounts by decision.
    quarantined : int
        Rows that could not be scored.
    reasons : Counter
        Why; a row may have several.
    """

    drift: DriftCounts
    decisions: Counter[str] = field(default_factory=Counter)
    amounts: Counter[str] = field(default_factory=Counter)
    quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def scored(self) -> int:
        """Rows with a decision."""
        return sum(self.decisions.values())

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return self.scored + self.quarantined

    def __add__(self, other: "Tally") -> "Tally":
        amounts = Counter(self.amounts)
        for decision, amount in other.amounts.items():  # `Counter +` would drop amounts that are not positive
            amounts[decision] += amount
        return Tally(
            self.drift + other.drift,
            self.decisions + other.decisions,
            amounts,
            self.quarantined + other.quarantined,
            self.reasons + other.reasons,
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "drift": self.drift.to_dict(),
            "decisions": dict(self.decisions),
            "amounts": dict(self.amounts),
            "quarantined": self.quarantined,
            "reasons": dict(self.reasons),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Tally":
        """The inverse of `to_dict`."""
        return cls(
            DriftCounts.from_dict(values["drift"]),
            Counter(values["decisions"]),
            Counter(values["amounts"]),
            values["quarantined"],
            Counter(values["reasons"]),
        )


@dataclass(frozen=True)
class ScoredBatch:
    """The result of one batch: a table per decision, the rows that could not be scored, and the counts."""

    decided: dict[str, pa.Table]
    quarantine: pa.Table
    tally: Tally


class RowScorer:
    """Scores batches of rows by one version. Immutable; safe to share between threads.

    Parameters
    ----------
    scorer : Scorer
        With one thread where several batches are scored at once.
    version : int
        Its number in the registry.
    carried : tuple of str
        Columns that are copied to the output; time and amount as the numbers that were scored.
    """

    def __init__(self, scorer: Scorer, version: int, carried: tuple[str, ...]) -> None:
        self._scorer = scorer
        self._version = str(version)
        self._carried = carried
        manifest = scorer.bundle.manifest
        self._contract, self._transform = manifest.contract, manifest.transform
        self._statistics, self._baseline = manifest.statistics, manifest.drift_baseline

    @property
    def has_history(self) -> bool:
        """Whether rows are scored with what is known of their history."""
        return bool(self._contract.history)

    @property
    def nothing(self) -> Tally:
        """The counts of no rows."""
        return Tally(DriftCounts.none(self._baseline))

    def tally_broken(self, reasons: Iterable[str]) -> Tally:
        """The counts of lines that are not rows."""
        counted = Counter(reasons)
        return Tally(DriftCounts.none(self._baseline), quarantined=counted.total(), reasons=counted)

    def score(
        self,
        batch: pa.RecordBatch,
        file: str,
        rows: NDArray[np.int64],
        history: NDArray[np.float64] | None = None,
    ) -> ScoredBatch:
        """Score rows at the places ``rows`` (n,) of a file.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            At least the given fields, as numbers or text.
        history : ndarray of shape (n, features), optional
            The rows' features of history, where the contract has any.
        """
        contract = self._contract
        read = read_rows(contract, batch)
        raw, good = read.raw, ~read.bad.any(axis=1)
        if history is not None:
            raw[:, len(contract.given_names) :] = history
        if good.all():
            quarantine, reasons = QUARANTINE.empty_table(), Counter[str]()
        else:
            quarantine, reasons = _quarantine(contract, batch, read, file, rows)
            batch, raw, rows = batch.filter(pa.array(good)), raw[good], rows[good]
        features = self._transform(raw)
        scores = self._scorer.score_features(features)
        places = decide_all(scores.hybrid, self._scorer.thresholds)
        table = self._table(batch, raw, scores, file, rows)
        counts = np.bincount(places, minlength=len(DECISIONS)).tolist()
        amounts = np.bincount(places, weights=contract.amounts(raw), minlength=len(DECISIONS)).tolist()
        there = [(place, str(name)) for place, name in enumerate(DECISIONS) if counts[place]]
        return ScoredBatch(
            {name: table.filter(pa.array(places == place)) for place, name in there},
            quarantine,
            Tally(
                DriftCounts.of(
                    contract, self._baseline, self._statistics, raw, features, scores.hybrid, np.ones(len(rows))
                ),
                Counter({name: counts[place] for place, name in there}),
                Counter({name: amounts[place] for place, name in there}),
                len(quarantine),
                reasons,
            ),
        )

    def _table(
        self, batch: pa.RecordBatch, raw: NDArray[np.float64], scores: Any, file: str, rows: NDArray[np.int64]
    ) -> pa.Table:
        contract = self._contract
        known = ((contract.time, contract.time_place), (contract.amount, contract.amount_place))
        numbers = {name: raw[:, place] for name, place in known if place is not None}
        columns: dict[str, Any] = {
            name: pa.array(numbers[name]) if name in numbers else batch.column(name) for name in self._carried
        }
        values = (scores.isolation, scores.boosted, scores.hybrid, scores.probability)
        columns |= {name: pa.array(value) for name, value in zip(OUTPUTS, values, strict=True)}
        columns[VERSION] = pa.repeat(pa.scalar(self._version), len(raw))
        columns[SOURCE_FILE] = pa.repeat(pa.scalar(file), len(raw))
        columns[SOURCE_ROW] = pa.array(rows)
        return pa.table(columns)


def quarantine_row(file: str, row: int, reason: str, content: str) -> dict[str, Any]:
    """A line that is not a row, for the table ``QUARANTINE``."""
    return {SOURCE_FILE: file, SOURCE_ROW: row, "reasons": [reason], "content": content}


@dataclass(frozen=True)
class ReadRows:
    """Rows as numbers, and what of them cannot be used.

    Attributes
    ----------
    raw : ndarray of shape (n, fields)
        Raw fields, those of history NaN.
    text : dict
        The columns that were text.
    beside : dict
        Values (n,) of the fields of `plan.fields_beside`: NaN where one is missing, infinite where it is wrong.
    bad : ndarray of shape (n, fields + beside), bool
    """

    raw: NDArray[np.float64]
    text: dict[str, pa.Array]
    beside: dict[str, NDArray[np.float64]]
    bad: NDArray[np.bool_]


def read_rows(contract: Contract, batch: pa.RecordBatch) -> ReadRows:
    """The rows of a batch; raises `InvalidInput` for a column whose type no value of its field can have."""
    raw, text = _raw(contract, batch)
    bad, beside = contract.unusable(raw), dict[str, NDArray[np.float64]]()
    if contract.history:
        beside = {field.name: _beside(field, batch) for field in fields_beside(contract)}
        bad = np.column_stack([bad, *(~np.isfinite(values) for values in beside.values())])
    return ReadRows(raw, text, beside, bad)


def _beside(field: ContractField, batch: pa.RecordBatch) -> NDArray[np.float64]:
    column = batch.column(field.name)
    if field.type == "timestamp":
        return _read(field, column)
    texts, places = distinct_texts(column)
    there: NDArray[np.float64] = np.array([*(0.0 if text else np.nan for text in texts), np.nan])[places]
    return there


def _read(field: ContractField, column: pa.Array) -> NDArray[np.float64]:
    try:
        return raw_column(field, column)
    except TypeError:
        said = f"Column {field.name} holds {column.type}."
        raise InvalidInput(said, f"Give {EXPECTED[field.type]}.") from None


def _raw(contract: Contract, batch: pa.RecordBatch) -> tuple[NDArray[np.float64], dict[str, pa.Array]]:
    """Raw fields (n, fields), and the columns that were text."""
    raw, text = np.empty((len(batch), len(contract.raw_fields))), {}
    names = frozenset(batch.schema.names)
    for place, known in enumerate(contract.scored_fields):
        if known.name not in names:
            raw[:, place] = np.nan
            continue
        column = batch.column(known.name)
        if is_text(column.type):
            text[known.name] = column = as_text(column)
        raw[:, place] = _read(known, column)
    return raw, text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _quarantine(
    contract: Contract,
    batch: pa.RecordBatch,
    read: ReadRows,
    file: str,
    rows: NDArray[np.int64],
) -> tuple[pa.Table, Counter[str]]:
    kept, counted = [], Counter[str]()
    names = *contract.raw_fields, *read.beside
    for row in np.flatnonzero(read.bad.any(axis=1)).tolist():
        reasons = []
        for place in np.flatnonzero(read.bad[row]).tolist():
            name = names[place]
            known = name in batch.schema.names
            given = (read.text[name] if name in read.text else batch.column(name))[row].as_py() if known else None
            if given is None or given == "" or (name in read.beside and np.isnan(read.beside[name][row])):
                said = "missing"
            elif name in read.beside:
                said = f"not {A_VALUE['timestamp']}"
            elif isinstance(given, str) and not _is_number(given) and contract.scored_fields[place].type == "number":
                said = "not a number"
            else:
                said = contract.fault(place, read.raw[row, place])
            reasons.append(f"{name} is {said}")
        counted.update(reasons)
        content = json.dumps({name: batch.column(name)[row].as_py() for name in batch.schema.names}, default=str)
        kept.append({SOURCE_FILE: file, SOURCE_ROW: int(rows[row]), "reasons": reasons, "content": content})
    return pa.Table.from_pylist(kept, QUARANTINE), counted
