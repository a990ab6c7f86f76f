"""A data contract: what a transaction's fields are, and which features the model sees of them.

Everything else that has to know a column's name asks here: cleaning, files, requests, the graph's inputs, drift. A
contract is data; `ml_project.contract_file` reads it as people write it (YAML), every bundle keeps it as JSON.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic import Field as Constrained

from ml_project.features import OPERATORS, ListOperator, Operator

OUTPUTS: Final = ("isolation_score", "boosted_score", "hybrid_score", "fraud_probability")
"""What the ensemble's graph gives, in order, whatever the contract."""

MAX_MAGNITUDE: Final = 1e15
"""Largest value of a number: features hold squares of them in float32, which ends at 3.4e38."""

OTHER: Final = -1.0
"""In raw transactions, a category that is not among its field's values. A missing value of any type is NaN there."""

WRONG: Final = float("inf")
"""In raw transactions, what is there but is no value of its field's type; it is refused like any infinite number."""

FieldType = Literal["number", "integer", "boolean", "category", "timestamp", "string"]
Role = Literal["time", "event_time", "amount", "weight", "transaction_id", "entity"]

_NUMBERS: Final = ("number", "integer")
_TYPES_OF_ROLE: Final[Mapping[str, tuple[str, ...]]] = {
    "time": _NUMBERS,
    "event_time": ("timestamp",),
    "amount": _NUMBERS,
    "weight": ("number",),
    "transaction_id": ("string",),
    "entity": ("string",),
}
_BESIDE_THE_MODEL: Final = frozenset({"event_time", "weight", "transaction_id", "entity"})
"""Roles of fields that describe a row and are no part of what is scored, unless a feature is made of the event time."""

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800.0, 253_402_300_799.999_999
"""Of the years 1 and 9999, since 1970: what a timestamp can say."""

LONGEST_TEXT: Final = 200
"""Characters of a category's value."""

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
_LONGEST_NAME: Final = 64


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)


class ContractField(_Part):
    """A column of a table and a member of a request.

    Attributes
    ----------
    required : bool
        False lets files and requests leave it out, or single values of it.
    values : tuple of str
        Of a category; learnt from the training rows where the contract names none (`Contract.with_values`).
    expected : tuple of float
        What the values of a training table lie within; validated, while minimum and maximum refuse single values.
    decimals : int
        Of an integer amount: 2 where it counts cents.
    example : float, bool or str
        An ordinary value, for the API's description.
    """

    name: str = Constrained(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")
    type: FieldType
    role: Role | None = None
    required: bool = True
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[Annotated[str, Constrained(min_length=1, max_length=LONGEST_TEXT)], ...] = Constrained(
        (), max_length=1_000
    )
    expected: tuple[float, float] | None = None
    decimals: int = Constrained(0, ge=0, le=6)
    unit: str = Constrained("", max_length=20)
    example: float | bool | str | None = None
    description: str = ""

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers that can be reckoned with."""
        return self.type in _NUMBERS

    @property
    def whole(self) -> bool:
        """Whether raw transactions hold whole numbers of it only."""
        return self.type in ("integer", "boolean", "category")

    @property
    def limits(self) -> tuple[float, float]:
        """Least and largest value in raw transactions."""
        if self.type == "boolean":
            return 0.0, 1.0
        if self.type == "category":
            return OTHER, float(len(self.values) - 1)
        if self.type == "timestamp":
            return _FIRST_SECOND, _LAST_SECOND
        low = -MAX_MAGNITUDE if self.minimum is None else self.minimum
        return low, MAX_MAGNITUDE if self.maximum is None else self.maximum

    @property
    def shown(self) -> float | bool | str:
        """The example, or an ordinary value of its type."""
        if self.example is not None:
            return self.example
        if self.numeric:
            low, high = self.limits
            return min(max(0.0, low), high)
        if self.type == "category":
            return self.values[0] if self.values else "a"
        return False if self.type == "boolean" else "2026-01-02T03:04:05Z" if self.type == "timestamp" else "a-1"

    def given(self, value: float) -> float | int | bool | str | None:
        """A value of raw transactions as a client would send it."""
        if np.isnan(value):
            return None
        if self.type == "category":
            return self.values[int(value)] if value >= 0 else "other"
        if self.type == "timestamp":
            return utc_text(value)
        return bool(value) if self.type == "boolean" else int(value) if self.type == "integer" else float(value)


def label_word(value: object) -> str:
    """A label's value as it is compared: without case; true is 1, and 1.0 too."""
    word = str(value).strip().casefold()
    return {"true": "1", "false": "0", "1.0": "1", "0.0": "0"}.get(word, word)


def _label_words(given: object) -> tuple[str, ...]:
    listed = given if isinstance(given, list | tuple) else [given]
    return tuple(dict.fromkeys(str(each).strip().casefold() for each in listed))


_Words = Annotated[tuple[str, ...], BeforeValidator(_label_words)]


class Label(_Part):
    """What a transaction turned out to be.

    Attributes
    ----------
    positive, negative : tuple of str
        The words for fraud and legitimate; see `label_word`.
    unknown : tuple of str
        Those of rows that nothing is learnt from; an empty one stands for a missing label.
    expected_rate : tuple of float
        What the share of frauds in a training table lies within.
    """

    field: str = Constrained(min_length=1, max_length=64)
    positive: _Words = ("1", "yes", "fraud")
    negative: _Words = ("0", "no", "legit", "legitimate")
    unknown: _Words = ()
    expected_rate: tuple[float, float] = (1e-5, 0.5)

    @property
    def plain(self) -> bool:
        """Whether it is known of every row, and 1 stands for fraud and for nothing else."""
        return self.positive == ("1",) and "0" in self.negative and not self.unknown


class Feature(_Part):
    """An input of the ensemble.

    Attributes
    ----------
    operator, of
        A key of ``features.OPERATORS``, and the fields or earlier features that it takes; a name that is both means
        the field.
    above, between
        Makes it 1 where its value is above a limit, or within two (both included), else 0.
    category : str or None
        The one value that a ``one_hot`` stands for, empty for all that are not listed; None: a feature for each.
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
    category: str | None = None
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
    def unlearnt(self) -> tuple[str, ...]:
        """Categories whose values are to be learnt from training rows; a bundle's contract has none."""
        return tuple(field.name for field in self.scored_fields if field.type == "category" and not field.values)

    def with_values(self, values: Mapping[str, Sequence[str]]) -> "Contract":
        """The contract with the values of its `unlearnt` categories, and with a feature for each of them."""
        if not self.unlearnt:
            return self
        fields = [
            {**field.model_dump(), "values": tuple(values[field.name])} if field.name in self.unlearnt else field
            for field in self.fields
        ]
        given = {name: getattr(self, name) for name in type(self).model_fields}
        known = [ContractField.model_validate(field) for field in fields]
        return Contract(**{**given, "fields": known, "features": expanded(known, self.features)})

    @cached_property
    def scored_fields(self) -> tuple[ContractField, ...]:
        """The fields of what is scored, in order."""
        return tuple(_scored(self.fields, self.features))

    @cached_property
    def number_fields(self) -> tuple[str, ...]:
        """Names of the raw fields that hold numbers."""
        return tuple(field.name for field in self.scored_fields if field.numeric)

    @cached_property
    def number_columns(self) -> tuple[str, ...]:
        """Columns of a training table that hold numbers, unless a value is none."""
        return (*self.number_fields, *([self.label_field] if self.label.plain else []), self.weight)

    @cached_property
    def optional(self) -> tuple[int, ...]:
        """Places of the raw fields whose value may be missing."""
        return tuple(place for place, field in enumerate(self.scored_fields) if not field.required)

    @cached_property
    def plain(self) -> bool:
        """Whether every raw field is a number that is always there."""
        return not self.optional and all(field.type == "number" for field in self.scored_fields)

    @cached_property
    def may_miss(self) -> frozenset[str]:
        """Features that are missing where what they are made of is."""
        fields = {self.raw_fields[place] for place in self.optional}
        found = set[str]()
        for feature in self.features:
            missing = any(name in (fields if name in self.raw_fields else found) for name in feature.of)
            if missing and not OPERATORS[feature.operator].answers_missing:
                found.add(feature.name)
        return frozenset(found)

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
        return self._learning("scale")

    @cached_property
    def counted_features(self) -> dict[str, int]:
        """Features that need how common a category's values are, and that field's place."""
        return self._learning("shares")

    def _learning(self, what: str) -> dict[str, int]:
        learning = (feature for feature in self.features if OPERATORS[feature.operator].learns == what)
        return {feature.name: self.raw_fields.index(feature.of[0]) for feature in learning}

    @cached_property
    def clock(self) -> str | None:
        """The feature that holds the hour of day, which drift compares within; None where none does, or not always."""
        hours = (each.name for each in self.features if each.operator == "hour_of_day" and not each.tested)
        return next((name for name in hours if name not in self.may_miss), None)

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
    def time(self) -> str | None:
        """The number of seconds that orders rows without an event time; None: they are in the order of their file."""
        return self._by_role["time"].name if "time" in self._by_role else None

    @cached_property
    def timed(self) -> bool:
        """Whether a field says when a transaction happened."""
        return "time" in self._by_role or "event_time" in self._by_role

    @cached_property
    def amount(self) -> str | None:
        """The field with the amount; without one nothing is said of costs."""
        return self._by_role["amount"].name if "amount" in self._by_role else None

    @cached_property
    def time_place(self) -> int | None:
        """Where the time stands among the raw fields."""
        return None if self.time is None else self.raw_fields.index(self.time)

    @cached_property
    def amount_place(self) -> int | None:
        """Where the amount stands among the raw fields."""
        return None if self.amount is None else self.raw_fields.index(self.amount)

    def amounts(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Amounts (n,) of raw transactions (n, fields), in units of currency; zeros where the contract has none."""
        if self.amount_place is None:
            return np.zeros(len(raw))
        decimals = self.scored_fields[self.amount_place].decimals
        return raw[:, self.amount_place] / 10**decimals if decimals else raw[:, self.amount_place]

    @cached_property
    def entities(self) -> tuple[str, ...]:
        """Fields that name who or what takes part: kept beside a row, never a feature by themselves."""
        return tuple(field.name for field in self.fields if field.role == "entity")

    def requires(self, role: Role) -> bool:
        """Whether a request must have the field of a role that is beside the model."""
        return role in self._by_role and self._by_role[role].required and role != "weight"

    def transaction(self, row: Sequence[float]) -> dict[str, Any]:
        """A row of raw transactions as a client would send it; what must be beside it has its example."""
        beside = (each for each in self.fields if each.required and each.name not in self.raw_fields)
        scored = zip(self.scored_fields, row, strict=True)
        return {field.name: field.given(value) for field, value in scored} | {each.name: each.shown for each in beside}

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
        known = (*self.labelled_columns, *beside, *self.entities, *self.engineered)
        return tuple(dict.fromkeys(known))

    @cached_property
    def clean_columns(self) -> tuple[str, ...]:
        """Columns of every clean table, in order, all of them numbers; `kept_columns` follow where there are any."""
        numbers = (name for name in self.raw_fields if name != self.event_time)
        return (*numbers, self.label_field, self.weight)

    @cached_property
    def kept_columns(self) -> tuple[str, ...]:
        """What a clean table keeps of a row beside the model: event time, transaction id, entities."""
        named = (self.transaction_id,) if "transaction_id" in self._by_role else ()
        return (self.event_time, *named, *self.entities)

    @cached_property
    def required_columns(self) -> tuple[str, ...]:
        """What a training table must have."""
        beside = [each.name for each in self.fields if each.required and each.role in ("event_time", "entity")]
        return tuple(
            dict.fromkeys((*(field.name for field in self.scored_fields if field.required), self.label_field, *beside))
        )

    @cached_property
    def _limits(self) -> NDArray[np.float64]:
        return np.ascontiguousarray(np.array([field.limits for field in self.scored_fields]).T)

    @cached_property
    def _whole(self) -> list[int]:
        return [place for place, field in enumerate(self.scored_fields) if field.whole]

    def unusable(self, raw: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which values of raw transactions (n, fields) cannot be scored: missing, wrong, infinite, or out of range."""
        least, most = self._limits
        bad: NDArray[np.bool_] = ~((raw >= least) & (raw <= most))
        if self.optional:
            chosen = list(self.optional)
            bad[:, chosen] &= ~np.isnan(raw[:, chosen])
        if self._whole:
            values = raw[:, self._whole]
            bad[:, self._whole] |= np.isfinite(values) & (values != np.floor(values))
        return bad

    def fault(self, place: int, value: float) -> str:
        """What is wrong with an unusable value of the raw field at a place, in words."""
        field = self.scored_fields[place]
        if field.type != "number" and np.isnan(value):
            return "missing"
        if field.type != "number" and not (field.type == "integer" and float(value).is_integer()):
            return f"not {A_VALUE[field.type]}"
        if not np.isfinite(value):
            return "not finite"
        if abs(value) > MAX_MAGNITUDE:
            return f"above {MAX_MAGNITUDE:g} in size"
        low, high = field.limits
        if value < low:
            return "negative" if low == 0 else f"below {low:g}"
        return f"above {high:g}"


A_VALUE: Final = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "category": "a text",
    "timestamp": "a date and time",
}


def utc_text(seconds: float) -> str:
    """A moment in seconds since 1970 as RFC 3339 has it, to the microsecond."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(seconds * 1e6))
    return moment.isoformat().replace("+00:00", "Z")


def _scored(fields: Sequence[ContractField], features: Sequence[Feature]) -> Iterator[ContractField]:
    used = {argument for feature in features for argument in feature.of}
    for field in fields:
        if field.role not in _BESIDE_THE_MODEL or (field.role == "event_time" and field.name in used):
            yield field


def expanded(fields: Sequence[ContractField], features: Sequence[Feature]) -> list[Feature]:
    """Features in which ``one_hot`` stands for a single value, as far as the values are known."""
    by_name = {field.name: field for field in fields}
    names = {feature.name for feature in features}
    found: list[Feature] = []
    for feature in features:
        field = by_name.get(feature.of[0]) if feature.operator == "one_hot" and feature.of else None
        if field is None or not field.values or feature.category is not None:
            found.append(feature)
            continue
        kinds: list[tuple[str, str | None, str]] = [("one_hot", value, value) for value in field.values]
        kinds.append(("one_hot", "", "other"))
        kinds += [] if field.required else [("missing", None, "missing")]
        for operator, category, said in kinds:
            name = _distinct(f"{feature.name}={said}", names)
            names.add(name)
            words = f"{feature.description or feature.name} is {said}"
            given = {**feature.model_dump(), "name": name, "operator": operator, "description": words}
            found.append(Feature.model_validate(given | {"category": category}))
    return found


def _distinct(wanted: str, taken: set[str]) -> str:
    """A name of a feature that is not taken yet, without what XGBoost's features cannot have."""
    plain = "".join("_" if each in _NOT_OF_XGBOOST or each < " " else each for each in wanted)
    name, number = plain[:_LONGEST_NAME].strip(), 2
    while name in taken:
        end = f"~{number}"
        name, number = plain[: _LONGEST_NAME - len(end)].strip() + end, number + 1
    return name


def contract_faults(
    fields: Sequence[ContractField], label: Label, features: Sequence[Feature]
) -> Iterator[ContractFault]:
    """What cannot be meant, beyond the form of each part."""
    yield from _field_faults(fields, label)
    raw = {field.name: field for field in _scored(fields, features)}
    earlier: dict[str, Feature] = {}
    for feature in features:
        for cause, remedy in _feature_faults(feature, raw, {field.name for field in fields}, earlier):
            yield ContractFault(("features", feature.name), cause, remedy)
        earlier[feature.name] = feature
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
        for cause, remedy in (*_type_faults(field), *_limit_faults(field)):
            yield ContractFault(place, cause, remedy)
    if label.field in names:
        yield ContractFault(("label", "field"), f"{label.field} is a field as well", "Remove it from the fields.")
    words = Counter(map(label_word, (*label.positive, *label.negative, *label.unknown)))
    for word in (word for word, times in words.items() if times > 1):
        yield ContractFault(("label",), f"{word!r} stands for two of fraud, legitimate and unknown", "Leave it to one.")
    for role, count in Counter(field.role for field in fields if field.role).items():
        if count > 1 and role != "entity":
            yield ContractFault(("fields",), f"{count} fields have the role {role}", "Leave it to one.")
    if all(field.role in _BESIDE_THE_MODEL for field in fields):
        yield ContractFault(("fields",), "no field is scored", "Name the columns that features are made of.")


def _type_faults(field: ContractField) -> Iterator[tuple[str, str]]:
    if field.role is None and field.type == "string":
        remedy = "Make it a category, or give it `role: entity` if it names a customer, card or terminal."
        yield "type string for a field without a role", remedy
    elif field.role is not None and field.type not in _TYPES_OF_ROLE[field.role]:
        wanted = " or ".join(_TYPES_OF_ROLE[field.role])
        yield f"type {field.type} for role {field.role}", f"Make it {wanted}, or give it another role."
    if field.role in ("time", "amount") and not field.required:
        why = "it orders rows" if field.role == "time" else "costs need it"
        yield f"the role {field.role} may not be missing: {why}", "Remove `required: false`, or the role."
    if field.role == "weight" and field.required:
        yield "the role weight is never required", "Add `required: false`."
    if field.values and field.type != "category":
        yield f"values for type {field.type}", "Make it a category, or remove them."
    if len(set(field.values)) < len(field.values):
        yield "a value is listed twice", "Remove one."
    if field.decimals and (field.type, field.role) != ("integer", "amount"):
        yield "decimals for what is no integer amount", "Remove decimals."
    if field.example is not None and not _fits(field, field.example):
        yield f"the example {field.example!r} is no {field.type}", "Correct it."


def _fits(field: ContractField, example: object) -> bool:
    if field.type == "boolean":
        return isinstance(example, bool)
    if field.numeric:
        return isinstance(example, float) and (field.type == "number" or example.is_integer())
    return isinstance(example, str)


def _limit_faults(field: ContractField) -> Iterator[tuple[str, str]]:
    low, high = field.minimum, field.maximum
    limited = low is not None or high is not None or field.expected is not None
    if limited and (not field.numeric or field.role in _BESIDE_THE_MODEL):
        yield "limits for what is not scored as a number", "Remove minimum, maximum and expected."
    if any(limit is not None and abs(limit) > MAX_MAGNITUDE for limit in (low, high)):
        yield f"a limit above {MAX_MAGNITUDE:g} in size", "Give a smaller one."
    if low is not None and high is not None and low >= high:
        yield f"minimum {low:g} is not below maximum {high:g}", "Exchange them."


def _feature_faults(
    feature: Feature, raw: Mapping[str, ContractField], fields: set[str], earlier: Mapping[str, Feature]
) -> Iterator[tuple[str, str]]:
    if _NOT_OF_XGBOOST & set(feature.name):
        yield "the name holds [, ] or <, which XGBoost's features cannot", "Rename it; its field may keep the name."
    operator = OPERATORS.get(feature.operator)
    if operator is None:
        yield f"there is no operator {feature.operator}", f"Use one of {', '.join(OPERATORS)}."
        return
    wanted = operator.arguments if issubclass(operator, Operator) else None
    if not feature.of or (wanted is not None and len(feature.of) != wanted):
        many = "at least 1" if wanted is None else str(wanted)
        yield f"{feature.operator} takes {many} of fields or features, not {len(feature.of)}", "Name as many."
    for argument in feature.of:
        if argument in raw:
            yield from _argument_faults(feature.operator, operator, raw[argument])
        elif argument in fields:
            yield f"{argument} is no field that is scored", "Features are made of scored fields and features."
        elif argument not in earlier:
            yield f"{argument} is neither a field nor an earlier feature", "Correct the name, or move it up."
        elif not operator.of_features:
            yield f"{feature.operator} takes fields only, and {argument} is a feature", "Name a field."
        elif earlier[argument].operator == "one_hot":
            yield f"{argument} is a feature for each value, not one", "Name a field."
    given = raw.get(feature.of[0]) if feature.of else None
    if feature.operator == "log1p" and (given is None or given.minimum is None or given.minimum < 0):
        yield "log1p takes a field that is never below 0", "Give that field `minimum: 0`, or use another operator."
    if feature.tested and not operator.graded:
        yield f"{feature.operator} with above or between", "Remove it: it says 1 or 0 as it is."
    if feature.category is not None and feature.operator != "one_hot":
        yield f"category for {feature.operator}", "Remove it."
    if feature.above is not None and feature.between is not None:
        yield "above and between at once", "Keep one."
    if feature.between is not None and feature.between[0] >= feature.between[1]:
        yield "between names a lower limit that is not below the upper one", "Exchange them."
    if feature.name in raw and feature.of != (feature.name,):
        yield f"named as the field {feature.name} but not made of it", "Rename the feature."


def _argument_faults(
    name: str, operator: type[Operator] | type[ListOperator], field: ContractField
) -> Iterator[tuple[str, str]]:
    if field.type not in operator.types and not (field.role == "time" and "timestamp" in operator.types):
        if operator.types == ("timestamp",):
            yield f"{name} takes a timestamp or the field with the role time, and {field.name} is neither", "Name one."
        else:
            said = " or ".join(operator.types)
            yield f"{name} takes a field of type {said}, and {field.name} is a {field.type}", "Name another one."
    if name == "missing" and field.required:
        yield f"{field.name} is never missing", "Give that field `required: false`, or remove the feature."
