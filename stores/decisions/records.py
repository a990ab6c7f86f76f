"""A decision as it is kept and as a row of its table, what the store answers about it, and the errors of keeping it.

What was scored is kept as 8 bytes for every number, and a JSON list for texts; which fields these are says the contract
that was in force, and contracts are kept, too: see `KeptContract`.
"""

import hashlib
import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ml_project.columns import coder
from ml_project.contract import Contract
from ml_project.errors import FraudError, InvalidInput, Unavailable

_DIGEST_BYTES: Final = 16
_NUMBER_BYTES: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Reasons = list[dict[str, Any]]

Source = Literal["single", "batch", "trial"]
"""How a transaction came: alone, among others, or to try the gateway out.

A trial is no traffic: it takes no transaction_id, enters no key's history, goes to no reviewer, and neither monitoring
nor retraining sees it.
"""

TRIAL: Final = "trial"


Value = float | str | None
"""Of a field: a text or None where the field is of the types `TEXTS`, else a number, NaN where it is missing."""

TEXTS: Final = frozenset(("category", "string"))
"""Types of fields whose values are kept as text. All others are kept as the number that was scored."""


@dataclass(frozen=True)
class KeptContract:
    """A contract as the database keeps it: what kept inputs are, whatever software reads them.

    Attributes
    ----------
    fields : tuple of (str, str)
        Name and type of each field that was scored, in order; then those of entities, which are strings.
    content : str
        The whole contract as JSON.
    """

    name: str
    version: int
    digest: str
    fields: tuple[tuple[str, str], ...]
    content: str

    @staticmethod
    @cache
    def of(contract: Contract) -> "KeptContract":
        """What is kept of a contract."""
        fields = tuple((field.name, field.type) for field in contract.kept_fields)
        content = json.dumps(contract.to_dict(), sort_keys=True)
        return KeptContract(contract.contract, contract.version, contract.digest, fields, content)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the fields."""
        return tuple(name for name, _type in self.fields)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Places of the fields that are kept as numbers."""
        return tuple(place for place, (_name, type_) in enumerate(self.fields) if type_ not in TEXTS)

    @cached_property
    def texts(self) -> tuple[int, ...]:
        """Places of the fields that are kept as texts."""
        return tuple(place for place, (_name, type_) in enumerate(self.fields) if type_ in TEXTS)

    @cached_property
    def scored(self) -> list[int]:
        """Places of the fields that were scored: strings are not."""
        return [place for place, (_name, type_) in enumerate(self.fields) if type_ != "string"]

    @cached_property
    def contract(self) -> Contract:
        """The contract itself."""
        return Contract.model_validate_json(self.content)

    @cached_property
    def computed(self) -> tuple[int, ...]:
        """Places of the features from history: they were scored, but no client sent them."""
        names = {feature.name for feature in self.contract.history} if '"by"' in self.content else set()
        return tuple(place for place, name in enumerate(self.names) if name in names)

    @cached_property
    def amount_place(self) -> tuple[int, float] | None:
        """Place of the amount, and how many of its units make one of the currency; None without one."""
        for field in json.loads(self.content).get("fields", ()):
            if field.get("role") == "amount" and field["name"] in self.names:
                return self.names.index(field["name"]), float(10 ** (field.get("decimals") or 0))
        return None

    @cached_property
    def entity_place(self) -> int | None:
        """Place of the first entity; None without one."""
        fields = json.loads(self.content).get("fields", ())
        names = [field["name"] for field in fields if field.get("role") == "entity" and field["name"] in self.names]
        return self.names.index(names[0]) if names else None

    @cached_property
    def coders(self) -> dict[int, Callable[[str], float]]:
        """By place of a category, what turns a text into the number that was scored."""
        values = {field["name"]: field.get("values", ()) for field in json.loads(self.content)["fields"]}
        return {place: coder(values[name]) for place, (name, type_) in enumerate(self.fields) if type_ == "category"}

    @cached_property
    def number_bytes(self) -> int:
        """How many bytes of packed inputs are numbers."""
        return len(self.numbers) * _NUMBER_BYTES


def pack_inputs(inputs: tuple[Value, ...], contract: KeptContract) -> bytes:
    """What was scored, exactly: the numbers as little-endian float64, then the texts, if there are any, as JSON."""
    if not contract.texts:
        return _packing(len(inputs)).pack(*inputs)
    numbers = _packing(len(contract.numbers)).pack(*(inputs[place] for place in contract.numbers))
    return numbers + packed_texts([inputs[place] for place in contract.texts])


def packed_texts(texts: Sequence[Value]) -> bytes:
    """The texts of packed inputs, in the order of ``contract.texts``."""
    return _TEXT_ENCODER.encode(texts).encode()


_TEXT_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)  # json.dumps makes one for each call


def unpack_inputs(packed: bytes, contract: KeptContract) -> tuple[Value, ...]:
    """Inverse of `pack_inputs`."""
    numbers = _packing(len(contract.numbers)).unpack_from(packed)
    if not contract.texts:
        return numbers
    texts = json.loads(packed[contract.number_bytes :])
    placed = {**dict(zip(contract.numbers, numbers, strict=True)), **dict(zip(contract.texts, texts, strict=True))}
    return tuple(placed[place] for place in range(len(contract.fields)))


@cache
def _packing(fields: int) -> struct.Struct:
    return struct.Struct(f"<{fields}d")


def sent_inputs(inputs: tuple[Value, ...], contract: KeptContract) -> tuple[Value, ...]:
    """The inputs with nothing in the places that no client fills."""
    if not contract.computed:
        return inputs
    sent = list(inputs)
    for place in contract.computed:
        sent[place] = 0.0
    return tuple(sent)


def payload_digest(packed: bytes, event_time: datetime | None) -> bytes:
    """What a second use of a transaction_id is compared by: everything that the client sent, in 16 bytes of BLAKE2b."""
    when = b"" if event_time is None else str(event_time.timestamp()).encode()
    return hashlib.blake2b(packed + when, digest_size=_DIGEST_BYTES).digest()


KEYLESS: Final = b"erased:"
"""What the digest of a payload without its keys begins with."""


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


def unpack_scored(packed: Sequence[bytes], contract: KeptContract) -> NDArray[np.float64]:
    """What was scored (n, scored) of several packed inputs under one contract."""
    raw = np.full((len(packed), len(contract.fields)), np.nan)
    numbers = np.frombuffer(b"".join(content[: contract.number_bytes] for content in packed), dtype="<f8")
    raw[:, contract.numbers] = numbers.reshape(len(packed), -1)
    if not contract.texts:
        return raw
    texts = [json.loads(content[contract.number_bytes :]) for content in packed]
    return scored_values(raw, dict(zip(contract.texts, zip(*texts, strict=True), strict=True)), contract)


def scored_values(
    numbers: NDArray[np.float64], texts: Mapping[int, Sequence[str | None]], contract: KeptContract
) -> NDArray[np.float64]:
    """What was scored (n, scored) of kept values: numbers (n, fields), and texts by place."""
    for place, code in contract.coders.items():
        numbers[:, place] = [np.nan if value is None else code(value) for value in texts[place]]
    return numbers[:, contract.scored]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One scored transaction; ``inputs`` in the order of the contract's fields, times with a time zone.

    ``review_rate`` is explained at the table predictions; ``history_partial`` says that the database was unreachable:
    features from history are made only of what one gateway remembered.
    """

    contract: KeptContract

    prediction_id: str
    received_at: datetime
    inputs: tuple[Value, ...]
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
    history_partial: bool = False
    source: Source = "single"

    def __post_init__(self) -> None:
        if self.transaction_id is not None:
            check_transaction_id(self.transaction_id)

    @property
    def values(self) -> dict[str, float | int | bool | str | None]:
        """The inputs by field, each of its field's type; None where one is missing."""
        return {
            name: _typed(value, type_) for (name, type_), value in zip(self.contract.fields, self.inputs, strict=True)
        }

    @property
    def sent(self) -> dict[str, float | int | bool | str | None]:
        """Those of the inputs that a client sent."""
        computed = {self.contract.names[place] for place in self.contract.computed}
        return {name: value for name, value in self.values.items() if name not in computed}

    @property
    def scored(self) -> list[float]:
        """The inputs as the bundle scored them, in the contract's order."""
        scored: list[float] = unpack_scored([pack_inputs(self.inputs, self.contract)], self.contract)[0].tolist()
        return scored

    @property
    def payload_digest(self) -> bytes:
        """See `payload_digest`."""
        return payload_digest(pack_inputs(sent_inputs(self.inputs, self.contract), self.contract), self.event_time)

    @property
    def keyless_digest(self) -> bytes:
        """The same without the names of entities, marked as such: what is kept once one of them was erased.

        The digest with the name would tell it to anyone who tries names.
        """
        nameless = {place for place, (_name, type_) in enumerate(self.contract.fields) if type_ == "string"}
        inputs = tuple(None if place in nameless else value for place, value in enumerate(self.inputs))
        return KEYLESS + replace(self, inputs=inputs).payload_digest


def _typed(value: Value, type_: str) -> float | int | bool | str | None:
    if not isinstance(value, float) or math.isnan(value):
        return value if isinstance(value, str) else None
    if type_ == "timestamp":
        return (_EPOCH + timedelta(microseconds=round(value * 1e6))).isoformat()
    if type_ == "boolean":
        return bool(value)
    return int(value) if type_ == "integer" else value


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
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """That a reviewer has a prediction open, until a moment."""

    reviewer: str
    until: datetime


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
        It was acknowledged while the database was unreachable.
    duplicate_of, conflicts_with : str or None
        The first prediction of the same transaction_id, with the same or with another payload.
    claim : Claim or None
        Of the reviewer who has it open; pages say so.
    """

    record: DecisionRecord
    label: Label | None = None
    segment_id: str | None = None
    spooled: bool = False
    duplicate_of: str | None = None
    conflicts_with: str | None = None
    claim: Claim | None = None


_FIELDS: Final = tuple(field.name for field in fields(DecisionRecord) if field.name != "contract")
_MARKS: Final[dict[str, Any]] = {"spooled": False, "segment_id": None, "duplicate_of": None, "conflicts_with": None}
_UNLABELLED: Final[dict[str, Any]] = {"labelled": False}


def to_row(record: DecisionRecord, **marks: Any) -> dict[str, Any]:
    """A row of the table predictions."""
    row = {name: getattr(record, name) for name in _FIELDS}
    row["inputs"] = pack_inputs(record.inputs, record.contract)
    reviewed = _NOT_REVIEWED
    if record.review_rate is not None:
        reviewed = review_values(record.contract, record.inputs, record.fraud_probability)
    return row | _MARKS | _UNLABELLED | reviewed | marks


_NOT_REVIEWED: Final[dict[str, Any]] = {"amount": None, "expected_loss": None, "entity": None}


def review_values(contract: KeptContract, inputs: Sequence[Value], fraud_probability: float) -> dict[str, Any]:
    """What the review queue is put in order, filtered and grouped by; see the table predictions."""
    amount, entity = None, None
    if (known := contract.amount_place) is not None:
        place, units = known
        value = inputs[place]
        amount = value / units if isinstance(value, float) and math.isfinite(value) else None
    if contract.entity_place is not None:
        key = inputs[contract.entity_place]
        entity = key if isinstance(key, str) else None
    loss = fraud_probability * (1.0 if known is None else amount or 0.0)
    return {"amount": amount, "expected_loss": loss, "entity": entity}


def to_record(row: Mapping[Any, Any], contract: KeptContract) -> DecisionRecord:
    """The record of a row of the table predictions."""
    inputs = unpack_inputs(row["inputs"], contract)
    return DecisionRecord(contract=contract, **{name: row[name] for name in _FIELDS} | {"inputs": inputs})


def to_found(row: Mapping[Any, Any], contract: KeptContract, label: Label | None, claim: Claim | None = None) -> Found:
    """The same with all that is known about it."""
    return Found(to_record(row, contract), label, claim=claim, **{name: row[name] for name in _MARKS})


def to_label(row: Mapping[Any, Any]) -> Label:
    """A row of the table labels."""
    return Label(**{field.name: row[field.name] for field in fields(Label)})


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
