"""A data contract: what a transaction's fields are, and which features the model sees of them.

Everything else that has to know a column's name asks here: cleaning, files, requests, the graph's inputs, drift. A
contract is data; `ml_project.contract_file` reads it as people write it (YAML), every bundle keeps it as JSON.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Constrained
from pydantic import model_validator

from ml_project.contract_check import contract_faults
from ml_project.contract_parts import (
    A_VALUE,
    LONGEST_NAME,
    MAX_MAGNITUDE,
    NOT_OF_XGBOOST,
    OTHER,
    OWN_NAMES,
    ContractField,
    ContractPart,
    Feature,
    Label,
    Role,
    select_scored,
)
from ml_project.features import OPERATORS


class Contract(ContractPart):
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
    def given_fields(self) -> tuple[ContractField, ...]:
        """The fields of what is scored that clients and files give, in order."""
        return tuple(select_scored(self.fields, self.features))

    @cached_property
    def given_names(self) -> tuple[str, ...]:
        """Names of the given fields: the first raw fields."""
        return tuple(field.name for field in self.given_fields)

    @cached_property
    def history(self) -> tuple[Feature, ...]:
        """Features of what an entity did before."""
        return tuple(feature for feature in self.features if feature.by is not None)

    @cached_property
    def scored_fields(self) -> tuple[ContractField, ...]:
        """The fields of what is scored, in order: the given ones, then one for each feature of history."""
        computed = ({"name": each.name, "type": "number", "required": False} for each in self.history)
        return (*self.given_fields, *map(ContractField.model_validate, computed))

    @cached_property
    def kept_fields(self) -> tuple[ContractField, ...]:
        """What is kept of a transaction with its decision: the fields of what was scored, then the entities."""
        return (*self.scored_fields, *(field for field in self.fields if field.role == "entity"))

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
            missing = any(name in (fields if name in self.raw_fields else found) for name in feature.sources)
            if missing and not OPERATORS[feature.operator].answers_missing:
                found.add(feature.name)
        return frozenset(found)

    @cached_property
    def raw_fields(self) -> tuple[str, ...]:
        """Their names: the columns of every array of raw transactions."""
        return tuple(field.name for field in self.scored_fields)

    def refuses_of(self, earlier: "Contract") -> list[str]:
        """Why transactions of another contract are not all of this one; nothing where it has more optional fields."""
        if self.contract != earlier.contract:
            return [f"it is {self}, not {earlier}"]
        mine, theirs = ({each.name: each for each in contract.fields} for contract in (self, earlier))
        found = [f"the field {name} has gone" for name in theirs if name not in mine]
        for name, field in mine.items():
            before = theirs.get(name)
            if before is not None and before.type != field.type:
                found.append(f"the field {name} is {A_VALUE[field.type]}, not {A_VALUE[before.type]}")
            elif _in_requests(field) and not (before is not None and _in_requests(before)):
                found.append(f"the field {name} is required")
        return found

    def reads_as(self, other: "Contract") -> bool:
        """Whether the two differ in fields that may be missing, if at all."""
        return not self.refuses_of(other) or not other.refuses_of(self)

    def translated(
        self, raw: NDArray[np.float64], other: "Contract", words: Mapping[str, Sequence[str | None]] | None = None
    ) -> NDArray[np.float64]:
        """Raw transactions (n, fields) of another contract as this one has them: fields by name, categories by word.

        Parameters
        ----------
        words : mapping, optional
            By field, categories as clients sent them, n of each: one that the other contract lacks may be known here.
        """
        if self == other:
            return raw
        found = np.full((len(raw), len(self.raw_fields)), np.nan)
        for place, field in enumerate(self.scored_fields):
            if field.name not in other.raw_fields:
                continue
            source = other.raw_fields.index(field.name)
            found[:, place] = raw[:, source]
            if field.type == "category":
                given = (words or {}).get(field.name) or map(other.scored_fields[source].given, raw[:, source].tolist())
                codes = {value: float(code) for code, value in enumerate(field.values)}
                found[:, place] = [np.nan if word is None else codes.get(str(word), OTHER) for word in given]
        return found

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The ensemble's inputs, in the order of the bundle's input tensor."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def engineered(self) -> tuple[str, ...]:
        """Features that are not named as a given field; a client's own values for them are never used."""
        return tuple(name for name in self.feature_names if name not in self.given_names)

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
        return tuple(argument for argument in feature.sources if argument not in self.raw_fields)

    def places(self, features: Iterable[str]) -> list[int]:
        """Where features stand among the inputs."""
        return [self.feature_names.index(name) for name in features]

    @cached_property
    def _by_role(self) -> dict[str, ContractField]:
        return {field.role: field for field in self.fields if field.role}

    def _name_of(self, role: Role) -> str:
        return self._by_role[role].name if role in self._by_role else OWN_NAMES[role]

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

    @cached_property
    def required_entities(self) -> frozenset[str]:
        """Those that every transaction names."""
        return frozenset(field.name for field in self.fields if field.role == "entity" and field.required)

    def requires(self, role: Role) -> bool:
        """Whether a request must have the field of a role that is beside the model."""
        return role in self._by_role and self._by_role[role].required and role != "weight"

    def transaction(self, row: Sequence[float]) -> dict[str, Any]:
        """A row of raw transactions as a client would send it; what must be beside it has its example."""
        beside = (each for each in self.fields if each.required and each.name not in self.raw_fields)
        scored = zip(self.given_fields, row, strict=False)
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
        """What a training table has: the given fields and the label."""
        return (*self.given_names, self.label_field)

    @cached_property
    def known_columns(self) -> tuple[str, ...]:
        """Every column that any reader has a use for or leaves out on purpose."""
        beside = self.weight, self.event_time, self.transaction_id
        known = (*self.labelled_columns, *beside, *self.entities, *self.engineered)
        return tuple(dict.fromkeys(known))

    @cached_property
    def clean_columns(self) -> tuple[str, ...]:
        """Columns of every clean table, in order, all of them numbers; `kept_columns` follow where there are any.

        Those of history come last, once they are computed.
        """
        numbers = (name for name in self.given_names if name != self.event_time)
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
            dict.fromkeys((*(field.name for field in self.given_fields if field.required), self.label_field, *beside))
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


def _in_requests(field: ContractField) -> bool:
    return field.required and field.role != "weight"


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
            words = f"{feature.words} is {said}"
            given = {**feature.model_dump(), "name": name, "operator": operator, "description": words}
            found.append(Feature.model_validate(given | {"category": category}))
    return found


def _distinct(wanted: str, taken: set[str]) -> str:
    """A name of a feature that is not taken yet, without what XGBoost's features cannot have."""
    plain = "".join("_" if each in NOT_OF_XGBOOST or each < " " else each for each in wanted)
    name, number = plain[:LONGEST_NAME].strip(), 2
    while name in taken:
        end = f"~{number}"
        name, number = plain[: LONGEST_NAME - len(end)].strip() + end, number + 1
    return name
