"""A window of decisions as a chart needs it: counts from the indexes, and of the rows themselves a bounded sample.

By receipt, because prediction ids bear the same clock: what labels say of a window is a range of their index.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from stores.decisions.reads import Scope, contracts_of, scope_of
from stores.decisions.records import scored_values, unpack_scored
from stores.decisions.schema import labels, predictions, segments, shadow_decisions
from stores.decisions.segments import APPROVE, raw_of, read_content

MOST_LABELS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Sample:
    """Some decisions.

    Attributes
    ----------
    raw : dict of str to ndarray of shape (k, fields)
        By the bundle that decided, what its rows were scored as, in order.
    hybrid, latency_ms : ndarray of shape (n,)
    weight : ndarray of shape (n,)
        How many decisions each stands for.
    single : ndarray of shape (n,)
        Whether it was the only one in its request: a bulk chunk's latency is that of thousands of rows.
    digests : tuple of str
        The bundles that decided.
    """

    raw: dict[str, NDArray[np.float64]]
    hybrid: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    weight: NDArray[np.float64]
    single: NDArray[np.bool_]
    digests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.digests)


@dataclass(frozen=True, slots=True)
class Slice:
    """Decisions received in [since, until).

    Attributes
    ----------
    decisions : dict of str to int
        How many of each there were.
    drawn : int
        Approvals among them that were drawn for review.
    samples : tuple of Sample
        Of the single ones and of the bulk.
    """

    since: datetime
    until: datetime
    decisions: dict[str, int]
    drawn: int
    samples: tuple[Sample, ...]


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


def slices(
    connection: Connection, edges: Sequence[datetime], rows: int, contract: str | None = None
) -> Iterator[Slice]:
    """Decisions between neighbouring edges, with about ``rows`` of them at most in all samples together.

    Of one contract only, if it is named.
    """
    scope = scope_of(connection, contract)
    for since, until in pairwise(edges):
        counts, listed, bulk, drawn = _counts(connection, scope, since, until)
        singles = sum(counts.values()) - sum(listed.values())
        quota = max(1, rows // (len(edges) - 1) // (2 if singles and bulk else 1))
        samples = []
        if singles:
            samples.append(_singles(connection, scope, since, until, quota, singles))
        if bulk:
            samples.append(_bulk(connection, scope, since, until, quota, bulk))
        # In the table predictions are the singles and, of segments, what goes to review.
        approved = counts.get(APPROVE, 0) + bulk - sum(listed.values())
        yield Slice(since, until, counts | {APPROVE: approved}, drawn, tuple(samples))


def outcomes(
    connection: Connection, since: datetime, until: datetime, contract: str | None = None, most: int = MOST_LABELS
) -> list[Outcome]:
    """Newest labels of predictions received in [since, until), of the latest ``most`` labels; see `slices`."""
    name = labels.c.prediction_id
    columns = predictions.c
    query = (
        select(name, labels.c.label, columns.decision, columns.review_rate)
        .outerjoin_from(labels, predictions, columns.prediction_id == name)
        .where(
            name >= _first_id(since), name < _first_id(until), *scope_of(connection, contract).about(connection, name)
        )
        .order_by(name.desc(), labels.c.label_id.desc())
        .limit(most)
    )
    newest: dict[str, Outcome] = {}
    for prediction_id, label, decision, rate in connection.execute(query):
        newest.setdefault(prediction_id, Outcome(prediction_id, label, decision or APPROVE, rate))
    return list(newest.values())


def shadowed(connection: Connection, since: datetime, until: datetime, contract: str | None = None) -> list[Shadowed]:
    """What challengers would have decided on what was received in [since, until); see `slices`."""
    columns = shadow_decisions.c
    champion = func.coalesce(predictions.c.decision, APPROVE)
    mine = scope_of(connection, contract).about(connection, columns.prediction_id)
    groups = columns.model_version, champion, columns.decision
    query = (
        select(*groups, func.count())
        .outerjoin_from(shadow_decisions, predictions, predictions.c.prediction_id == columns.prediction_id)
        .where(columns.received_at >= since, columns.received_at < until, *mine)
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
    connection: Connection, scope: Scope, since: datetime, until: datetime
) -> tuple[dict[str, int], dict[str, int], int, int]:
    """Predictions by decision, those among them that segments hold, rows of segments, approvals drawn for review."""
    columns = predictions.c
    mine = scope.within(connection, columns.bundle_digest)
    within = columns.received_at >= since, columns.received_at < until, *mine
    every = select(columns.decision, func.count()).where(*within).group_by(columns.decision)
    counts = {name: int(count) for name, count in connection.execute(every)}
    listed: dict[str, int] = {}
    drawn = 0
    if counts:
        bulk_row = columns.segment_id.is_not(None)
        review = select(columns.decision, bulk_row, func.count()).where(*within, columns.review_rate.is_not(None))
        for name, in_segment, count in connection.execute(review.group_by(columns.decision, bulk_row)):
            drawn += count if name == APPROVE else 0
            listed |= {name: count} if in_segment else {}
    received, chunks = segments.c.received_at, scope.within(connection, segments.c.bundle_digest)
    bulk = select(func.sum(segments.c.rows)).where(received >= since, received < until, *chunks)
    return counts, listed, connection.scalar(bulk) or 0, drawn


def _singles(connection: Connection, scope: Scope, since: datetime, until: datetime, quota: int, count: int) -> Sample:
    """The first of them: a slice is short, and any other choice would read them all."""
    columns = predictions.c
    query = (
        select(columns.inputs, columns.hybrid_score, columns.latency_ms, columns.bundle_digest)
        .where(columns.received_at >= since, columns.received_at < until, columns.segment_id.is_(None))
        .where(*scope.within(connection, columns.bundle_digest))
        .order_by(columns.received_at)
        .limit(quota)
    )
    rows = connection.execute(query).all()
    kept = contracts_of(connection, {row.bundle_digest for row in rows})
    raw = {
        digest: unpack_scored([row.inputs for row in rows if row.bundle_digest == digest], kept[digest])
        for digest in {row.bundle_digest for row in rows}
    }
    return Sample(
        raw=raw,
        hybrid=np.array([row.hybrid_score for row in rows]),
        latency_ms=np.array([row.latency_ms for row in rows]),
        weight=np.full(len(rows), count / max(len(rows), 1)),
        single=np.ones(len(rows), dtype=np.bool_),
        digests=tuple(row.bundle_digest for row in rows),
    )


def _bulk(connection: Connection, scope: Scope, since: datetime, until: datetime, quota: int, count: int) -> Sample:
    """Rows of the middle one of their segments, evenly spaced: opening all is what a sample is there to avoid."""
    columns = segments.c
    mine = scope.within(connection, columns.bundle_digest)
    within = columns.received_at >= since, columns.received_at < until, *mine
    ids = connection.scalars(select(columns.segment_id).where(*within).order_by(columns.received_at)).all()
    segment = connection.execute(select(segments).where(columns.segment_id == ids[len(ids) // 2])).one()
    content = read_content(segment.segment_id, segment.content, segment.sha256)
    taken = content.take(np.linspace(0, segment.rows - 1, min(quota, segment.rows)).astype(np.int64))
    contract = contracts_of(connection, [segment.bundle_digest])[segment.bundle_digest]
    texts = {place: taken.column(contract.names[place]).to_pylist() for place in contract.texts}
    raw = scored_values(raw_of(taken, contract), texts, contract)
    return Sample(
        raw={segment.bundle_digest: raw},
        hybrid=taken["hybrid_score"].to_numpy(),
        latency_ms=np.full(len(taken), segment.latency_ms),
        weight=np.full(len(taken), count / len(taken)),
        single=np.zeros(len(taken), dtype=np.bool_),
        digests=(segment.bundle_digest,) * len(taken),
    )
