"""What a challenger would have decided."""

import sqlalchemy as sa
from alembic import op

from stores.decisions.schema import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """A separate table: no reader of decisions can take a challenger's for an answer that was given."""
    op.create_table(
        "shadow_decisions",
        sa.Column("prediction_id", sa.String(36), primary_key=True),
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
