"""A window of decisions as a chart needs it: counts from the indexes, and of the rows themselves a bounded sample.

By receipt, because prediction ids bear the same clock: what labels say of a window is a range of their index.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from stores.decisions.schema import labels, predictions, segments, shadow_decisions
from stores.decisions.segments import APPROVE
from stores.decisions.tables import SCHEMA, answered, segment_tables, single_tables

MOST_LABELS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Slice:
    """Decisions received in [since, until).

    Attributes
    ----------
    decisions : dict of str to int
        How many of each there were.
    drawn : int
        Approvals among them that were drawn for review.
    sample : pyarrow.Table
        Some of them; see `tables.SCHEMA`.
    weight : ndarray of shape (n,)
        How many decisions each row of the sample stands for.
    """

    since: datetime
    until: datetime
    decisions: dict[str, int]
    drawn: int
    sample: Any
    weight: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a prediction turned out to be; ``decision`` of a row that only a segment holds is APPROVE."""

    prediction_id: str
    label: int
    decision: str
    review_rate: float | None


@dataclass(frozen=True, slots=True)
class Shadowed:
    """How often the champion decided one thing where a challenger would have decided another."""

    model_version: str
    decision: str
    challenger_decision: str
    rows: int


def slices(connection: Connection, edges: Sequence[datetime], rows: int) -> Iterator[Slice]:
    """Decisions between neighbouring edges, with about ``rows`` of them at most in all samples together."""
    quota = max(1, rows // (len(edges) - 1))
    for since, until in pairwise(edges):
        counts, listed, bulk, drawn = _counts(connection, since, until)
        singles = sum(counts.values()) - sum(listed.values())
        parts = [(single_tables(connection, since, until, quota), singles)]
        if bulk:
            parts.append((_middle_segment(connection, since, until), bulk))
        tables = [(_some(next(found, None), quota), count) for found, count in parts]
        # In the table predictions are the singles and, of segments, what goes to review.
        approved = counts.get(APPROVE, 0) + bulk - sum(listed.values())
        yield Slice(
            since,
            until,
            counts | {APPROVE: approved},
            drawn,
            pa.concat_tables([table for table, _count in tables]),
            np.concatenate([np.full(len(table), count / max(len(table), 1)) for table, count in tables]),
        )


def outcomes(connection: Connection, since: datetime, until: datetime, most: int = MOST_LABELS) -> list[Outcome]:
    """Newest labels of predictions received in [since, until), of the latest ``most`` labels."""
    name = labels.c.prediction_id
    columns = predictions.c
    query = (
        select(name, labels.c.label, columns.decision, columns.review_rate)
        .outerjoin_from(labels, predictions, columns.prediction_id == name)
        .where(name >= _first_id(since), name < _first_id(until))
        .order_by(name.desc(), labels.c.label_id.desc())
        .limit(most)
    )
    newest: dict[str, Outcome] = {}
    for prediction_id, label, decision, rate in connection.execute(query):
        newest.setdefault(prediction_id, Outcome(prediction_id, label, decision or APPROVE, rate))
    return list(newest.values())


def shadowed(connection: Connection, since: datetime, until: datetime) -> list[Shadowed]:
    """What challengers would have decided on what was received in [since, until)."""
    columns = shadow_decisions.c
    champion = func.coalesce(predictions.c.decision, APPROVE)
    groups = columns.model_version, champion, columns.decision
    query = (
        select(*groups, func.count())
        .outerjoin_from(shadow_decisions, predictions, predictions.c.prediction_id == columns.prediction_id)
        .where(columns.received_at >= since, columns.received_at < until)
        .group_by(*groups)
    )
    return [Shadowed(*row) for row in connection.execute(query)]


def received_at(prediction_id: str) -> float:
    """When a prediction was named, in seconds since 1970: what a UUID of version 7 begins with."""
    return int(prediction_id[:8] + prediction_id[9:13], 16) / 1000


def _first_id(moment: datetime) -> str:
    digits = f"{int(moment.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _counts(
    connection: Connection, since: datetime, until: datetime
) -> tuple[dict[str, int], dict[str, int], int, int]:
    """Predictions by decision, those among them that segments hold, rows of segments, approvals drawn for review."""
    columns = predictions.c
    within = columns.received_at >= since, columns.received_at < until
    by_decision = select(columns.decision, func.count()).group_by(columns.decision)
    review = by_decision.where(*within, columns.review_rate.is_not(None))
    counts = {name: int(count) for name, count in connection.execute(by_decision.where(*within))}
    of_segments = connection.execute(review.where(columns.segment_id.is_not(None)))
    listed = {name: int(count) for name, count in of_segments}
    drawn = connection.scalar(
        select(func.count()).where(*within, columns.review_rate.is_not(None), columns.decision == APPROVE)
    )
    bulk = connection.scalar(
        select(func.sum(segments.c.rows)).where(segments.c.received_at >= since, segments.c.received_at < until)
    )
    return counts, listed, bulk or 0, drawn or 0


def _middle_segment(connection: Connection, since: datetime, until: datetime) -> Iterator[Any]:
    """The rows of one segment: opening all of them is what a sample is there to avoid."""
    columns = segments.c
    within = columns.received_at >= since, columns.received_at < until
    ids = connection.scalars(select(columns.segment_id).where(*within).order_by(columns.received_at)).all()
    return segment_tables(connection, [columns.segment_id == ids[len(ids) // 2]])


def _some(table: Any, most: int) -> Any:
    """At most so many rows, evenly spaced, without those that were no new answer."""
    kept = SCHEMA.empty_table() if table is None else table.filter(answered(table))
    if len(kept) <= most:
        return kept
    return kept.take(np.linspace(0, len(kept) - 1, most).astype(np.int64))
