"""Kept decisions as rows to learn from: one per transaction, with the newest label that anybody gave it."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute

from ml_project.schema import EVENT_TIME, RAW_FEATURES, WEIGHT
from ml_project.scorer import Decision

MOST_ROWS: Final = 500_000
"""Rows held; beyond them, approvals that nobody spoke of are thinned and the rest of them weigh more."""

UNLABELLED: Final = -1
_NO_MORE: Final = ["received_at", "labelled_at", "repeated"]


def read_decided(tables: Iterable[Any], seed: int = 0) -> pd.DataFrame:
    """Decisions, each transaction once: as it was first scored, whatever was sent again.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        What ``DecisionStore.tables_by_event_time`` gives.
    seed : int
        For what is thinned.

    Returns
    -------
    DataFrame
        The 30 raw fields, ``event_time`` (receipt where the client gave none), ``label`` (-1 without one), ``alert``,
        ``review_rate`` (the probability with which an approval was drawn for review; 0 where it was not) and ``Weight``
        (what the row stands for), by name of the transaction.
    """
    rng = np.random.default_rng(seed)
    held, waiting = _rows(_empty()), []
    for table in tables:
        waiting.append(_rows(table))
        if sum(map(len, waiting)) >= MOST_ROWS // 2:
            held, waiting = _thinned(pd.concat([held, *waiting]), rng), []
    return _one_each(_thinned(pd.concat([held, *waiting]), rng))


def _empty() -> Any:
    from stores.decisions.archive import SCHEMA

    return SCHEMA.empty_table()


def _rows(table: Any) -> pd.DataFrame:
    # Bulk rows whose transaction_id was another's were refused: no decision was given.
    conflicting = table["conflicts_with"].is_valid()
    refused = compute.and_(compute.and_(conflicting, table["segment_id"].is_valid()), compute.invert(table["spooled"]))
    table = table.filter(compute.invert(refused))
    times = {
        EVENT_TIME: compute.coalesce(table["event_time"], table["received_at"]),
        "received_at": table["received_at"],
        "labelled_at": table["labelled_at"],
    }
    names = compute.coalesce(table["transaction_id"], table["prediction_id"]).to_pylist()
    own = {
        "label": table["label"].fill_null(UNLABELLED).to_numpy(),
        "alert": compute.not_equal(table["decision"], pa.scalar(str(Decision.APPROVE))).to_numpy(),
        "review_rate": table["review_rate"].fill_null(0.0).to_numpy(),
        "repeated": compute.or_(table["duplicate_of"].is_valid(), table["conflicts_with"].is_valid()).to_numpy(),
        WEIGHT: np.ones(len(table)),
    }
    raw = {name: table[name].to_numpy() for name in RAW_FEATURES}
    dated = {name: values.to_pandas().to_numpy("datetime64[us]") for name, values in times.items()}
    return pd.DataFrame(raw | dated | own, index=pd.Index(names, dtype=object))


def _thinned(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    while len(rows) > MOST_ROWS:
        plain = ~rows["alert"] & (rows["review_rate"] == 0) & (rows["label"] == UNLABELLED)
        kept = ~plain | (rng.random(len(rows)) < 0.5)
        if kept.all():
            break
        rows = rows.assign(**{WEIGHT: rows[WEIGHT].where(~plain, rows[WEIGHT] * 2)})[kept]
    return rows


def _one_each(rows: pd.DataFrame) -> pd.DataFrame:
    labelled = rows[rows["label"] != UNLABELLED].sort_values("labelled_at", kind="stable")
    newest = labelled[~labelled.index.duplicated(keep="last")]["label"]
    ordered = rows.sort_values(["repeated", "received_at"], kind="stable")
    firsts = ordered[~ordered.index.duplicated(keep="first")].sort_values(EVENT_TIME, kind="stable")
    label = newest.reindex(firsts.index).fillna(UNLABELLED).astype(np.int8)
    dated = firsts[EVENT_TIME].dt.tz_localize("UTC")
    return firsts.drop(columns=_NO_MORE).assign(**{EVENT_TIME: dated, "label": label})
