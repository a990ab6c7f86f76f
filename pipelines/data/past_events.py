"""What keys did before, brought into the decision database: from the base data and from kept decisions.

Keys are kept as gateways keep them: as hashes where FRAUD_KEY_SECRET is set. What is one already stays.

A gateway adds every transaction that it decides. Before the first version with features from history goes live, and
after a backup was restored, what came before has to be brought in. What is there already counts once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pandas as pd

from ml_project.columns import raw_column
from ml_project.contract import Contract
from ml_project.errors import InvalidInput
from pipelines.console import row_progress
from pipelines.data.ingest import read_ingested
from pipelines.monitoring.kept_decisions import answered_rows
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionStore, open_store
from stores.decisions.event_plan import EventPlan, HistoryEvent, event_id
from stores.key_hash import KeyHash

_GROUP: Final = 5_000
"""Transactions in one commit: predictions wait for none of them for long."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Rebuilt:
    """What was brought in.

    Attributes
    ----------
    base, decided : int
        Transactions of the base data and of kept decisions that a feature can still ask for.
    added : int
        Those of them that were not known.
    """

    base: int
    decided: int
    added: int

    @property
    def sentence(self) -> str:
        """For the screen."""
        reached = f"{self.base:,} of the base data and {self.decided:,} decided ones"
        return f"Past transactions: {self.added:,} added; {reached} are in reach of the features from history."


def rebuild(settings: PipelineSettings, contract: Contract) -> Rebuilt:
    """Bring in what a contract's features from history can still ask for.

    Raises
    ------
    InvalidInput
        When the contract has no history.
    Unavailable
        When the database does not answer.
    """
    plan = EventPlan.of(contract)
    if not plan.series:
        raise InvalidInput(f"{contract} has no features from history.", "There is nothing to bring in.")
    with open_store(settings.decisions_url) as store:
        base = _of_base(settings, plan)
        decided = _of_decisions(store, plan, settings.key_hash)
        added = _add(store, plan, [*base, *decided])
        return Rebuilt(len(base), len(decided), added)


def _add(store: DecisionStore, plan: EventPlan, events: Sequence[HistoryEvent]) -> int:
    added = 0
    with row_progress("past transactions", max(len(events), 1)) as on_rows:
        for begin in range(0, len(events), _GROUP):
            group = events[begin : begin + _GROUP]
            new = store.add_events(plan, group)
            if new < len(group):
                store.complete_events(plan, group)
            added += new
            store.relabel_events({event.event_id: event.fraud for event in group if event.fraud})
            on_rows(len(group))
    return added


def _of_base(settings: PipelineSettings, plan: EventPlan) -> list[HistoryEvent]:
    if not settings.dataset_path.exists():
        return []
    frame, _meta = read_ingested(settings.dataset_path, settings.data_contract)
    return base_events(plan, frame, settings.key_hash)


def base_events(plan: EventPlan, frame: pd.DataFrame, key_hash: KeyHash | None = None) -> list[HistoryEvent]:
    """The last transactions of a clean table: those that are in reach of its end."""
    contract = plan.contract
    times = pd.to_datetime(frame[contract.event_time], utc=True).dt.as_unit("us")
    at = np.asarray(times.astype("int64"), dtype=np.int64)
    near = np.flatnonzero(at > at.max(initial=0) - plan.reach)
    frame, at = hashed_keys(frame.iloc[near], contract, key_hash), at[near]
    names = _names(frame, contract)
    asked = [*plan.entities, *plan.summed, *plan.counted]
    columns = {name: frame[name].tolist() for name in dict.fromkeys(asked)}
    labels = [int(label) for label in frame[contract.label_field].tolist()]
    return list(plan.events(names, at.tolist(), columns, labels))


def _names(frame: pd.DataFrame, contract: Contract) -> list[str]:
    """Ids of rows: the client's, else one of the content, told apart where two rows are equal.

    Of the content without keys: a digest of a key could be found by trying keys, and a row whose key is taken out of
    the table, as it was to be forgotten, is still the same one.
    """
    if contract.transaction_id in frame:
        given = frame[contract.transaction_id]
        if given.notna().all():
            return [event_id(contract.contract, str(name), "") for name in given]
    content = [name for name in contract.given_names if name in frame]
    hashed = pd.util.hash_pandas_object(frame[list(dict.fromkeys([*content, contract.event_time]))], index=False)
    again = hashed.groupby(hashed).cumcount()
    return [
        event_id(contract.contract, f"row {value:016x} {number}", "")
        for value, number in zip(hashed.tolist(), again.tolist(), strict=True)
    ]


def hashed_keys(frame: pd.DataFrame, contract: Contract, key_hash: KeyHash | None) -> pd.DataFrame:
    """A table with its keys as gateways keep them: what is made of it and of decisions together is of the same keys."""
    if key_hash is None:
        return frame
    names = [name for name in contract.entities if name in frame]
    hashed = {name: pd.Series(key_hash.of_all(name, frame[name].tolist()), frame.index, dtype=object) for name in names}
    return frame.assign(**hashed)


def _of_decisions(store: DecisionStore, plan: EventPlan, key_hash: KeyHash | None) -> list[HistoryEvent]:
    tables = store.tables_by_event_time(plan.contract, _FIRST, _LAST)
    found = [event for table in tables for event in decided_events(plan, table, key_hash)]
    latest = max((event.at for event in found), default=0)
    return [event for event in found if event.at > latest - plan.reach]


def decided_events(plan: EventPlan, table: Any, key_hash: KeyHash | None = None) -> Iterator[HistoryEvent]:
    """Transactions of a table of decisions, each once."""
    contract = plan.contract
    table = table.filter(answered_rows(table))
    table = table.filter(table["event_time"].is_valid())
    fields = {each.name: each for each in contract.fields}
    columns = {
        name: (table[name].to_pylist() if key_hash is None else key_hash.of_all(name, table[name].to_pylist()))
        if fields[name].type == "string"
        else raw_column(fields[name], table[name]).tolist()
        for name in dict.fromkeys([*plan.entities, *plan.summed, *plan.counted])
    }
    names = zip(table["transaction_id"].to_pylist(), table["prediction_id"].to_pylist(), strict=True)
    ids = [event_id(contract.contract, *name) for name in names]
    moments = (table["event_time"].to_numpy().astype("datetime64[us]").astype(np.int64)).tolist()
    yield from plan.events(ids, moments, columns, [int(label == 1) for label in table["label"].to_pylist()])
