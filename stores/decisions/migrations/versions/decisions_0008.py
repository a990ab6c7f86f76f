"""Past transactions by key, for features from history."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Nothing had features from history before: the tables begin empty."""
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
        sa.Column("event_id", sa.String(256), primary_key=True),
        sa.Column("contract", sa.String(40), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("keys", sa.JSON, nullable=False),
        sa.Column("fraud", sa.SmallInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("events_by_time", "events", ["at"])
    op.create_table(
        "key_events",
        sa.Column("series_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True),
        sa.Column("event_id", sa.String(256), primary_key=True),
        sa.Column("value", sa.BigInteger),
        sa.Column("word", sa.String(256)),
        sa.Column("fraud", sa.SmallInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "key_tiles",
        sa.Column("series_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("length", sa.BigInteger, primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True),
        sa.Column("transactions", sa.BigInteger, nullable=False),
        sa.Column("present", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("largest", sa.BigInteger),
        sa.Column("frauds", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
