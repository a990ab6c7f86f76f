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
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "events",
        sa.Column("seq", number, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.String(256), nullable=False, unique=True),
        sa.Column("contract", sa.String(40), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("fraud", sa.SmallInteger, nullable=False),
        sa.Column("written", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "event_changes",
        sa.Column("change_id", number, primary_key=True, autoincrement=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("was", sa.SmallInteger),
        sa.Column("fraud", sa.SmallInteger),
        sa.Column("written", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    for table in ("events", "event_changes"):
        op.create_index(f"{table}_written", table, ["written"], sqlite_where=sa.text("written IS NOT NULL"))
    op.create_table(
        "key_events",
        sa.Column("series_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True),
        sa.Column("event", sa.BigInteger, primary_key=True),
        sa.Column("value", sa.BigInteger),
        sa.Column("word", sa.String(256)),
        sa.Column("fraud", sa.SmallInteger, nullable=False),
        sqlite_with_rowid=False,
    )
