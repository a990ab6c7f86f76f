"""The tables as the first release has them."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from stores.decisions.schema import UtcDateTime

revision = "0001"
down_revision = None

_ID = sa.String(36)
_OPEN = "review_rate IS NOT NULL AND labelled = 0", "review_rate IS NOT NULL AND NOT labelled"
_LABELLED = "labelled = 1", "labelled"
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make them; `schema` says what each column is for."""
    op.create_table(
        "bundles",
        sa.Column("bundle_digest", sa.String(64), primary_key=True),
        sa.Column("contract_digest", sa.String(64), nullable=False),
    )
    op.create_table(
        "claims",
        sa.Column("prediction_id", _ID, primary_key=True),
        sa.Column("reviewer", sa.String(128), nullable=False),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "contracts",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("scope", sa.String(40), nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "event_changes",
        sa.Column("change_id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("was", sa.SmallInteger),
        sa.Column("fraud", sa.SmallInteger),
        sa.Column("written", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("event_changes_written", "event_changes", ["written"], sqlite_where=sa.text("written IS NOT NULL"))
    op.create_table(
        "event_series",
        sa.Column("series_id", sa.Integer, primary_key=True),
        sa.Column("contract", sa.String(40), nullable=False),
        sa.Column("entity", sa.String(64), nullable=False),
        sa.Column("field", sa.String(64), nullable=False),
        sa.Column("words", sa.Boolean, nullable=False),
        sa.UniqueConstraint("contract", "entity", "field", "words", name="event_series_once"),
    )
    op.create_table(
        "events",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.String(256), nullable=False, unique=True),
        sa.Column("contract", sa.String(40), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("fraud", sa.SmallInteger, nullable=False),
        sa.Column("written", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("events_written", "events", ["written"], sqlite_where=sa.text("written IS NOT NULL"))
    op.create_table(
        "key_events",
        sa.Column("series_id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("event", sa.BigInteger, nullable=False),
        sa.Column("value", sa.BigInteger),
        sa.Column("word", sa.String(256)),
        sa.Column("fraud", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("series_id", "key", "at", "event"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "keys",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("sha256", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("revoked_at", UtcDateTime),
    )
    op.create_table(
        "labels",
        sa.Column("label_id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("prediction_id", _ID, nullable=False),
        sa.Column("label", sa.SmallInteger, nullable=False),
        sa.Column("labelled_at", UtcDateTime, nullable=False),
        sa.Column("reviewer", sa.String(128), nullable=False),
        sa.Column("source", sa.String(128), nullable=False),
        sa.Column("note", sa.String(500)),
    )
    op.create_index("labels_by_prediction", "labels", ["prediction_id", "label_id"])
    op.create_index("labels_by_time", "labels", ["labelled_at"])
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(256), nullable=False),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
    )
    op.create_table(
        "predictions",
        sa.Column("prediction_id", _ID, primary_key=True),
        *_shared(),
        sa.Column("transaction_id", sa.String(256)),
        sa.Column("event_time", UtcDateTime),
        sa.Column("inputs", sa.LargeBinary, nullable=False),
        sa.Column("isolation_score", sa.Double, nullable=False),
        sa.Column("boosted_score", sa.Double, nullable=False),
        sa.Column("hybrid_score", sa.Double, nullable=False),
        sa.Column("fraud_probability", sa.Double, nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("reasons", sa.JSON),
        sa.Column("segment_id", _ID),
        sa.Column("duplicate_of", _ID),
        sa.Column("conflicts_with", _ID),
        sa.Column("review_rate", sa.Double),
        sa.Column("labelled", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("source", sa.String(8), server_default="single", nullable=False),
        sa.Column("amount", sa.Double),
        sa.Column("expected_loss", sa.Double),
        sa.Column("entity", sa.String(256)),
    )
    op.create_index(
        "predictions_alerts",
        "predictions",
        ["decision", "received_at", "prediction_id"],
        **_where("decision <> 'APPROVE'"),
    )
    op.create_index("predictions_by_entity", "predictions", ["entity"], **_where("entity IS NOT NULL"))
    op.create_index(
        "predictions_by_event_time", "predictions", ["event_time", "prediction_id"], **_where("event_time IS NOT NULL")
    )
    op.create_index(
        "predictions_labelled_newest", "predictions", ["received_at", "prediction_id"], **_where(*_LABELLED)
    )
    op.create_index(
        "predictions_labelled_riskiest", "predictions", ["hybrid_score", "prediction_id"], **_where(*_LABELLED)
    )
    op.create_index("predictions_newest", "predictions", ["received_at", "prediction_id"])
    op.create_index("predictions_open_costliest", "predictions", ["expected_loss", "prediction_id"], **_where(*_OPEN))
    op.create_index("predictions_open_newest", "predictions", ["received_at", "prediction_id"], **_where(*_OPEN))
    op.create_index(
        "predictions_review_newest",
        "predictions",
        ["received_at", "prediction_id"],
        **_where("review_rate IS NOT NULL"),
    )
    op.create_index(
        "predictions_review_riskiest",
        "predictions",
        ["hybrid_score", "prediction_id"],
        **_where("review_rate IS NOT NULL"),
    )
    op.create_index("predictions_trials", "predictions", ["received_at", "prediction_id"], **_where("source = 'trial'"))
    op.create_table(
        "segments",
        sa.Column("segment_id", _ID, primary_key=True),
        *_shared(),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("marks", sa.JSON),
        sa.Column("source", sa.String(8), server_default="batch", nullable=False),
        sa.Column("first_event_time", UtcDateTime),
        sa.Column("last_event_time", UtcDateTime),
    )
    op.create_index("segments_by_event_time", "segments", ["last_event_time", "first_event_time"])
    op.create_index("segments_newest", "segments", ["received_at", "segment_id"])
    op.create_table(
        "shadow_decisions",
        sa.Column("prediction_id", _ID, primary_key=True),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("bundle_digest", sa.String(64), nullable=False),
        sa.Column("isolation_score", sa.Double, nullable=False),
        sa.Column("boosted_score", sa.Double, nullable=False),
        sa.Column("hybrid_score", sa.Double, nullable=False),
        sa.Column("fraud_probability", sa.Double, nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
    )
    op.create_index("shadow_decisions_newest", "shadow_decisions", ["received_at", "prediction_id"])
    op.create_table(
        "transactions",
        sa.Column("transaction_id", sa.String(256), primary_key=True),
        sa.Column("prediction_id", _ID, nullable=False),
        sa.Column("payload_digest", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


def _shared() -> list[sa.Column[Any]]:
    return [
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("alert_threshold", sa.Double, nullable=False),
        sa.Column("decline_threshold", sa.Double, nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("bundle_digest", sa.String(64), nullable=False),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("key_name", sa.String(128)),
        sa.Column("spooled", sa.Boolean, nullable=False),
        sa.Column("history_partial", sa.Boolean, server_default=sa.false(), nullable=False),
    ]


def _where(sqlite: str, postgresql: str | None = None) -> dict[str, Any]:
    """For a partial index."""
    return {"sqlite_where": sa.text(sqlite), "postgresql_where": sa.text(postgresql or sqlite)}
