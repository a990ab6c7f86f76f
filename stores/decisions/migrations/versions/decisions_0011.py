"""Approvals, which are nearly all predictions, stand in one index only, by time."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Alerts keep an index by decision; by version and by score, approvals are found within a time."""
    for name in ("riskiest", "by_decision", "by_version"):
        op.drop_index(f"predictions_{name}", "predictions")
    alerts = sa.text("decision <> 'APPROVE'")
    columns = ["decision", "received_at", "prediction_id"]
    op.create_index("predictions_alerts", "predictions", columns, sqlite_where=alerts, postgresql_where=alerts)
