"""Labelled predictions are found by an index, and a lease says for how long it was taken."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """A gateway of the release before may go on writing: it leaves both columns to the database."""
    op.add_column("predictions", sa.Column("labelled", sa.Boolean, nullable=False, server_default=sa.false()))
    # Ids of bulk rows were once taken in capitals, too, and then named no row.
    op.execute("UPDATE labels SET prediction_id = lower(prediction_id) WHERE prediction_id <> lower(prediction_id)")
    op.execute("UPDATE predictions SET labelled = true WHERE prediction_id IN (SELECT prediction_id FROM labels)")
    for name, column in (("newest", "received_at"), ("riskiest", "hybrid_score")):
        op.create_index(
            f"predictions_labelled_{name}",
            "predictions",
            [column, "prediction_id"],
            sqlite_where=sa.text("labelled = 1"),
            postgresql_where=sa.text("labelled"),
        )
    op.add_column("leases", sa.Column("seconds", sa.Double))
