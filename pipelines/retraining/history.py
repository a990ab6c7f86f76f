"""Features from history of a retraining's rows: as they were served where they were kept, computed elsewhere.

A served value is what was decided by, late transactions and labels left out as they will be left out again. It is not
there, or of no use, where a decision was made before the contract had the feature as it is now, or while the database
was unreachable; and base data that lie among the decisions know nothing of them. These are computed from base data and
decisions together, by the definition.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.contract import Contract
from ml_project.dataset import events_of
from ml_project.history import compute_history

_SERVED_BY: Final = "\x1fserved_by"
"""The bundle whose features from history were kept with a decision; empty where the database was unreachable."""

_DECIDED_AT: Final = "\x1fdecided_at"
"""When it was; no field of a contract has such a name."""

ReadPast = Callable[[datetime, datetime], pd.DataFrame]
"""All decisions on transactions from one moment until before another."""

Hashed = Callable[[pd.DataFrame], pd.Series]
"""What is equal for equal transactions."""


def columns_beside(table: Any, contract: Contract) -> dict[str, Any]:
    """What `complete_history` needs of decisions beside their fields: columns of a table that the store gives."""
    if not contract.history:
        return {}
    partial = table["history_partial"].to_numpy(zero_copy_only=False)
    received = table["received_at"].to_numpy().astype("datetime64[us]").astype(np.int64)
    return {
        **{name: np.array(table[name].to_pylist(), dtype=object) for name in contract.entities},
        _SERVED_BY: np.where(partial, "", np.array(table["bundle_digest"].to_pylist(), dtype=object)),
        _DECIDED_AT: received + table["latency_ms"].to_numpy() * 1e3,
    }


@dataclass(frozen=True)
class CompletedHistory:
    """Base data and decisions with all their features from history.

    Attributes
    ----------
    computed_base, computed_decided : int
        Rows with a value that was computed for the retraining.
    """

    base: pd.DataFrame
    decided: pd.DataFrame
    computed_base: int = 0
    computed_decided: int = 0


def unserved(contract: Contract, decided: pd.DataFrame, contract_of: Callable[[str], Contract]) -> NDArray[np.bool_]:
    """Which values (n, features of history) were not kept, or were made by another definition."""
    bundles = decided[_SERVED_BY].to_numpy(dtype=object)
    missing = np.ones((len(decided), len(contract.history)), dtype=np.bool_)
    for digest in {*bundles.tolist()} - {""}:
        served = {(each.name, each.definition) for each in contract_of(digest).history}
        missing[bundles == digest] = [(each.name, each.definition) not in served for each in contract.history]
    return missing


def complete_history(
    contract: Contract,
    base: pd.DataFrame,
    decided: pd.DataFrame,
    missing: NDArray[np.bool_],
    read_past: ReadPast,
    content: Hashed,
) -> CompletedHistory:
    """Compute what was not served.

    A row whose label is unknown is in no clean table: of those in the base data only `ingest` knows.

    Parameters
    ----------
    base : DataFrame
        Clean data with entities, event times, and the features that `ingest` computed.
    decided : DataFrame
        Decisions to learn from, by the names of their transactions; ``label`` is 1 for fraud.
    missing : ndarray of shape (n, features of history)
        What `unserved` gives of them.
    read_past : callable
        Decisions as ``decided`` has them, whether something is learnt from them or not.
    content : callable
        Tells which base rows were decided, too.
    """
    moment, names = contract.event_time, [feature.name for feature in contract.history]
    late = (base[moment] > decided[moment].min()).to_numpy()
    lacking = missing.any(axis=1)
    if not late.any() and not lacking.any():
        return CompletedHistory(base, decided)
    wanted = pd.DatetimeIndex([*decided[moment].array[lacking], *base[moment].array[late]])
    first = wanted.min() - pd.Timedelta(seconds=max(each.window + each.delay for each in contract.history))
    past = read_past(first.to_pydatetime(), wanted.max().to_pydatetime() + timedelta(microseconds=1))
    past = past.sort_values(_DECIDED_AT, kind="stable")
    there, here = content(base), content(past)
    alone = ~there.isin(here).to_numpy() & (base[moment] > first).to_numpy()
    known_fraud = here.isin(there[(base[contract.label_field] == 1).to_numpy()])
    fraud = (past["label"] == 1) | ((past["label"] != 0) & known_fraud.to_numpy())
    events = pd.concat([base[alone], past.assign(**{contract.label_field: fraud.astype(int)})], ignore_index=True)
    values = compute_history(contract, events_of(events, contract))
    of_base, of_past = np.split(values, [int(alone.sum())])
    filled = pd.DataFrame(of_past, past.index, names).reindex(decided.index)
    served = decided[names].mask(missing, filled)
    columns = base[names].to_numpy(dtype=np.float64, copy=True)
    columns[alone & late] = of_base[late[alone]]
    return CompletedHistory(
        base.assign(**dict(zip(names, columns.T, strict=True))),
        decided.assign(**{name: served[name] for name in names}),
        int((alone & late).sum()),
        int(lacking.sum()),
    )
