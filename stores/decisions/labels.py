"""What reviewers do: claims on what they have open, and labels, which are never overwritten: the newest counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Connection, delete, insert, select, update

from ml_project.errors import InvalidInput
from stores.decisions.event_plan import event_id
from stores.decisions.events import relabel
from stores.decisions.reads import find_records, scope_of
from stores.decisions.records import storable
from stores.decisions.schema import claims, event_series, labels, predictions
from stores.decisions.writes import existing, first_predictions, transaction_key, trials
from stores.sql import one_of

_ADVISORY_LOCK: Final = 0x6C61626C  # "labl"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelItem:
    """One label, for a prediction or for the first prediction of a transaction."""

    label: int
    prediction_id: str | None = None
    transaction_id: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        if self.label not in (0, 1):
            raise InvalidInput(f"The label is {self.label}.", "Send 1 for fraud or 0 for legitimate.")
        if (self.prediction_id is None) == (self.transaction_id is None):
            raise InvalidInput("A label names either a prediction_id or a transaction_id.")
        if not storable(f"{self.prediction_id or self.transaction_id or ''}{self.note or ''}"):
            raise InvalidInput("An id or a note holds a NUL or a lone surrogate.", "Send the id that the gateway gave.")


@dataclass(frozen=True, slots=True)
class Labelled:
    """What became of an item; ``prediction_id`` is None where it is unknown. A trial takes no label."""

    prediction_id: str | None
    outcome: Literal["added", "unchanged", "unknown", "trial"]


def add_labels(
    connection: Connection,
    items: Sequence[LabelItem],
    reviewer: str,
    source: str,
    labelled_at: datetime,
    contract: str | None,
) -> list[Labelled]:
    """Add labels. The one that this reviewer gave last is not added again: a repeated request changes nothing.

    ``contract`` is the name of the one whose clients gave the transaction_ids.
    """
    if connection.dialect.name == "postgresql":  # two equal requests at once; SQLite has one writer anyway
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
    scope = scope_of(connection, contract).prefix
    keys = {i.transaction_id: transaction_key(scope, i.transaction_id) for i in items if i.transaction_id is not None}
    firsts = first_predictions(connection, list(keys.values()))
    named_by = {name: firsts[key][0] for name, key in keys.items() if key in firsts}
    named = [i.prediction_id for i in items if i.prediction_id is not None]
    known = existing(connection, named) | {*named_by.values()}
    said = _last_words(connection, sorted(known), reviewer)
    tried = trials(connection, sorted(known))
    rows: list[dict[str, Any]] = []
    outcomes: list[Labelled] = []
    for item in items:
        prediction_id = item.prediction_id or named_by.get(item.transaction_id or "")
        if prediction_id is None or prediction_id not in known:
            outcomes.append(Labelled(None, "unknown"))
        elif prediction_id in tried:
            outcomes.append(Labelled(prediction_id, "trial"))
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
                    "note": item.note,
                }
            )
            outcomes.append(Labelled(prediction_id, "added"))
    if rows:
        connection.execute(insert(labels), rows)
        chosen = one_of(connection, predictions.c.prediction_id, sorted({row["prediction_id"] for row in rows}))
        _relabel_events(connection, {row["prediction_id"]: row["label"] for row in rows})
        connection.execute(update(predictions).where(chosen, ~predictions.c.labelled).values(labelled=True))
    return outcomes


@dataclass(frozen=True, slots=True)
class Claimed:
    """What became of a claim: ``taken`` is one that another reviewer or window has, with its name."""

    prediction_id: str
    outcome: Literal["claimed", "taken", "released", "unknown"]
    reviewer: str | None = None
    until: datetime | None = None


def claim(
    connection: Connection, prediction_ids: Sequence[str], reviewer: str, session: str, seconds: float
) -> list[Claimed]:
    """Claim predictions for a reviewer's window for so long from now; with 0 seconds, give them back.

    Claims that have run out are taken away. Of two who claim at once one gets an IntegrityError, and looks again.
    """
    now = datetime.now(UTC)
    connection.execute(delete(claims).where(claims.c.expires_at <= now))
    asked = [name for name in prediction_ids if storable(name)]
    chosen = one_of(connection, claims.c.prediction_id, asked)
    standing = {row.prediction_id: row for row in connection.execute(select(claims).where(chosen))}
    known = existing(connection, asked)
    until = now + timedelta(seconds=seconds)
    outcomes: list[Claimed] = []
    for prediction_id in dict.fromkeys(prediction_ids):
        row = standing.get(prediction_id)
        mine = claims.c.prediction_id == prediction_id
        if prediction_id not in known:
            outcomes.append(Claimed(prediction_id, "unknown"))
        elif row is not None and (row.reviewer, row.session) != (reviewer, session):
            outcomes.append(Claimed(prediction_id, "taken", row.reviewer, row.expires_at))
        elif seconds <= 0:
            connection.execute(delete(claims).where(mine))
            outcomes.append(Claimed(prediction_id, "released"))
        else:
            if row is None:
                new = {"prediction_id": prediction_id, "reviewer": reviewer, "session": session, "expires_at": until}
                connection.execute(insert(claims), new)
            else:
                connection.execute(update(claims).where(mine).values(expires_at=until))
            outcomes.append(Claimed(prediction_id, "claimed", reviewer, until))
    return outcomes


def _relabel_events(connection: Connection, said: Mapping[str, int]) -> None:
    """Let the histories of their keys know what predictions turned out to be."""
    if connection.scalar(select(event_series.c.series_id).limit(1)) is None:
        return
    named = find_records(connection, sorted(said))
    names = {key: event_id(each.contract.name, each.transaction_id, key) for key, each in named.items()}
    relabel(connection, {names[key]: label for key, label in said.items() if key in names})


def _last_words(connection: Connection, prediction_ids: list[str], reviewer: str) -> dict[str, int]:
    chosen = select(labels.c.prediction_id, labels.c.label).where(
        one_of(connection, labels.c.prediction_id, prediction_ids), labels.c.reviewer == reviewer
    )
    rows = connection.execute(chosen.order_by(labels.c.label_id))
    return {row.prediction_id: row.label for row in rows}
