"""Work that only one process may do at a time."""

import sqlalchemy as sa
from alembic import op

from stores.decisions.schema import UtcDateTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """In the database, which every machine shares that learns from it."""
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(256), nullable=False),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
    )
