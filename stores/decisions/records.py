"""A decision as it is kept and as a row of its table, what the store answers about it, and the errors of keeping it."""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal

from ml_project.errors import FraudError, InvalidInput, Unavailable

_DIGEST_BYTES: Final = 16
_NUMBER_BYTES: Final = 8

Reasons = list[dict[str, Any]]


def pack_inputs(inputs: tuple[float, ...]) -> bytes:
    """The raw fields as little-endian float64: 8 bytes each, and bit for bit what was scored."""
    return _packing(len(inputs)).pack(*inputs)


def unpack_inputs(packed: bytes) -> tuple[float, ...]:
    """Inverse of `pack_inputs`."""
    return _packing(len(packed) // _NUMBER_BYTES).unpack(packed)


@cache
def _packing(fields: int) -> struct.Struct:
    return struct.Struct(f"<{fields}d")


def payload_digest(packed: bytes, event_time: datetime | None) -> bytes:
    """What a second use of a transaction_id is compared by: everything that the client sent, in 16 bytes of BLAKE2b."""
    when = b"" if event_time is None else str(event_time.timestamp()).encode()
    return hashlib.blake2b(packed + when, digest_size=_DIGEST_BYTES).digest()


def storable(text: str) -> bool:
    """Whether every database can hold a text, or be asked for it: no NUL characters, no lone surrogates."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def check_transaction_id(transaction_id: str) -> None:
    """Refuse what PostgreSQL or UTF-8 cannot hold, before it can spoil a whole group.

    Raises
    ------
    InvalidInput
        For NUL characters and lone surrogates.
    """
    if not storable(transaction_id):
        raise InvalidInput("The transaction_id holds a NUL or a lone surrogate.", "Send printable characters.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One scored transaction; ``inputs`` in the order of the contract's raw fields, times with a time zone.

    ``review_rate`` is explained at the table predictions.
    """

    prediction_id: str
    received_at: datetime
    inputs: tuple[float, ...]
    isolation_score: float
    boosted_score: float
    hybrid_score: float
    fraud_probability: float
    alert_threshold: float
    decline_threshold: float
    decision: str
    model_version: str
    bundle_digest: str
    latency_ms: float
    request_id: str
    key_name: str | None = None
    transaction_id: str | None = None
    event_time: datetime | None = None
    reasons: Reasons | None = None
    review_rate: float | None = None

    def __post_init__(self) -> None:
        if self.transaction_id is not None:
            check_transaction_id(self.transaction_id)

    @property
    def payload_digest(self) -> bytes:
        """See `payload_digest`."""
        return payload_digest(pack_inputs(self.inputs), self.event_time)


@dataclass(frozen=True, slots=True)
class Stored:
    """A decision that is kept.

    Attributes
    ----------
    record : DecisionRecord
        What to answer with: for a repeated transaction_id the first record, else the one submitted.
    kept : {'database', 'spool'}
        In the spool the transaction_id could not be compared with earlier ones.
    repeated : bool
        The transaction_id was known, and nothing new was kept.
    """

    record: DecisionRecord
    kept: Literal["database", "spool"] = "database"
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """What a reviewer says that a transaction was: 1 fraud, 0 legitimate."""

    prediction_id: str
    label: int
    labelled_at: datetime
    reviewer: str
    source: str


@dataclass(frozen=True, slots=True)
class Found:
    """A kept decision with all that is known about it.

    Attributes
    ----------
    label : Label or None
        The newest.
    segment_id : str or None
        The bulk segment that holds it.
    spooled : bool
        It was acknowledged while the database was away.
    duplicate_of, conflicts_with : str or None
        The first prediction of the same transaction_id, with the same or with another payload.
    """

    record: DecisionRecord
    label: Label | None = None
    segment_id: str | None = None
    spooled: bool = False
    duplicate_of: str | None = None
    conflicts_with: str | None = None


_FIELDS: Final = tuple(field.name for field in fields(DecisionRecord))
_MARKS: Final[dict[str, Any]] = {"spooled": False, "segment_id": None, "duplicate_of": None, "conflicts_with": None}
_UNLABELLED: Final[dict[str, Any]] = {"labelled": False}


def to_row(record: DecisionRecord, **marks: Any) -> dict[str, Any]:
    """A row of the table predictions."""
    row = {name: getattr(record, name) for name in _FIELDS}
    row["inputs"] = pack_inputs(record.inputs)
    return row | _MARKS | _UNLABELLED | marks


def to_record(row: Mapping[Any, Any]) -> DecisionRecord:
    """The record of a row of the table predictions."""
    return DecisionRecord(**{name: row[name] for name in _FIELDS} | {"inputs": unpack_inputs(row["inputs"])})


def to_found(row: Mapping[Any, Any], label: Label | None) -> Found:
    """The same with all that is known about it."""
    return Found(to_record(row), label, **{name: row[name] for name in _MARKS})


def to_label(row: Mapping[Any, Any]) -> Label:
    """A row of the table labels."""
    return Label(row["prediction_id"], row["label"], row["labelled_at"], row["reviewer"], row["source"])


class Conflict(FraudError):
    """A transaction_id that is already taken by another payload."""

    status = 409


class SpoolFull(Unavailable):
    """Neither the database nor the local disk can take a decision; it must not be acknowledged."""


class DamagedSegment(FraudError):
    """A stored segment whose bytes are not what was written."""


class InvalidKey(FraudError):
    """No key, an unknown one, or a revoked one."""

    status = 401


class MissingScope(FraudError):
    """A good key that may not do this."""

    status = 403
