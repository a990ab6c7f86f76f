"""The data set of a retraining: the base data, and those decisions that are old enough to have a label."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.cleaning import clean
from ml_project.contract import Contract
from ml_project.dataset import file_moments
from ml_project.errors import InvalidInput
from ml_project.event_times import EventTimeBounds
from ml_project.review import corrected
from pipelines.data.ingest import IngestedMeta, content_digest
from pipelines.monitoring.kept_decisions import UNLABELLED, answered_rows, read_for_training
from pipelines.retraining.history import CompletedHistory, ReadPast, columns_beside, complete_history, unserved
from stores.decisions import DecisionStore

_OVERLAP: Final = 0.01
"""Share of the decisions that may be earlier than the end given to base data: stray times of clients that are wrong, or
late, would otherwise put all base data years before the rest."""

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class SourceCounts:
    """Where the rows come from, and how they were labelled.

    Attributes
    ----------
    base_rows, base_frauds : int
        Rows and frauds from the base data.
    base_again : int
        Base rows left out because the gateway decided them too: no transaction is on both sides of a split.
    decided_misdated : int
        Decisions left out because their event time cannot be right.
    decided_rows : float
        Decisions, by weight.
    decided_alerts : int
        Decisions other than approvals.
    decided_frauds, decided_legitimate, decided_unlabelled : int
        By label; decisions without one after the label delay count as legitimate.
    reviewed_approvals, reviewed_frauds : int
        The random review sample, and the frauds in it.
    approved_frauds, corrected_frauds : float
        Known frauds among approvals, and their number after the correction by that sample.
    computed_base, computed_decided : int
        Rows with features from history that were computed from both, rather than by `ingest` or as they were served.
    """

    base_rows: int
    base_frauds: int
    base_again: int
    decided_misdated: int
    decided_rows: float
    decided_alerts: int
    decided_frauds: int
    decided_legitimate: int
    decided_unlabelled: int
    reviewed_approvals: int
    reviewed_frauds: int
    approved_frauds: float
    corrected_frauds: float
    computed_base: int
    computed_decided: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON and metrics."""
        return asdict(self)


@dataclass(frozen=True)
class TrainingData:
    """A clean data set and its description.

    Attributes
    ----------
    base_until : datetime or None
        The end given to base data without event times; None where they have event times.
    """

    frame: pd.DataFrame
    meta: IngestedMeta
    sources: SourceCounts
    base_until: datetime | None


@dataclass(frozen=True)
class Decided:
    """Decisions to learn from.

    Attributes
    ----------
    rows : DataFrame
        What `read_for_training` gives.
    misdated : int
        Kept decisions that are not among them because their event time cannot be right.
    unserved : ndarray of shape (n, features of history)
        Which of their features from history were not kept.
    read_past : callable or None
        All decisions between two moments, for features that were not kept; None where the contract has no history.
    """

    rows: pd.DataFrame
    misdated: int = 0
    unserved: NDArray[np.bool_] | None = None
    read_past: ReadPast | None = None


def read_decided(
    store: DecisionStore, contract: Contract, bounds: EventTimeBounds, until: datetime, seed: int
) -> Decided:
    """Decisions on transactions before ``until``, without those whose event times are out of bounds."""
    spans = (_FIRST, bounds.earliest), (bounds.latest, _LAST)
    misdated = sum(_answered(store.tables_by_event_time(contract, *span)) for span in spans)

    def read(since: datetime, end: datetime, whole: bool) -> pd.DataFrame:
        tables = store.tables_by_event_time(contract, max(since, bounds.earliest), end)
        return read_for_training(tables, contract, seed, partial(columns_beside, contract=contract), whole)

    rows = read(bounds.earliest, until, whole=False)
    if not contract.history:
        return Decided(rows, misdated)
    return Decided(rows, misdated, unserved(contract, rows, store.contract_of), partial(read, whole=True))


def _answered(tables: Iterable[Any]) -> int:
    return sum(int(answered_rows(table).sum()) for table in tables)


def build_training_data(
    base: pd.DataFrame, meta: IngestedMeta, contract: Contract, kept: Decided, base_until: datetime | None = None
) -> TrainingData:
    """Join base data and decisions.

    Parameters
    ----------
    base, meta
        Clean data, as `ingest.read_ingested` gives them.
    contract : Contract
        What their columns are.
    kept : Decided
        What `read_decided` gives.
    base_until : datetime, optional
        The end of base data without event times; by default where the decisions begin, but for the first hundredth
        of them. The value of the champion's retraining keeps rows in their places, so that the gate knows which rows
        the champion has seen.

    Raises
    ------
    InvalidInput
        When there is no decision to learn from.
    """
    decided = kept.rows
    if decided.empty:
        raise InvalidInput(
            "No decision is older than the label delay.",
            "Retrain later, set FRAUD_LABEL_DELAY_DAYS, or train on the base data alone with `main`.",
        )
    event_time, name_of_weight, name_of_label = contract.event_time, contract.weight, contract.label_field
    # without a time nothing tells a transaction that was decided from another one of the kind
    told = event_time in base or contract.time is not None
    if event_time in base:
        base_until = None
    else:
        base_until = base_until or _beginning(decided, contract)
        seconds = pd.Series(file_moments(len(base))) if contract.time is None else base[contract.time]
        base = base.assign(**{event_time: _dated(seconds, base_until)})
    completed = CompletedHistory(base, decided)
    if kept.unserved is not None and kept.read_past is not None:
        content = partial(_content, contract=contract)
        completed = complete_history(contract, base, decided, kept.unserved, kept.read_past, content)
        base, decided = completed.base, completed.decided
    there, here = (_content(each, contract) for each in (base, decided))
    again = there.isin(here).to_numpy() & told
    label = _labels(decided["label"].to_numpy(), here, pd.Series(base[name_of_label].to_numpy(), index=there))
    fraud = label == 1
    alert = decided["alert"].to_numpy()
    correction = corrected(alert, fraud, decided["review_rate"].to_numpy(), decided[name_of_weight].to_numpy())
    rows = decided.assign(**{name_of_label: fraud.astype(np.int8), name_of_weight: correction.weight})
    columns = [*contract.clean_columns, event_time, *(feature.name for feature in contract.history)]
    together = pd.concat([base.loc[~again, columns], rows[columns]], ignore_index=True)
    frame, cleaning = clean(together, contract, name=f"{meta.name} and decisions", coded=True)
    sources = SourceCounts(
        base_rows=int((~again).sum()),
        base_frauds=int(base.loc[~again, name_of_label].sum()),
        base_again=int(again.sum()),
        decided_misdated=kept.misdated,
        decided_rows=float(decided[name_of_weight].sum()),
        decided_alerts=int(alert.sum()),
        decided_frauds=int(fraud.sum()),
        decided_legitimate=int((label == 0).sum()),
        decided_unlabelled=int((label == UNLABELLED).sum()),
        reviewed_approvals=correction.sampled,
        reviewed_frauds=correction.sampled_frauds,
        approved_frauds=correction.known,
        corrected_frauds=correction.frauds,
        computed_base=completed.computed_base,
        computed_decided=completed.computed_decided,
    )
    name = f"{meta.name} and {len(decided)} decisions"
    built = replace(meta, name=name, digest=content_digest(frame), cleaning=cleaning)
    return TrainingData(frame, built, sources, base_until)


def _content(rows: pd.DataFrame, contract: Contract) -> pd.Series:
    """What is equal for equal transactions."""
    numbers = rows[[name for name in contract.given_names if name != contract.event_time]]
    if contract.time is None:
        numbers = numbers.assign(**{contract.event_time: rows[contract.event_time].astype("datetime64[us, UTC]")})
    content: pd.Series = pd.util.hash_pandas_object(numbers, index=False)
    return content


def _beginning(decided: pd.DataFrame, contract: Contract) -> datetime:
    reached = np.cumsum(decided[contract.weight].to_numpy(np.float64))
    first = int(np.searchsorted(reached, _OVERLAP * reached[-1], side="left"))
    moment: datetime = decided[contract.event_time].iloc[first].floor("us").to_pydatetime()
    return moment


def _dated(seconds: pd.Series, until: datetime) -> pd.Series:
    """Event times with the same distances between rows; the last one is ``until``."""
    before: pd.Series = pd.to_timedelta(seconds.max() - seconds, unit="s")
    return pd.Timestamp(until) - before


def _labels(given: np.ndarray[Any, Any], here: pd.Series, base: pd.Series) -> np.ndarray[Any, Any]:
    """The labels of reviewers; for transactions without one, the label of the base data where they have it."""
    known = base[~base.index.duplicated(keep="last")]
    others = here.map(known).fillna(UNLABELLED).to_numpy(np.int8)
    return np.where(given == UNLABELLED, others, given)
