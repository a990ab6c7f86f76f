"""A window of decisions as a chart needs it: counts from the indexes, and of the rows themselves a bounded sample.

By receipt, because prediction ids bear the same clock: what labels say of a window is a range of their index.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, func, literal_column, select, text

from stores.decisions.reads import Scope, contracts_of, is_alert, scope_of
from stores.decisions.records import TRIAL, scored_values, unpack_scored
from stores.decisions.schema import labels, predictions, segments, shadow_decisions
from stores.decisions.segments import APPROVE, raw_of, read_content

MOST_LABELS: Final = 50_000

LEAST_SAMPLE: Final = 20
"""Rows of a slice that are looked at, if it has so many: enough for its median."""

MOST_SEGMENTS: Final = 16
"""Segments of a slice that are opened."""


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
    """How often the champion decided one thing where a challenger would have decided another, by the newest label."""

    model_version: str
    decision: str
    challenger_decision: str
    rows: int
    label: int | None = None


def slices(
    connection: Connection, edges: Sequence[datetime], rows: int, contract: str | None = None
) -> Iterator[Slice]:
    """Decisions between neighbouring edges, with about ``rows`` of them at most in all samples together.

    Every slice is sampled in proportion to what it holds, so that an hour with most of the traffic, or one large file,
    has most of the sample; a quiet one has at least `LEAST_SAMPLE`. Trials are no traffic. Of one contract only, if it
    is named.
    """
    scope = scope_of(connection, contract)
    counted = [(since, until, _counts(connection, scope, since, until)) for since, until in pairwise(edges)]
    total = sum(each.singles + each.bulk for _since, _until, each in counted)
    share = min(1.0, rows / max(total, 1))
    for since, until, each in counted:
        samples = []
        if each.singles:
            quota = min(each.singles, max(LEAST_SAMPLE, math.ceil(each.singles * share)))
            samples.append(_singles(connection, scope, since, until, quota, each.singles))
        if each.bulk:
            quota = min(each.bulk, max(LEAST_SAMPLE, math.ceil(each.bulk * share)))
            samples += _bulk(connection, scope, since, until, quota, each.bulk)
        # In the table predictions are the singles and, of segments, what goes to review.
        approved = each.decisions.get(APPROVE, 0) + each.bulk - sum(each.listed.values())
        yield Slice(since, until, each.decisions | {APPROVE: approved}, each.drawn, tuple(samples))


@dataclass(frozen=True, slots=True)
class _Counts:
    """Traffic of a slice: predictions by decision, those among them that segments hold, rows of segments, approvals
    drawn for review.
    """

    decisions: dict[str, int]
    listed: dict[str, int]
    bulk: int
    drawn: int

    @property
    def singles(self) -> int:
        return sum(self.decisions.values()) - sum(self.listed.values())


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
    said = labels.c.prediction_id == columns.prediction_id
    newest = select(labels.c.label).where(said).order_by(labels.c.label_id.desc()).limit(1).scalar_subquery()
    groups = columns.model_version, champion.label("champion"), columns.decision, newest.label("label")
    query = (
        select(*groups, func.count().label("rows"))
        .outerjoin_from(shadow_decisions, predictions, predictions.c.prediction_id == columns.prediction_id)
        .where(columns.received_at >= since, columns.received_at < until, *mine)
        .group_by(text("1, 2, 3, 4"))
    )
    return [
        Shadowed(version, decision, other, rows, label)
        for version, decision, other, label, rows in connection.execute(query)
    ]


def received_at(prediction_id: str) -> float:
    """When a prediction was named, in seconds since 1970: what a UUID of version 7 begins with."""
    return int(prediction_id[:8] + prediction_id[9:13], 16) / 1000


def _first_id(moment: datetime) -> str:
    digits = f"{int(moment.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _counts(connection: Connection, scope: Scope, since: datetime, until: datetime) -> _Counts:
    columns = predictions.c
    mine = scope.within(connection, columns.bundle_digest)
    within = columns.received_at >= since, columns.received_at < until, *mine
    # Alerts have an index of their own; the rest of all are approvals.
    by_decision = select(columns.decision, func.count()).where(*within).group_by(columns.decision)
    counts = {name: int(count) for name, count in connection.execute(by_decision.where(is_alert()))}
    approved = (connection.scalar(select(func.count()).where(*within)) or 0) - sum(counts.values())
    counts |= {APPROVE: approved} if approved else {}
    listed: dict[str, int] = {}
    drawn = 0
    if counts:
        # Trials are few and have an index of their own; a condition on all others would read every row.
        for name, count in connection.execute(by_decision.where(columns.source == literal_column(f"'{TRIAL}'"))):
            counts[name] -= count
        bulk_row = columns.segment_id.is_not(None)
        review = select(columns.decision, bulk_row, func.count()).where(*within, columns.review_rate.is_not(None))
        for name, in_segment, count in connection.execute(review.group_by(columns.decision, bulk_row)):
            drawn += count if name == APPROVE else 0
            listed |= {name: count} if in_segment else {}
    bulk = select(func.sum(segments.c.rows)).where(*_bulk_within(connection, scope, since, until))
    return _Counts(counts, listed, connection.scalar(bulk) or 0, drawn)


def _bulk_within(
    connection: Connection, scope: Scope, since: datetime, until: datetime
) -> tuple[ColumnElement[bool], ...]:
    columns = segments.c
    mine = scope.within(connection, columns.bundle_digest)
    return columns.received_at >= since, columns.received_at < until, columns.source != TRIAL, *mine


def _singles(connection: Connection, scope: Scope, since: datetime, until: datetime, quota: int, count: int) -> Sample:
    """The first of them: a slice is short, and any other choice would read them all."""
    columns = predictions.c
    query = (
        select(columns.inputs, columns.hybrid_score, columns.latency_ms, columns.bundle_digest)
        .where(columns.received_at >= since, columns.received_at < until, columns.segment_id.is_(None))
        .where(columns.source != TRIAL, *scope.within(connection, columns.bundle_digest))
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


def _bulk(
    connection: Connection, scope: Scope, since: datetime, until: datetime, quota: int, count: int
) -> list[Sample]:
    """Evenly spaced rows of as few segments as hold the quota, evenly spaced, too: opening all is what it is there to
    avoid.
    """
    columns = segments.c
    listed = select(columns.segment_id, columns.rows).where(*_bulk_within(connection, scope, since, until))
    found = connection.execute(listed.order_by(columns.received_at, columns.segment_id)).all()
    wanted = min(len(found), MOST_SEGMENTS, math.ceil(quota / (count / len(found))))
    chosen = [found[int((place + 0.5) * len(found) / wanted)] for place in range(wanted)]
    held = sum(row.rows for row in chosen)
    weight = count / sum(_taken(row.rows, quota, held) for row in chosen)
    samples = []
    for row in chosen:
        segment = connection.execute(select(segments).where(columns.segment_id == row.segment_id)).one()
        content = read_content(segment.segment_id, segment.content, segment.sha256)
        places = np.linspace(0, segment.rows - 1, _taken(segment.rows, quota, held)).astype(np.int64)
        taken = content.take(places)
        contract = contracts_of(connection, [segment.bundle_digest])[segment.bundle_digest]
        texts = {place: taken.column(contract.names[place]).to_pylist() for place in contract.texts}
        raw = scored_values(raw_of(taken, contract), texts, contract)
        samples.append(
            Sample(
                raw={segment.bundle_digest: raw},
                hybrid=taken["hybrid_score"].to_numpy(),
                latency_ms=np.full(len(taken), segment.latency_ms),
                weight=np.full(len(taken), weight),
                single=np.zeros(len(taken), dtype=np.bool_),
                digests=(segment.bundle_digest,) * len(taken),
            )
        )
    return samples


def _taken(rows: int, quota: int, held: int) -> int:
    """How many rows of a segment enter a sample of ``quota`` of the ``held`` rows of all chosen ones."""
    return min(rows, math.ceil(rows * min(1.0, quota / held)))
