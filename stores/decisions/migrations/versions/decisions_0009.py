"""Decisions keep whether their features from history were made without the database."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Of what was decided before it is not known; false, as it nearly always was. A gateway before this writes none."""
    for table in ("predictions", "segments"):
        op.add_column(table, sa.Column("history_partial", sa.Boolean, nullable=False, server_default=sa.false()))
