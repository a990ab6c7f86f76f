"""What became Production, when and why: from the history of moves or, while MLflow is away, from the release pointer.

A module without MLflow: a gateway that goes live by the pointer asks it too.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from stores.aliases import PRODUCTION
from stores.gate_result import verdict
from stores.moves import Record
from stores.releases import Release


@dataclass(frozen=True, slots=True)
class Promoted:
    """One move of Production; what the release pointer does not know of it is None.

    Attributes
    ----------
    kind : str or None
        See `stores.moves.Kind`.
    origin, to : int or None
        The versions before and after.
    gate : str
        See `stores.gate_result.Verdict`.
    outcome : str
        ``done``, ``undone`` or ``unfinished``.
    """

    number: int | None
    kind: str | None
    origin: int | None
    to: int | None
    who: str | None
    asked_by: str | None
    when: datetime
    why: str | None
    gate: str
    outcome: Literal["done", "undone", "unfinished"]


@dataclass(frozen=True, slots=True)
class Promotions:
    """Moves of Production, the newest first, and where they were read."""

    source: Literal["history", "release pointer"]
    moves: tuple[Promoted, ...]


def promotions_in(record: Record) -> Promotions:
    """Those of a history."""
    moves = [
        Promoted(
            entry.number,
            str(entry.move.kind),
            entry.move.before.get(PRODUCTION),
            entry.move.after[PRODUCTION],
            entry.move.who,
            entry.move.asked_by,
            entry.move.when,
            entry.move.why,
            entry.move.gate,
            entry.ending.outcome if entry.ending else "unfinished",
        )
        for entry in reversed(record.entries)
        if PRODUCTION in entry.move.after
    ]
    return Promotions("history", tuple(moves))


def promotion_of(release: Release | None) -> Promotions:
    """The one that a release pointer stands for."""
    if release is None:
        return Promotions("release pointer", ())
    when, gate = release.published_at, verdict(release.gate)
    return Promotions(
        "release pointer", (Promoted(None, None, None, release.version, None, None, when, None, gate, "done"),)
    )
