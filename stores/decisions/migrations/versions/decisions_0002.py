"""Decisions can be read by event time."""

import sqlalchemy as sa
from alembic import op

from stores.decisions.schema import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """No gateway took event times before this, so that the new columns of old segments are rightly null."""
    op.create_index(
        "predictions_by_event_time",
        "predictions",
        ["event_time", "prediction_id"],
        sqlite_where=sa.text("event_time IS NOT NULL"),
        postgresql_where=sa.text("event_time IS NOT NULL"),
    )
    op.add_column("segments", sa.Column("first_event_time", UtcDateTime))
    op.add_column("segments", sa.Column("last_event_time", UtcDateTime))
    op.create_index("segments_by_event_time", "segments", ["last_event_time", "first_event_time"])
