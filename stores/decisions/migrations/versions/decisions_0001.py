"""The first tables: predictions, transactions, segments, labels, keys."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from stores.decisions.schema import UtcDateTime

revision = "0001"
down_revision = None

_ID = sa.String(36)


def upgrade() -> None:
    """Make them; `schema` says what each column is for."""
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
    )
    op.create_index("predictions_newest", "predictions", ["received_at", "prediction_id"])
    op.create_index("predictions_riskiest", "predictions", ["hybrid_score", "prediction_id"])
    op.create_index("predictions_by_decision", "predictions", ["decision", "received_at", "prediction_id"])
    op.create_index("predictions_by_version", "predictions", ["model_version", "received_at", "prediction_id"])
    op.create_table(
        "transactions",
        sa.Column("transaction_id", sa.String(256), primary_key=True),
        sa.Column("prediction_id", _ID, nullable=False),
        sa.Column("payload_digest", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "segments",
        sa.Column("segment_id", _ID, primary_key=True),
        *_shared(),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("marks", sa.JSON),
    )
    op.create_index("segments_newest", "segments", ["received_at", "segment_id"])
    op.create_table(
        "labels",
        sa.Column("label_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("prediction_id", _ID, nullable=False),
        sa.Column("label", sa.SmallInteger, nullable=False),
        sa.Column("labelled_at", UtcDateTime, nullable=False),
        sa.Column("reviewer", sa.String(128), nullable=False),
        sa.Column("source", sa.String(128), nullable=False),
    )
    op.create_index("labels_by_prediction", "labels", ["prediction_id", "label_id"])
    op.create_table(
        "keys",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("sha256", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("revoked_at", UtcDateTime),
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
    ]
