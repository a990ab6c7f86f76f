"""Decisions bear their source, the review queue has amounts and cases, reviewers claim what they open and add notes.

Approvals, which are nearly all predictions, stand in one index only, by time.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from stores.decisions.reads import contracts_of
from stores.decisions.records import review_values, unpack_inputs

revision = "0010"
down_revision = "0009"

_AT_ONCE = 500
_FILLED = ("amount", "expected_loss", "entity")
_OPEN = "review_rate IS NOT NULL AND labelled = 0", "review_rate IS NOT NULL AND NOT labelled"


def upgrade() -> None:
    """What still waits for review gets its amount and case; one before this writes none, which newest first shows."""
    op.add_column("predictions", sa.Column("source", sa.String(8), nullable=False, server_default="single"))
    op.add_column("segments", sa.Column("source", sa.String(8), nullable=False, server_default="batch"))
    for name, kind in (("amount", sa.Double()), ("expected_loss", sa.Double()), ("entity", sa.String(256))):
        op.add_column("predictions", sa.Column(name, kind))
    op.execute("UPDATE predictions SET source = 'batch' WHERE review_rate IS NOT NULL AND segment_id IS NOT NULL")
    for name, columns, (sqlite, postgresql) in (
        ("open_newest", ["received_at", "prediction_id"], _OPEN),
        ("open_costliest", ["expected_loss", "prediction_id"], _OPEN),
        ("by_entity", ["entity"], ("entity IS NOT NULL",) * 2),
        ("trials", ["received_at", "prediction_id"], ("source = 'trial'",) * 2),
        ("alerts", ["decision", "received_at", "prediction_id"], ("decision <> 'APPROVE'",) * 2),
    ):
        op.create_index(
            f"predictions_{name}",
            "predictions",
            columns,
            sqlite_where=sa.text(sqlite),
            postgresql_where=sa.text(postgresql),
        )
    for name in ("riskiest", "by_decision", "by_version"):
        op.drop_index(f"predictions_{name}", "predictions")
    op.add_column("labels", sa.Column("note", sa.String(500)))
    op.create_index("labels_by_time", "labels", ["labelled_at"])
    op.create_table(
        "claims",
        sa.Column("prediction_id", sa.String(36), primary_key=True),
        sa.Column("reviewer", sa.String(128), nullable=False),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    _fill(op.get_bind())


def _fill(connection: sa.Connection) -> None:
    columns: list[sa.ColumnClause[Any]] = [
        sa.column(name) for name in ("prediction_id", "bundle_digest", "fraud_probability")
    ]
    predictions = sa.table("predictions", *columns, sa.column("inputs", sa.LargeBinary), *map(sa.column, _FILLED))
    name, after = predictions.c.prediction_id, ""
    waiting = sa.select(*columns, predictions.c.inputs).where(sa.text("review_rate IS NOT NULL AND NOT labelled"))
    while True:
        rows = connection.execute(waiting.where(name > after).order_by(name).limit(_AT_ONCE)).all()
        if not rows:
            return
        kept = contracts_of(connection, {row.bundle_digest for row in rows})
        for row in rows:
            contract = kept[row.bundle_digest]
            values = review_values(contract, unpack_inputs(row.inputs, contract), row.fraud_probability)
            connection.execute(sa.update(predictions).where(name == row.prediction_id).values(**values))
        after = rows[-1].prediction_id
