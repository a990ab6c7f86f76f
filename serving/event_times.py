"""Which event times the gateway believes; the bounds are `stores.settings.PlatformSettings`'s.

A kept decision is a row of a later training, which is split by these times.
"""

from datetime import datetime

import numpy as np

from ml_project.event_times import EventTimeBounds
from ml_project.schema import EVENT_TIME
from serving.errors import FieldError, InvalidFields
from serving.transactions import Chunk, Transactions


def require_believable(transactions: Transactions, bounds: EventTimeBounds) -> None:
    """Refuse transactions of which one cannot have happened when it says.

    Raises
    ------
    InvalidFields
        Naming the bounds.
    """
    if _outside(transactions.event_times, bounds):
        raise InvalidFields([{"field": EVENT_TIME, "message": _message(bounds)}])


def believable(chunk: Chunk, bounds: EventTimeBounds) -> Chunk:
    """The chunk, its rows of impossible times among its errors."""
    places = _outside(chunk.transactions.event_times, bounds)
    if not places:
        return chunk
    faults: list[FieldError] = [
        {"row": int(chunk.rows[place]), "field": EVENT_TIME, "message": _message(bounds)} for place in places
    ]
    kept = np.setdiff1d(np.arange(len(chunk.rows)), places)
    errors = sorted([*chunk.errors, *faults], key=lambda error: error["row"])
    return Chunk(chunk.transactions.take(kept.tolist()), chunk.rows[kept], errors)


def _outside(times: list[datetime | None], bounds: EventTimeBounds) -> list[int]:
    return [place for place, moment in enumerate(times) if moment is not None and moment not in bounds]


def _message(bounds: EventTimeBounds) -> str:
    return f"Event time should lie {bounds}"
