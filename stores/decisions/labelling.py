"""Labels: what transactions turned out to be. Nothing is overwritten; the newest counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import Connection, insert, select

from ml_project.errors import InvalidInput
from stores.decisions.lookup import existing, first_predictions
from stores.decisions.records import Label
from stores.decisions.rows import one_of, to_label
from stores.decisions.schema import labels

_ADVISORY_LOCK: Final = 0x6C61626C  # "labl"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelItem:
    """One label, for a prediction or for the first prediction of a transaction."""

    label: int
    prediction_id: str | None = None
    transaction_id: str | None = None

    def __post_init__(self) -> None:
        if self.label not in (0, 1):
            raise InvalidInput(f"The label is {self.label}.", "Send 1 for fraud or 0 for legitimate.")
        if (self.prediction_id is None) == (self.transaction_id is None):
            raise InvalidInput("A label names either a prediction_id or a transaction_id.")
        if "\0" in (self.prediction_id or self.transaction_id or ""):
            raise InvalidInput("An id holds a NUL character.")


@dataclass(frozen=True, slots=True)
class Labelled:
    """What became of an item; ``prediction_id`` is None where it is unknown."""

    prediction_id: str | None
    outcome: Literal["added", "unchanged", "unknown"]


def label(
    connection: Connection, items: Sequence[LabelItem], reviewer: str, source: str, labelled_at: datetime
) -> list[Labelled]:
    """Add labels. The one that this reviewer gave last is not added again: a repeated request changes nothing."""
    if connection.dialect.name == "postgresql":  # two equal requests at once; SQLite has one writer anyway
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
    firsts = first_predictions(connection, [i.transaction_id for i in items if i.transaction_id is not None])
    named = [i.prediction_id for i in items if i.prediction_id is not None]
    known = existing(connection, named) | {prediction_id for prediction_id, _digest in firsts.values()}
    said = _last_words(connection, sorted(known), reviewer)
    rows, outcomes = [], []
    for item in items:
        prediction_id = item.prediction_id or firsts.get(item.transaction_id or "", (None,))[0]
        if prediction_id is None or prediction_id not in known:
            outcomes.append(Labelled(None, "unknown"))
        elif said.get(prediction_id) == item.label:
            outcomes.append(Labelled(prediction_id, "unchanged"))
        else:
            said[prediction_id] = item.label
            rows.append(
                {
                    "prediction_id": prediction_id,
                    "label": item.label,
                    "labelled_at": labelled_at,
                    "reviewer": reviewer,
                    "source": source,
                }
            )
            outcomes.append(Labelled(prediction_id, "added"))
    if rows:
        connection.execute(insert(labels), rows)
    return outcomes


def history(connection: Connection, prediction_id: str) -> list[Label]:
    """All labels of a prediction, the oldest first."""
    chosen = select(labels).where(labels.c.prediction_id == prediction_id).order_by(labels.c.label_id)
    return [to_label(row._mapping) for row in connection.execute(chosen)]


def _last_words(connection: Connection, prediction_ids: list[str], reviewer: str) -> dict[str, int]:
    chosen = select(labels.c.prediction_id, labels.c.label).where(
        one_of(connection, labels.c.prediction_id, prediction_ids), labels.c.reviewer == reviewer
    )
    rows = connection.execute(chosen.order_by(labels.c.label_id))
    return {row.prediction_id: row.label for row in rows}
