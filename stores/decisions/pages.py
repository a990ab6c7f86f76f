"""Pages by keyset: page 1,000 costs what page 1 costs, and rows that arrive meanwhile shift nothing."""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import ColumnElement, Connection, exists, select, tuple_

from ml_project.errors import InvalidInput
from stores.decisions.lookup import newest_labels
from stores.decisions.records import Found
from stores.decisions.rows import to_found
from stores.decisions.schema import labels, predictions

MAX_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFilter:
    """Which decisions, and in which order; None does not filter. Ranges hold their lower end and not their upper."""

    order: Literal["newest", "riskiest"] = "newest"
    decision: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    score_from: float | None = None
    score_below: float | None = None
    labelled: bool | None = None
    for_review: bool | None = None
    model_version: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Decisions, and where the next page begins; None on the last one."""

    items: list[Found]
    after: str | None


def page(connection: Connection, wanted: PageFilter, after: str | None = None, limit: int = 100) -> Page:
    """One page. Of bulk segments it has what goes to review: the alerts and a sample; duplicates are left out.

    Raises
    ------
    InvalidInput
        When ``after`` was not given by an earlier page of the same order, or ``limit`` is not 1 to 1000.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit is {limit}.", f"Ask for 1 to {MAX_PAGE}.")
    sorted_by = predictions.c.received_at if wanted.order == "newest" else predictions.c.hybrid_score
    query = select(predictions).where(*_conditions(wanted), predictions.c.duplicate_of.is_(None))
    if after is not None:
        query = query.where(tuple_(sorted_by, predictions.c.prediction_id) < tuple_(*_decode(after, wanted.order)))
    query = query.order_by(sorted_by.desc(), predictions.c.prediction_id.desc()).limit(limit + 1)
    rows = [row._mapping for row in connection.execute(query)]
    shown = rows[:limit]
    newest = newest_labels(connection, [row["prediction_id"] for row in shown])
    items = [to_found(row, newest.get(row["prediction_id"])) for row in shown]
    return Page(items, _encode(items[-1], wanted.order) if len(rows) > limit else None)


def _conditions(wanted: PageFilter) -> Iterator[ColumnElement[bool]]:
    columns = predictions.c
    if wanted.decision is not None:
        yield columns.decision == wanted.decision
    if wanted.since is not None:
        yield columns.received_at >= wanted.since
    if wanted.until is not None:
        yield columns.received_at < wanted.until
    if wanted.score_from is not None:
        yield columns.hybrid_score >= wanted.score_from
    if wanted.score_below is not None:
        yield columns.hybrid_score < wanted.score_below
    if wanted.model_version is not None:
        yield columns.model_version == wanted.model_version
    if wanted.for_review is not None:
        yield columns.review_rate.is_not(None) if wanted.for_review else columns.review_rate.is_(None)
    if wanted.labelled is not None:
        labelled = exists().where(labels.c.prediction_id == columns.prediction_id)
        yield labelled if wanted.labelled else ~labelled


def _encode(last: Found, order: str) -> str:
    record = last.record
    value = record.received_at.astimezone(UTC).isoformat() if order == "newest" else record.hybrid_score
    return base64.urlsafe_b64encode(json.dumps([order, value, record.prediction_id]).encode()).decode().rstrip("=")


def _decode(after: str, order: str) -> tuple[datetime | float, str]:
    try:
        name, value, prediction_id = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        if name != order or not isinstance(prediction_id, str) or "\0" in prediction_id:
            raise ValueError(name)
        return datetime.fromisoformat(value).astimezone(UTC) if order == "newest" else float(value), prediction_id
    except (ValueError, TypeError, binascii.Error, OverflowError):
        raise InvalidInput("The cursor is not one of this order's.", "Start again without it.") from None
