"""A data contract: what a transaction's fields are, and which features the model sees of them.

Everything else that has to know a column's name asks here: cleaning, files, requests, the graph's inputs, drift. A
contract is data; `ml_project.contract_file` reads it as people write it (YAML), every bundle keeps it as JSON.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Constrained

from ml_project.features import OPERATORS, ListOperator, Operator

OUTPUTS: Final = ("isolation_score", "boosted_score", "hybrid_score", "fraud_probability")
"""What the ensemble's graph gives, in order, whatever the contract."""

MAX_MAGNITUDE: Final = 1e15
"""Largest value of a number: features hold squares of them in float32, which ends at 3.4e38."""

Role = Literal["time", "event_time", "amount", "weight", "transaction_id"]

_TYPE_OF_ROLE: Final[Mapping[str, str]] = {
    "time": "number",
    "event_time": "timestamp",
    "amount": "number",
    "weight": "number",
    "transaction_id": "string",
}
_BESIDE_THE_MODEL: Final = frozenset({"event_time", "weight", "transaction_id"})
"""Roles of fields that describe a row and are no part of what is scored; a client may leave them out."""

_OWN_NAMES: Final[Mapping[str, str]] = {
    "event_time": "event_time",
    "weight": "sampling_weight",
    "transaction_id": "transaction_id",
}
"""What these fields are called where a contract gives no field the role: any table and request may have them."""

RESERVED: Final = frozenset(
    (
        *OUTPUTS,
        *("prediction_id", "received_at", "alert_threshold", "decline_threshold", "decision", "reasons"),
        *("model_version", "bundle_digest", "latency_ms", "request_id", "key_name", "segment_id", "spooled"),
        *("duplicate_of", "conflicts_with", "review_rate", "label", "labelled_at", "reviewer"),
    )
)
"""Names that tables of decisions use for their own columns."""

_NOT_OF_XGBOOST: Final = frozenset("[]<")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)


class ContractField(_Part):
    """A column of a table and a member of a request."""

    name: str = Constrained(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")
    type: Literal["number", "timestamp", "string"]
    role: Role | None = None
    required: bool = True
    minimum: float | None = None
    maximum: float | None = None
    expected: tuple[float, float] | None = None
    """What the values of a training table lie within; validated, while minimum and maximum refuse single values."""
    example: float = 0.0
    """An ordinary value, for the API's description."""
    description: str = ""

    @property
    def scored(self) -> bool:
        """Whether it is a part of what the model scores."""
        return self.role not in _BESIDE_THE_MODEL


class Label(_Part):
    """What a transaction turned out to be."""

    field: str = Constrained(min_length=1, max_length=64)
    positive: Literal[1] = 1
    expected_rate: tuple[float, float] = (1e-5, 0.5)
    """What the share of frauds in a training table lies within."""


class Feature(_Part):
    """An input of the ensemble.

    Attributes
    ----------
    operator, of
        A key of ``features.OPERATORS``, and the fields or earlier features that it takes; a name that is both means
        the field.
    above, between
        Makes it 1 where its value is above a limit, or within two (both included), else 0.
    description : str
        It in words, for reasons.
    left_out : str
        Why the trees do not see it; empty where they do.
    monotone : {'none', 'learnt', 'increasing', 'decreasing'}
        Whether the score may only rise or only fall with it; learnt: see ``BoosterSettings.monotone_auc``.
    """

    name: str = Constrained(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")
    operator: str
    of: tuple[str, ...]
    above: float | None = None
    between: tuple[float, float] | None = None
    description: str = ""
    left_out: str = ""
    monotone: Literal["none", "learnt", "increasing", "decreasing"] = "none"

    @property
    def is_field(self) -> bool:
        """Whether it is what it is made of, unchanged."""
        return self.operator == "value" and not self.tested

    @property
    def tested(self) -> bool:
        """Whether it says 1 or 0."""
        return self.above is not None or self.between is not None


@dataclass(frozen=True)
class ContractFault:
    """Something in a contract that cannot be meant.

    Attributes
    ----------
    place : tuple of str
        Where: ``fields``, ``label`` or ``features``, and the name there.
    """

    place: tuple[str, ...]
    cause: str
    remedy: str


class Contract(_Part):
    """Immutable; equal where the digest is."""

    contract: str = Constrained(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    version: int = Constrained(1, ge=1)
    fields: tuple[ContractField, ...] = Constrained(min_length=1, max_length=2_000)
    label: Label
    features: tuple[Feature, ...] = Constrained(min_length=1, max_length=4_000)
    limits: tuple[str, ...] = ()
    """What scores of such transactions are not good for: a part of every model card."""

    @model_validator(mode="after")
    def _consistent(self) -> "Contract":
        for fault in contract_faults(self.fields, self.label, self.features):
            raise ValueError(f"{'.'.join(fault.place)[:100]}: {fault.cause}")
        return self

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The canonical form: JSON with every name written out, and nothing that is a default."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Contract) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __str__(self) -> str:
        return f"{self.contract}, version {self.version}"

    @cached_property
    def scored_fields(self) -> tuple[ContractField, ...]:
        """The fields that a transaction needs to be scored, in order."""
        return tuple(field for field in self.fields if field.scored)

    @cached_property
    def raw_fields(self) -> tuple[str, ...]:
        """Their names: the columns of every array of raw transactions."""
        return tuple(field.name for field in self.scored_fields)

    def scores_same(self, other: "Contract") -> bool:
        """Whether both have one name, and the same raw fields: only then one's transactions can be the other's."""
        mine, theirs = ([(each.name, each.type) for each in contract.scored_fields] for contract in (self, other))
        return self.contract == other.contract and mine == theirs

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The ensemble's inputs, in the order of the bundle's input tensor."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def engineered(self) -> tuple[str, ...]:
        """Features that are not named as a field; a client's own values for them are never used."""
        return tuple(name for name in self.feature_names if name not in self.raw_fields)

    @cached_property
    def left_out(self) -> tuple[str, ...]:
        """Features that the trees do not see."""
        return tuple(feature.name for feature in self.features if feature.left_out)

    @cached_property
    def scaled_features(self) -> dict[str, int]:
        """Features that need the scale of a field, and that field's place."""
        return {
            feature.name: self.raw_fields.index(feature.of[0])
            for feature in self.features
            if getattr(OPERATORS[feature.operator], "scaled", False)
        }

    @cached_property
    def clock(self) -> str | None:
        """The feature that holds the hour of day, which drift compares within; None where none does."""
        hours = (each.name for each in self.features if each.operator == "hour_of_day" and not each.tested)
        return next(hours, None)

    def made_of(self, feature: Feature) -> tuple[str, ...]:
        """The earlier features that it takes."""
        return tuple(argument for argument in feature.of if argument not in self.raw_fields)

    def places(self, features: Iterable[str]) -> list[int]:
        """Where features stand among the inputs."""
        return [self.feature_names.index(name) for name in features]

    @cached_property
    def _by_role(self) -> dict[str, ContractField]:
        return {field.role: field for field in self.fields if field.role}

    def _name_of(self, role: Role) -> str:
        return self._by_role[role].name if role in self._by_role else _OWN_NAMES[role]

    @cached_property
    def time(self) -> str:
        """The number of seconds that orders rows without an event time."""
        return self._name_of("time")

    @cached_property
    def amount(self) -> str:
        """The field with the amount."""
        return self._name_of("amount")

    @cached_property
    def time_place(self) -> int:
        """Where the time stands among the raw fields."""
        return self.raw_fields.index(self.time)

    @cached_property
    def amount_place(self) -> int:
        """Where the amount stands among the raw fields."""
        return self.raw_fields.index(self.amount)

    @cached_property
    def event_time(self) -> str:
        """The field with the moment that it happened."""
        return self._name_of("event_time")

    @cached_property
    def weight(self) -> str:
        """The field with the sampling weight: a row kept with probability p counts 1/p."""
        return self._name_of("weight")

    @cached_property
    def transaction_id(self) -> str:
        """The field with the client's own name of the transaction."""
        return self._name_of("transaction_id")

    @cached_property
    def label_field(self) -> str:
        """The column with the label."""
        return self.label.field

    @cached_property
    def labelled_columns(self) -> tuple[str, ...]:
        """What a training table must have: the raw fields and the label."""
        return (*self.raw_fields, self.label_field)

    @cached_property
    def known_columns(self) -> tuple[str, ...]:
        """Every column that any reader has a use for or leaves out on purpose."""
        beside = self.weight, self.event_time, self.transaction_id
        return (*self.labelled_columns, *beside, *self.engineered)

    @cached_property
    def clean_columns(self) -> tuple[str, ...]:
        """Columns of every clean table, in order, all of them numbers; the event time follows where the data has it."""
        return (*self.labelled_columns, self.weight)

    @cached_property
    def _least(self) -> NDArray[np.float64]:
        given = [field.minimum for field in self.scored_fields]
        return np.array([-MAX_MAGNITUDE if low is None else low for low in given])

    @cached_property
    def _most(self) -> NDArray[np.float64]:
        given = [field.maximum for field in self.scored_fields]
        return np.array([MAX_MAGNITUDE if high is None else high for high in given])

    def unusable(self, raw: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which values of raw transactions (n, fields) cannot be scored: no number, infinite, or out of range."""
        bad: NDArray[np.bool_] = ~((raw >= self._least) & (raw <= self._most))
        return bad

    def fault(self, place: int, value: float) -> str:
        """What is wrong with an unusable value that is there, of the raw field at a place, in words."""
        if not np.isfinite(value):
            return "not finite"
        if abs(value) > MAX_MAGNITUDE:
            return f"above {MAX_MAGNITUDE:g} in size"
        low, high = self._least[place], self._most[place]
        if value < low:
            return "negative" if low == 0 else f"below {low:g}"
        return f"above {high:g}"


def contract_faults(
    fields: Sequence[ContractField], label: Label, features: Sequence[Feature]
) -> Iterator[ContractFault]:
    """What cannot be meant, beyond the form of each part."""
    yield from _field_faults(fields, label)
    raw = {field.name: field for field in fields if field.scored}
    earlier: set[str] = set()
    for feature in features:
        for cause, remedy in _feature_faults(feature, raw, {field.name for field in fields}, earlier):
            yield ContractFault(("features", feature.name), cause, remedy)
        earlier.add(feature.name)
    for name, times in Counter(feature.name for feature in features).items():
        if times > 1:
            yield ContractFault(("features", name), "two features have this name", "Rename one.")


def _field_faults(fields: Sequence[ContractField], label: Label) -> Iterator[ContractFault]:
    names = Counter(field.name for field in fields)
    folded = Counter(name.casefold() for name in names)
    for field in fields:
        place = ("fields", field.name)
        if names[field.name] > 1:
            yield ContractFault(place, "two fields have this name", "Rename one.")
        elif folded[field.name.casefold()] > 1:
            yield ContractFault(place, "another field's name differs only in case", "Rename one.")
        own = next((role for role, name in _OWN_NAMES.items() if name == field.name), field.role)
        if own != field.role:
            yield ContractFault(place, f"this name is that of the role {own}", f"Give it `role: {own}`, or rename it.")
        if field.name in RESERVED:
            yield ContractFault(place, "tables of decisions have a column of this name", "Rename the column.")
        wanted = _TYPE_OF_ROLE[field.role] if field.role else "number"
        if field.type != wanted:
            said = f"role {field.role}" if field.role else "a field without a role"
            yield ContractFault(place, f"type {field.type} for {said}", f"Make it {wanted}, or give it a role.")
        if field.scored and not field.required:
            yield ContractFault(place, "a value that is scored may be missing", "Remove `required: false`.")
        if not field.scored and field.required:
            yield ContractFault(place, f"the role {field.role} is never required", "Add `required: false`.")
        low, high = field.minimum, field.maximum
        if (low is not None or high is not None) and (field.type != "number" or not field.scored):
            yield ContractFault(place, "limits for what is not scored as a number", "Remove minimum and maximum.")
        if any(limit is not None and abs(limit) > MAX_MAGNITUDE for limit in (low, high)):
            yield ContractFault(place, f"a limit above {MAX_MAGNITUDE:g} in size", "Give a smaller one.")
        if low is not None and high is not None and low >= high:
            yield ContractFault(place, f"minimum {low:g} is not below maximum {high:g}", "Exchange them.")
    if label.field in names:
        yield ContractFault(("label", "field"), f"{label.field} is a field as well", "Remove it from the fields.")
    for role, count in Counter(field.role for field in fields if field.role).items():
        if count > 1:
            yield ContractFault(("fields",), f"{count} fields have the role {role}", "Leave it to one.")
    there = {field.role for field in fields}
    for role, why in (("amount", "costs and slices need it"), ("time", "it orders rows without an event time")):
        if role not in there:
            yield ContractFault(("fields",), f"no field has the role {role}: {why}", f"Give one `role: {role}`.")


def _feature_faults(
    feature: Feature, raw: Mapping[str, ContractField], fields: set[str], earlier: set[str]
) -> Iterator[tuple[str, str]]:
    if _NOT_OF_XGBOOST & set(feature.name):
        yield "the name holds [, ] or <, which XGBoost's features cannot", "Rename it; its field may keep the name."
    operator = OPERATORS.get(feature.operator)
    if operator is None:
        yield f"there is no operator {feature.operator}", f"Use one of {', '.join(OPERATORS)}."
        return
    takes_list = issubclass(operator, ListOperator)
    wanted = operator.arguments if issubclass(operator, Operator) else None
    if not feature.of or (wanted is not None and len(feature.of) != wanted):
        many = "at least 1" if wanted is None else str(wanted)
        yield f"{feature.operator} takes {many} of fields or features, not {len(feature.of)}", "Name as many."
    for argument in feature.of:
        if argument in raw:
            continue
        if argument in fields:
            yield f"{argument} is no field that is scored", "Features are made of scored fields and features."
        elif argument not in earlier:
            yield f"{argument} is neither a field nor an earlier feature", "Correct the name, or move it up."
        elif takes_list or getattr(operator, "scaled", False) or feature.operator == "hour_of_day":
            yield f"{feature.operator} takes fields only, and {argument} is a feature", "Name a field."
    given = raw.get(feature.of[0]) if feature.of else None
    if feature.operator == "log1p" and (given is None or given.minimum is None or given.minimum < 0):
        yield "log1p takes a field that is never below 0", "Give that field `minimum: 0`, or use another operator."
    if feature.operator == "hour_of_day" and given is not None and given.role != "time":
        yield f"hour_of_day takes the field with the role time, and {given.name} has not", "Name that field."
    if feature.above is not None and feature.between is not None:
        yield "above and between at once", "Keep one."
    if feature.between is not None and feature.between[0] >= feature.between[1]:
        yield "between names a lower limit that is not below the upper one", "Exchange them."
    if feature.name in raw and feature.of != (feature.name,):
        yield f"named as the field {feature.name} but not made of it", "Rename the feature."
