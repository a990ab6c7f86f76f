"""The tables. Alembic's migrations make them; a test holds the two equal."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC on both databases; SQLite alone would drop the zone and mix clocks."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC, and without saying so where the database cannot."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times must have a time zone")
        utc = value if value.tzinfo is UTC else value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Aware again."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()

_ID = String(36)


def _where(condition: str) -> dict[str, Any]:
    """For a partial index: rows that it is not about pay nothing for it."""
    return {f"{dialect}_where": text(condition) for dialect in ("sqlite", "postgresql")}


_LABELLED: Final[dict[str, Any]] = {"sqlite_where": text("labelled = 1"), "postgresql_where": text("labelled")}
"""As SQLAlchemy writes the condition: SQLite takes an index only for the same words."""

_OPEN: Final[dict[str, Any]] = {
    "sqlite_where": text("review_rate IS NOT NULL AND labelled = 0"),
    "postgresql_where": text("review_rate IS NOT NULL AND NOT labelled"),
}


def _shared() -> list[Column[Any]]:
    """What every prediction has and a segment has once for all its rows."""
    return [
        Column("received_at", UtcDateTime, nullable=False),
        Column("alert_threshold", Double, nullable=False),
        Column("decline_threshold", Double, nullable=False),
        Column("model_version", String(64), nullable=False),
        Column("bundle_digest", String(64), nullable=False),
        Column("latency_ms", Double, nullable=False),
        Column("request_id", String(128), nullable=False),
        Column("key_name", String(128)),
        Column("spooled", Boolean, nullable=False, default=False),
        Column("history_partial", Boolean, nullable=False, server_default=false()),
    ]


predictions = Table(
    "predictions",
    metadata,
    Column("prediction_id", _ID, primary_key=True),
    *_shared(),
    Column("transaction_id", String(256)),
    Column("event_time", UtcDateTime),
    # One blob for all inputs (`records.pack_inputs`): exact, a third of their JSON, and one value to bind.
    Column("inputs", LargeBinary, nullable=False),
    Column("isolation_score", Double, nullable=False),
    Column("boosted_score", Double, nullable=False),
    Column("hybrid_score", Double, nullable=False),
    Column("fraud_probability", Double, nullable=False),
    Column("decision", String(16), nullable=False),
    Column("reasons", JSON(none_as_null=True)),
    Column("segment_id", _ID),
    Column("duplicate_of", _ID),
    Column("conflicts_with", _ID),
    Column("review_rate", Double),
    Column("labelled", Boolean, nullable=False, server_default=false()),
    Column("source", String(8), nullable=False, server_default="single"),
    Column("amount", Double),
    Column("expected_loss", Double),
    Column("entity", String(256)),
    Index("predictions_newest", "received_at", "prediction_id"),
    # Every index that holds all rows costs every prediction; these hold what people look through.
    Index("predictions_alerts", "decision", "received_at", "prediction_id", **_where("decision <> 'APPROVE'")),
    Index("predictions_by_event_time", "event_time", "prediction_id", **_where("event_time IS NOT NULL")),
    Index("predictions_review_newest", "received_at", "prediction_id", **_where("review_rate IS NOT NULL")),
    Index("predictions_review_riskiest", "hybrid_score", "prediction_id", **_where("review_rate IS NOT NULL")),
    Index("predictions_labelled_newest", "received_at", "prediction_id", **_LABELLED),
    Index("predictions_labelled_riskiest", "hybrid_score", "prediction_id", **_LABELLED),
    Index("predictions_open_newest", "received_at", "prediction_id", **_OPEN),
    Index("predictions_open_costliest", "expected_loss", "prediction_id", **_OPEN),
    Index("predictions_by_entity", "entity", **_where("entity IS NOT NULL")),
    Index("predictions_trials", "received_at", "prediction_id", **_where("source = 'trial'")),
)
"""Single predictions, and of bulk segments the rows that people look through: alerts and the review sample.

``review_rate`` is the probability with which a prediction like this goes to review: 1 for an alert, the sample's rate
for an approval that was drawn, null for all that is not reviewed. One over it is what a label weighs. ``labelled`` is
whether the table labels has any for it: the few that have are found without reading the others.

``source`` is ``single``, ``batch`` or ``trial``: see `records.Source`. What goes to review also has its ``amount``, its
``expected_loss`` (fraud probability times amount; the probability alone where the contract has no amount) and the key
of the contract's first ``entity``, so that a queue can be put in order, filtered and grouped; null for the others."""

contracts = Table(
    "contracts",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", String(40), nullable=False),
    Column("version", Integer, nullable=False),
    Column("scope", String(40), nullable=False),
    Column("fields", JSON, nullable=False),
    Column("content", Text, nullable=False),
)
"""Every contract that a decision was made under: ``fields`` says what its inputs are, as [[name, type], ...] in the
order in which they are packed, and ``content`` is all of it. ``scope`` sets the transaction_ids of one contract's
clients apart from another's in the table transactions: empty for the database's first contract, else its name."""

bundles = Table(
    "bundles",
    metadata,
    Column("bundle_digest", String(64), primary_key=True),
    Column("contract_digest", String(64), nullable=False),
)
"""The contract of each bundle that decided. A bundle has one, so that its digest, which every decision bears, says
which: nothing more is kept with the decision."""

transactions = Table(
    "transactions",
    metadata,
    Column("transaction_id", String(256), primary_key=True),
    Column("prediction_id", _ID, nullable=False),
    Column("payload_digest", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""The first prediction of every transaction_id, single or bulk: one key that no two writers can both take. The key is
the client's name for it within the scope of its contract: see `writes.transaction_key`."""

segments = Table(
    "segments",
    metadata,
    Column("segment_id", _ID, primary_key=True),
    *_shared(),
    Column("rows", Integer, nullable=False),
    # In the database rather than in files beside it: one commit, one backup, and every gateway can read it.
    Column("content", LargeBinary, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("marks", JSON(none_as_null=True)),
    Column("source", String(8), nullable=False, server_default="batch"),
    Column("first_event_time", UtcDateTime),
    Column("last_event_time", UtcDateTime),
    Index("segments_newest", "received_at", "segment_id"),
    Index("segments_by_event_time", "last_event_time", "first_event_time"),
)
"""Bulk chunks. ``marks`` names rows whose transaction_id was known: ``{row: [duplicate_of, conflicts_with]}``.
The event times are those of the earliest and the latest row; null where no row has one."""

labels = Table(
    "labels",
    metadata,
    Column("label_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    # No foreign key: a label may concern a row inside a segment.
    Column("prediction_id", _ID, nullable=False),
    Column("label", SmallInteger, nullable=False),
    Column("labelled_at", UtcDateTime, nullable=False),
    Column("reviewer", String(128), nullable=False),
    Column("source", String(128), nullable=False),
    Column("note", String(500)),
    Index("labels_by_prediction", "prediction_id", "label_id"),
    Index("labels_by_time", "labelled_at"),
)

claims = Table(
    "claims",
    metadata,
    Column("prediction_id", _ID, primary_key=True),
    Column("reviewer", String(128), nullable=False),
    Column("session", String(64), nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)
"""Who has a prediction open for review, until when: two analysts are not shown the same case. ``session`` tells the
windows of one reviewer apart."""


def _written() -> Column[int]:
    """On PostgreSQL, the transaction that wrote a row: rows appear in another order than they are numbered."""
    return Column("written", BigInteger)


event_series = Table(
    "event_series",
    metadata,
    Column("series_id", Integer, primary_key=True),
    Column("contract", String(40), nullable=False),
    Column("entity", String(64), nullable=False),
    Column("field", String(64), nullable=False),
    Column("words", Boolean, nullable=False),
    UniqueConstraint("contract", "entity", "field", "words", name="event_series_once"),
)
"""What contracts with features from history ask of past transactions; see `event_plan.Series`."""

events = Table(
    "events",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("event_id", String(256), nullable=False, unique=True),
    Column("contract", String(40), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    Column("fraud", SmallInteger, nullable=False),
    _written(),
    Index("events_written", "written", sqlite_where=text("written IS NOT NULL")),
    sqlite_autoincrement=True,
)
"""Every past transaction that history knows, once: its id is that of the table transactions where a client has named
it, else its prediction's. ``at`` counts microseconds since 1970, here and below; ``content`` is
``[[series_id, key, value, word], ...]`` as JSON."""

event_changes = Table(
    "event_changes",
    metadata,
    Column("change_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("seq", BigInteger, nullable=False),
    Column("was", SmallInteger),
    Column("fraud", SmallInteger),
    _written(),
    Index("event_changes_written", "written", sqlite_where=text("written IS NOT NULL")),
    sqlite_autoincrement=True,
)
"""Past transactions that turned out to be something else than they were, for processes that have them in memory.
A null says that they changed in another way: what is in memory has to be read anew."""

key_events = Table(
    "key_events",
    metadata,
    Column("series_id", Integer, primary_key=True, autoincrement=False),
    Column("key", String(128), primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("event", BigInteger, primary_key=True),
    Column("value", BigInteger),
    Column("word", String(256)),
    Column("fraud", SmallInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Past transactions by series and key. ``event`` is `event_plan.event_number`, ``value`` is in minor units."""

shadow_decisions = Table(
    "shadow_decisions",
    metadata,
    # No foreign key: the champion's decision may be a row inside a segment, or in the spool still.
    Column("prediction_id", _ID, primary_key=True),
    Column("received_at", UtcDateTime, nullable=False),
    Column("model_version", String(64), nullable=False),
    Column("bundle_digest", String(64), nullable=False),
    Column("isolation_score", Double, nullable=False),
    Column("boosted_score", Double, nullable=False),
    Column("hybrid_score", Double, nullable=False),
    Column("fraud_probability", Double, nullable=False),
    Column("decision", String(16), nullable=False),
    Index("shadow_decisions_newest", "received_at", "prediction_id"),
)
"""What a challenger would have decided on the champion's prediction of that id, received at that time."""

keys = Table(
    "keys",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("sha256", LargeBinary, nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(256), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("seconds", Double, nullable=False),
)
"""Work that only one process may do at a time, and who does it until when unless it says that it still does.

``seconds`` is how long it was taken for."""
