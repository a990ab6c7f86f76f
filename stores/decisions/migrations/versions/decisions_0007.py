"""Contracts are kept beside the decisions that were made under them."""

import sqlalchemy as sa
from alembic import op

from ml_project.contract_file import contract_named
from ml_project.errors import InvalidInput
from stores.decisions.records import KeptContract
from stores.decisions.schema import bundles, contracts
from stores.decisions.segments import raw_fields_of, read_content

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """What was decided before was decided on the public table's fields, packed as they are now: no row is rewritten.

    A gateway of the release before may go on writing: its bundles are known by then.
    """
    op.create_table(
        "contracts",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("scope", sa.String(40), nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "bundles",
        sa.Column("bundle_digest", sa.String(64), primary_key=True),
        sa.Column("contract_digest", sa.String(64), nullable=False),
    )
    connection = op.get_bind()
    decided = sa.text("SELECT bundle_digest FROM predictions UNION SELECT bundle_digest FROM segments")
    known = list(connection.scalars(decided))
    if not known:
        return
    kept = KeptContract.of(contract_named())
    _require_fields(connection, known, kept)
    said = {"digest": kept.digest, "name": kept.name, "version": kept.version, "scope": "", "content": kept.content}
    op.bulk_insert(contracts, [{**said, "fields": kept.fields}])
    op.bulk_insert(bundles, [{"bundle_digest": digest, "contract_digest": kept.digest} for digest in known])


def _require_fields(connection: sa.Connection, digests: list[str], kept: KeptContract) -> None:
    packed = sa.text("SELECT 1 FROM predictions WHERE length(inputs) <> :bytes LIMIT 1")
    other = connection.scalar(packed, {"bytes": kept.number_bytes}) is not None
    one = sa.text("SELECT segment_id, content, sha256 FROM segments WHERE bundle_digest = :digest LIMIT 1")
    for digest in digests:
        segment = connection.execute(one, {"digest": digest}).one_or_none()
        other |= segment is not None and raw_fields_of(read_content(*segment)) != list(kept.names)
    if other:
        raise InvalidInput(
            "The decision database holds decisions on another table than the public one, kept without their contract.",
            "Export them with the release that made them, and point FRAUD_DATABASE_URL at a new database.",
        )
