"""What a contract cannot mean, beyond the form of each part: cause and remedy, in the place where it stands."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ml_project.contract_parts import (
    BESIDE_THE_MODEL,
    MAX_MAGNITUDE,
    NOT_OF_XGBOOST,
    NUMBERS,
    OUTPUTS,
    OWN_NAMES,
    ContractField,
    Feature,
    Label,
    label_word,
    select_scored,
)
from ml_project.features import OPERATORS
from ml_project.operators import HistoryOperator, ListOperator, Operator, Sum

RESERVED: Final = frozenset(
    (
        *OUTPUTS,
        *("prediction_id", "received_at", "alert_threshold", "decline_threshold", "decision", "reasons"),
        *("model_version", "bundle_digest", "latency_ms", "request_id", "key_name", "segment_id", "spooled"),
        *("history_partial", "source"),
        *("duplicate_of", "conflicts_with", "review_rate", "label", "labelled_at", "reviewer"),
    )
)
"""Names that tables of decisions use for their own columns."""

_TYPES_OF_ROLE: Final[Mapping[str, tuple[str, ...]]] = {
    "time": NUMBERS,
    "event_time": ("timestamp",),
    "amount": NUMBERS,
    "weight": ("number",),
    "transaction_id": ("string",),
    "entity": ("string",),
}


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


def contract_faults(
    fields: Sequence[ContractField], label: Label, features: Sequence[Feature]
) -> Iterator[ContractFault]:
    """What cannot be meant, beyond the form of each part."""
    yield from _field_faults(fields, label)
    raw = {field.name: field for field in select_scored(fields, features)}
    named = {field.name: field for field in fields}
    earlier: dict[str, Feature] = {}
    for feature in features:
        for cause, remedy in _feature_faults(feature, raw, named, earlier):
            yield ContractFault(("features", feature.name), cause, remedy)
        if feature.by is not None and feature.name in {label.field, *OWN_NAMES.values(), *RESERVED}:
            said = "a history feature needs a column of its own, and this name is taken"
            yield ContractFault(("features", feature.name), said, "Rename the feature.")
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
        own = next((role for role, name in OWN_NAMES.items() if name == field.name), field.role)
        if own != field.role:
            yield ContractFault(
                place, f"this name is reserved for the role {own}", f"Give it `role: {own}`, or rename it."
            )
        if field.name in RESERVED:
            yield ContractFault(place, "tables of decisions have a column of this name", "Rename the column.")
        for cause, remedy in (*_type_faults(field), *_limit_faults(field)):
            yield ContractFault(place, cause, remedy)
    if label.field in names:
        yield ContractFault(("label", "field"), f"{label.field} is also a field", "Remove it from the fields.")
    words = Counter(map(label_word, (*label.positive, *label.negative, *label.unknown)))
    for word in (word for word, times in words.items() if times > 1):
        yield ContractFault(
            ("label",), f"{word!r} stands for two of fraud, legitimate and unknown", "Give it to one only."
        )
    for role, count in Counter(field.role for field in fields if field.role).items():
        if count > 1 and role != "entity":
            yield ContractFault(("fields",), f"{count} fields have the role {role}", "Give it to one only.")
    if all(field.role in BESIDE_THE_MODEL for field in fields):
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
        yield f"values on a field of type {field.type}", "Make it a category, or remove them."
    if len(set(field.values)) < len(field.values):
        yield "a value is listed twice", "Remove one."
    if field.decimals and (field.type, field.role) != ("integer", "amount"):
        yield "decimals on a field that is not an integer amount", "Remove decimals."
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
    if limited and (not field.numeric or field.role in BESIDE_THE_MODEL):
        yield "limits on a field that is not scored as a number", "Remove minimum, maximum and expected."
    if any(limit is not None and abs(limit) > MAX_MAGNITUDE for limit in (low, high)):
        yield f"a limit above {MAX_MAGNITUDE:g} in size", "Give a smaller one."
    if low is not None and high is not None and low >= high:
        yield f"minimum {low:g} is not below maximum {high:g}", "Exchange them."


def _feature_faults(
    feature: Feature,
    raw: Mapping[str, ContractField],
    fields: Mapping[str, ContractField],
    earlier: Mapping[str, Feature],
) -> Iterator[tuple[str, str]]:
    if NOT_OF_XGBOOST & set(feature.name):
        yield "the name holds [, ] or <, which XGBoost's features cannot", "Rename it; its field may keep the name."
    operator = OPERATORS.get(feature.operator)
    if operator is None:
        yield f"there is no operator {feature.operator}", f"Use one of {', '.join(OPERATORS)}."
        return
    if issubclass(operator, HistoryOperator):
        yield from _history_faults(feature, operator, fields)
        yield from _limit_faults_of(feature, operator)
        return
    if feature.by is not None or feature.window or feature.delay:
        yield f"by, window or delay for {feature.operator}", "Remove them."
    wanted = operator.arguments if issubclass(operator, Operator) else None
    if not feature.of or (wanted is not None and len(feature.of) != wanted):
        many = "at least 1" if wanted is None else str(wanted)
        yield f"{feature.operator} takes {many} of fields or features, not {len(feature.of)}", "Name as many."
    for argument in feature.of:
        if argument in raw:
            yield from _argument_faults(feature.operator, operator, raw[argument])
        elif argument in fields:
            yield f"{argument} is not a scored field", "Features are made of scored fields and features."
        elif argument not in earlier:
            yield f"{argument} is neither a field nor an earlier feature", "Correct the name, or move it up."
        elif not operator.of_features:
            yield f"{feature.operator} takes fields only, and {argument} is a feature", "Name a field."
        elif earlier[argument].operator == "one_hot":
            yield f"{argument} is a feature for each value, not one", "Name a field."
        elif earlier[argument].by is not None and earlier[argument].tested:
            yield f"{argument} says 1 or 0", "Name a feature of history without above and between."
    if feature.operator == "log1p" and not all(_never_negative(each, fields, earlier) for each in feature.of):
        yield "log1p takes a field that is never below 0", "Give that field `minimum: 0`, or use another operator."
    yield from _limit_faults_of(feature, operator)
    if feature.category is not None and feature.operator != "one_hot":
        yield f"category for {feature.operator}", "Remove it."
    if feature.name in raw and feature.of != (feature.name,):
        yield f"it has the name of the field {feature.name} but is not made from it", "Rename the feature."


def _never_negative(argument: str, fields: Mapping[str, ContractField], earlier: Mapping[str, Feature]) -> bool:
    """Whether a field's limits say so; what counts, or adds up such fields, is never below 0 either."""
    feature = earlier.get(argument)
    if argument not in fields and feature is not None and feature.by is not None:
        adds = issubclass(OPERATORS[feature.operator], Sum)
        return not adds or all(_never_negative(each, fields, {}) for each in feature.of)
    least = fields[argument].minimum if argument in fields else None
    return least is not None and least >= 0


def _limit_faults_of(feature: Feature, operator: type[Operator] | type[ListOperator]) -> Iterator[tuple[str, str]]:
    if feature.tested and not operator.graded:
        yield f"{feature.operator} with above or between", "Remove it: it says 1 or 0 as it is."
    if feature.above is not None and feature.between is not None:
        yield "above and between at once", "Keep one."
    if feature.between is not None and feature.between[0] >= feature.between[1]:
        yield "between names a lower limit that is not below the upper one", "Exchange them."


def _history_faults(
    feature: Feature, operator: type[HistoryOperator], fields: Mapping[str, ContractField]
) -> Iterator[tuple[str, str]]:
    said, shape = feature.operator, "{by: ENTITY, window: 7d}"
    if feature.by is None or not feature.window:
        yield f"{said} without an entity or a window", f"Write {{{said}: {shape}}}."
        return
    entity = fields.get(feature.by)
    if entity is None or entity.role != "entity":
        known = ", ".join(field.name for field in fields.values() if field.role == "entity")
        remedy = f"Name one of {known}." if known else "Give the field that names a card or customer `role: entity`."
        yield f"{feature.by} is not an entity", remedy
    if not any(field.role == "event_time" and field.required for field in fields.values()):
        yield "history without an event time", "Give a timestamp that is always there `role: event_time`."
    if len(feature.of) != operator.arguments:
        wanted = f"of: FIELD, {shape[1:]}" if operator.arguments else shape[1:]
        yield f"{said} takes {operator.arguments} fields, not {len(feature.of)}", f"Write {{{said}: {{{wanted}}}."
    for argument in feature.of:
        field = fields.get(argument)
        if field is None:
            yield f"{argument} is not a field", "Correct the name."
        elif field.type not in operator.types or field.role in ("transaction_id", "weight"):
            types = " or ".join(operator.types)
            yield f"{said} takes a field of type {types}, and {argument} is a {field.type}", "Name another one."
    if operator.delay == "needed" and not feature.delay:
        yield (
            f"{said} without a delay",
            "Say when labels are known, such as `delay: 7d`: without it the feature gives the answer away.",
        )
    if operator.delay == "never" and feature.delay:
        yield f"delay for {said}", "Remove it: its window ends with the transaction."
    if feature.name in fields:
        yield f"it has the name of the field {feature.name}", "Rename the feature."


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
