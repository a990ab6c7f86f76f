"""Finding decisions again, whether they were kept singly or in a segment, and listing them page by page; and the
contracts that they were made under.

Pages go by keyset: page 1,000 costs what page 1 costs, and rows that arrive meanwhile shift nothing.
"""

import base64
import binascii
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    case,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)

from ml_project.errors import InvalidInput
from stores.decisions.records import (
    TRIAL,
    Claim,
    DecisionRecord,
    Found,
    KeptContract,
    Label,
    storable,
    to_found,
    to_label,
    to_record,
)
from stores.decisions.schema import bundles, claims, contracts, labels, predictions, segments
from stores.decisions.segments import APPROVE, EMPTY, ID_LENGTH, ROW_DIGITS, SHARED, locate, read_content, record_at
from stores.sql import one_of

_SEGMENT: Final = select(segments)

_CONTRACTS: Final = "contracts"
"""Where a database connection remembers the contracts of bundles."""


def contracts_of(connection: Connection, bundle_digests: Iterable[str]) -> dict[str, KeptContract]:
    """The contract of each bundle that decided something."""
    known: dict[str, KeptContract] = connection.info.setdefault(_CONTRACTS, {})
    missing = sorted({*bundle_digests} - known.keys())
    if missing:
        joined = select(bundles.c.bundle_digest, contracts).join(
            contracts, contracts.c.digest == bundles.c.contract_digest
        )
        for row in connection.execute(joined.where(one_of(connection, bundles.c.bundle_digest, missing))):
            fields = tuple((name, type_) for name, type_ in row.fields)
            known[row.bundle_digest] = KeptContract(row.name, row.version, row.digest, fields, row.content)
        for digest in missing:
            if digest not in known:
                raise InvalidInput(
                    f"The decision database holds decisions of bundle {digest[:12]} without their contract.",
                    "A gateway of an earlier release wrote them: upgrade it; its next decision records the contract.",
                )
    return known


@dataclass(frozen=True)
class Scope:
    """The decisions of one contract, whatever its version.

    Attributes
    ----------
    prefix : str
        See ``scope`` at the table contracts.
    bundles : list of str
        Digests of the bundles that decided under it.
    alone : bool
        Nothing else is kept in the database: no condition is needed.
    """

    prefix: str
    bundles: list[str]
    alone: bool

    def within(self, connection: Connection, digest: ColumnElement[str]) -> list[ColumnElement[bool]]:
        """Conditions for rows that bear the digest of the bundle that decided."""
        return [] if self.alone else [one_of(connection, digest, self.bundles)]

    def about(self, connection: Connection, prediction_id: ColumnElement[str]) -> list[ColumnElement[bool]]:
        """Conditions for rows that name a prediction, single or bulk."""
        if self.alone:
            return []
        single, bulk = predictions.alias().c, segments.alias().c  # the query may be about these tables, too
        segment_id = func.substr(prediction_id, 1, ID_LENGTH - ROW_DIGITS).concat(EMPTY)
        named = (single, single.prediction_id == prediction_id), (bulk, bulk.segment_id == segment_id)
        mine = [exists().where(same, *self.within(connection, table.bundle_digest)) for table, same in named]
        return [or_(*mine)]


def scope_of(connection: Connection, contract: str | None) -> Scope:
    """Of the contract with a name; None stands for all that is kept."""
    if contract is None:
        return Scope("", [], alone=True)
    joined = select(bundles.c.bundle_digest, contracts.c.name, contracts.c.scope).join(
        contracts, contracts.c.digest == bundles.c.contract_digest
    )
    rows = connection.execute(joined.order_by(bundles.c.bundle_digest)).all()
    mine = [row for row in rows if row.name == contract]
    return Scope(mine[0].scope if mine else contract, [row.bundle_digest for row in mine], len(mine) == len(rows))


def find_all(connection: Connection, prediction_ids: Sequence[str]) -> dict[str, Found]:
    """What is known about each of some predictions; unknown ids are left out."""
    newest = newest_labels(connection, prediction_ids)
    chosen = select(predictions).where(one_of(connection, predictions.c.prediction_id, prediction_ids))
    rows = connection.execute(chosen).all()
    kept = contracts_of(connection, [row.bundle_digest for row in rows])
    found = {
        row.prediction_id: to_found(row._mapping, kept[row.bundle_digest], newest.get(row.prediction_id))
        for row in rows
    }
    elsewhere: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for prediction_id in prediction_ids:
        place = None if prediction_id in found else locate(prediction_id)
        if place is not None:
            elsewhere[place[0]].append((prediction_id, place[1]))
    for segment_id, places in elsewhere.items():
        segment = connection.execute(_SEGMENT.where(segments.c.segment_id == segment_id)).one_or_none()
        if segment is not None:
            inside = [(prediction_id, row) for prediction_id, row in places if row < segment.rows]
            found |= _in_segment(connection, segment, inside, newest)
    return found


def find_records(connection: Connection, prediction_ids: Sequence[str]) -> dict[str, DecisionRecord]:
    """Records alone, by one statement where all were kept singly."""
    chosen = select(predictions).where(one_of(connection, predictions.c.prediction_id, prediction_ids))
    rows = connection.execute(chosen).all()
    kept = contracts_of(connection, [row.bundle_digest for row in rows])
    records = {row.prediction_id: to_record(row._mapping, kept[row.bundle_digest]) for row in rows}
    bulk = [prediction_id for prediction_id in prediction_ids if prediction_id not in records]
    return records | {name: found.record for name, found in find_all(connection, bulk).items()} if bulk else records


def newest_labels(connection: Connection, prediction_ids: Sequence[str]) -> dict[str, Label]:
    """The newest label of each of some predictions, where there is one."""
    chosen = select(labels).where(one_of(connection, labels.c.prediction_id, prediction_ids))
    rows = connection.execute(chosen.order_by(labels.c.label_id))
    return {row.prediction_id: to_label(row._mapping) for row in rows}


def labels_of(connection: Connection, prediction_id: str) -> list[Label]:
    """All labels of a prediction, the oldest first."""
    chosen = select(labels).where(labels.c.prediction_id == prediction_id).order_by(labels.c.label_id)
    return [to_label(row._mapping) for row in connection.execute(chosen)]


def _in_segment(
    connection: Connection, segment: Row[Any], places: list[tuple[str, int]], newest: dict[str, Label]
) -> dict[str, Found]:
    table = read_content(segment.segment_id, segment.content, segment.sha256)
    contract = contracts_of(connection, [segment.bundle_digest])[segment.bundle_digest]
    shared = {name: segment._mapping[name] for name in SHARED}
    found = {}
    for prediction_id, row in places:
        duplicate_of, conflicts_with = (segment.marks or {}).get(str(row), (None, None))
        found[prediction_id] = Found(
            record_at(segment.segment_id, row, contract, shared, table),
            newest.get(prediction_id),
            segment.segment_id,
            segment.spooled,
            duplicate_of,
            conflicts_with,
        )
    return found


MAX_PAGE = 1000


Order = Literal["newest", "riskiest", "expected_loss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFilter:
    """Which decisions, and in which order; None does not filter. Ranges hold their lower end and not their upper.

    Amounts, entities and the order ``expected_loss`` know only what goes to review; without ``source``, trials are left
    out.
    """

    order: Order = "newest"
    decision: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    score_from: float | None = None
    score_below: float | None = None
    labelled: bool | None = None
    for_review: bool | None = None
    model_version: str | None = None
    contract: str | None = None
    source: str | None = None
    key_name: str | None = None
    amount_from: float | None = None
    amount_below: float | None = None
    entity: str | None = None


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
    sorted_by = _ORDERS[wanted.order]
    mine = scope_of(connection, wanted.contract).within(connection, predictions.c.bundle_digest)
    query = select(predictions).where(*_conditions(wanted), *mine, predictions.c.duplicate_of.is_(None))
    if wanted.order == "expected_loss":
        query = query.where(sorted_by.is_not(None))
    if after is not None:
        query = query.where(tuple_(sorted_by, predictions.c.prediction_id) < tuple_(*_decode(after, wanted.order)))
    query = query.order_by(sorted_by.desc(), predictions.c.prediction_id.desc()).limit(limit + 1)
    rows = [row._mapping for row in connection.execute(query)]
    shown = rows[:limit]
    newest = newest_labels(connection, [row["prediction_id"] for row in shown])
    kept = contracts_of(connection, [row["bundle_digest"] for row in shown])
    held = claims_on(connection, [row["prediction_id"] for row in shown])
    items = [
        to_found(row, kept[row["bundle_digest"]], newest.get(row["prediction_id"]), held.get(row["prediction_id"]))
        for row in shown
    ]
    return Page(items, _encode(shown[-1], wanted.order) if len(rows) > limit else None)


_ORDERS: Final = {
    "newest": predictions.c.received_at,
    "riskiest": predictions.c.hybrid_score,
    "expected_loss": predictions.c.expected_loss,
}


@dataclass(frozen=True, slots=True)
class QueueTotals:
    """What waits for review, and what reviewers did since a moment.

    Attributes
    ----------
    waiting, alerts, sample : int
        Without a label: all, the alerts among them, and the approvals drawn at random.
    arrived : int
        Those among them that were received after another moment.
    labelled, labelled_by_reviewer : int
        Predictions labelled since the moment, by anyone and by one reviewer.
    """

    waiting: int
    alerts: int
    sample: int
    arrived: int
    labelled: int
    labelled_by_reviewer: int


def queue_totals(
    connection: Connection, wanted: PageFilter, arrived_after: datetime | None, since: datetime, reviewer: str
) -> QueueTotals:
    """Counts over all that a queue's pages would list."""
    columns = predictions.c
    waiting = replace(wanted, for_review=True, labelled=False)
    mine = scope_of(connection, wanted.contract).within(connection, columns.bundle_digest)
    sampled = func.sum(case((columns.decision == APPROVE, 1), else_=0))
    new = func.sum(case((columns.received_at > arrived_after, 1), else_=0)) if arrived_after else literal(0)
    counted = select(func.count(), sampled, new).where(*_conditions(waiting), *mine, columns.duplicate_of.is_(None))
    total, sample, arrived = (value or 0 for value in connection.execute(counted).one())
    said = select(func.count(labels.c.prediction_id.distinct())).where(labels.c.labelled_at >= since)
    labelled = connection.scalar(said) or 0
    by_reviewer = connection.scalar(said.where(labels.c.reviewer == reviewer)) or 0
    return QueueTotals(total, total - sample, sample, arrived, labelled, by_reviewer)


def claims_on(connection: Connection, prediction_ids: Sequence[str]) -> dict[str, Claim]:
    """Claims in force on some predictions."""
    chosen = one_of(connection, claims.c.prediction_id, prediction_ids), claims.c.expires_at > datetime.now(UTC)
    rows = connection.execute(select(claims).where(*chosen))
    return {row.prediction_id: Claim(row.reviewer, row.expires_at) for row in rows}


def is_alert() -> ColumnElement[bool]:
    """That the decision is another than APPROVE, written out, so that SQLite sees that the index of alerts is meant."""
    return predictions.c.decision != literal_column(f"'{APPROVE}'")


def _conditions(wanted: PageFilter) -> Iterator[ColumnElement[bool]]:
    columns = predictions.c
    if wanted.source is None:
        if not wanted.for_review:  # trials never go to review
            yield columns.source != TRIAL
    else:
        # written out, so that SQLite sees that the index of trials is meant
        yield columns.source == (literal_column("'trial'") if wanted.source == TRIAL else wanted.source)
    if wanted.key_name is not None:
        yield columns.key_name == wanted.key_name
    if wanted.amount_from is not None:
        yield columns.amount >= wanted.amount_from
    if wanted.amount_below is not None:
        yield columns.amount < wanted.amount_below
    if wanted.entity is not None:
        yield columns.entity == wanted.entity
    if wanted.decision is not None:
        # SQLite has no statistics: it would take the index of alerts for better than that of the few labelled ones. An
        # expression has no index.
        yield (columns.decision.concat("") if wanted.labelled else columns.decision) == wanted.decision
        if wanted.decision != APPROVE and not wanted.labelled:
            yield is_alert()
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
        yield columns.labelled if wanted.labelled else ~columns.labelled


def _encode(last: Mapping[Any, Any], order: str) -> str:
    value = last[_ORDERS[order].name]
    value = value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([order, value, last["prediction_id"]]).encode()).decode().rstrip("=")


def _decode(after: str, order: str) -> tuple[datetime | float, str]:
    try:
        name, value, prediction_id = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        if name != order or not isinstance(prediction_id, str) or not storable(prediction_id):
            raise ValueError(name)
        prediction_id.encode()  # JSON can spell halves of characters, which no database takes
        return datetime.fromisoformat(value).astimezone(UTC) if order == "newest" else float(value), prediction_id
    except (ValueError, TypeError, binascii.Error, OverflowError):
        raise InvalidInput("The cursor belongs to another order.", "Start again without it.") from None
