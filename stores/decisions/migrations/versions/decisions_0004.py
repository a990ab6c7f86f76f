"""Approvals go to review, too."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Alerts always went to review; no approval was drawn before this, so that null is right for them."""
    op.add_column("predictions", sa.Column("review_rate", sa.Double))
    op.execute("UPDATE predictions SET review_rate = 1 WHERE decision IN ('REVIEW', 'DECLINE')")
    for name, column in (("newest", "received_at"), ("riskiest", "hybrid_score")):
        op.create_index(
            f"predictions_review_{name}",
            "predictions",
            [column, "prediction_id"],
            sqlite_where=sa.text("review_rate IS NOT NULL"),
            postgresql_where=sa.text("review_rate IS NOT NULL"),
        )
