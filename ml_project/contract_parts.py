"""What a contract is made of: fields with their types and roles, the label, and features."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic import Field as Constrained

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

NUMBERS: Final = ("number", "integer")
BESIDE_THE_MODEL: Final = frozenset({"event_time", "weight", "transaction_id", "entity"})
"""Roles of fields that describe a row and are no part of what is scored, unless a feature is made of the event time."""

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800.0, 253_402_300_799.999_999
"""Of the years 1 and 9999, since 1970: what a timestamp can say."""

LONGEST_WINDOW: Final = 366 * 86_400
"""Seconds of history that a feature can ask for."""

LONGEST_TEXT: Final = 200
"""Characters of a category's value."""

OWN_NAMES: Final[Mapping[str, str]] = {
    "event_time": "event_time",
    "weight": "sampling_weight",
    "transaction_id": "transaction_id",
}
"""What these fields are called where a contract gives no field the role: any table and request may have them."""

NOT_OF_XGBOOST: Final = frozenset("[]<")
LONGEST_NAME: Final = 64

A_VALUE: Final = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "category": "a text",
    "timestamp": "a date and time",
    "string": "a name",
}


class ContractPart(BaseModel):
    """Read once, never changed; unknown keys and what is no number are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)


class ContractField(ContractPart):
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
        return self.type in NUMBERS

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


class Label(ContractPart):
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


_HISTORY_WORDS: Final[Mapping[str, str]] = {
    "count": "transactions of this {by}",
    "sum": "sum of {of} of this {by}",
    "mean": "mean {of} of this {by}",
    "maximum": "largest {of} of this {by}",
    "distinct": "different {of} values of this {by}",
    "seconds_since_last": "seconds since the last transaction of this {by}",
    "fraud_rate": "share of frauds among the transactions of this {by}",
}

_DURATION: Final = re.compile(r"(\d{1,6})\s*([smhd])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def duration(given: object) -> object:
    """Seconds of a text such as 30m, 24h or 7d; anything else as it is."""
    match = _DURATION.fullmatch(given.strip()) if isinstance(given, str) else None
    return given if match is None else int(match[1]) * _SECONDS[match[2]]


def duration_text(seconds: int) -> str:
    """As people say it: 24 hours, 7 days."""
    unit, size = next(
        each for each in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)) if seconds % each[1] == 0
    )
    count = seconds // size
    if (unit, count) == ("day", 1):
        unit, count = "hour", 24
    return f"{count} {unit}{'' if count == 1 else 's'}"


class Feature(ContractPart):
    """An input of the ensemble.

    Attributes
    ----------
    operator, of
        A key of ``features.OPERATORS``, and the fields or earlier features that it takes; a name that is both means
        the field.
    by : str or None
        Of a history operator: the entity whose transactions it is about.
    window, delay : int
        Of a history operator: its length in seconds, and how long before the transaction it ends.
    above, between
        Makes it 1 where its value is above a limit, or within two (both included), else 0.
    category : str or None
        The one value that a ``one_hot`` stands for, empty for all that are not listed; None: a feature for each.
    description : str
        It in words; see `words`.
    left_out : str
        Why the trees do not see it; empty where they do.
    monotone : {'none', 'learnt', 'increasing', 'decreasing'}
        Whether the score may only rise or only fall with it; learnt: see ``BoosterSettings.monotone_auc``.
    """

    name: str = Constrained(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")
    operator: str
    of: tuple[str, ...] = ()
    by: str | None = None
    window: Annotated[int, BeforeValidator(duration)] = Constrained(0, ge=0, le=LONGEST_WINDOW)
    delay: Annotated[int, BeforeValidator(duration)] = Constrained(0, ge=0, le=LONGEST_WINDOW)
    above: float | None = None
    between: tuple[float, float] | None = None
    category: str | None = None
    description: str = ""
    left_out: str = ""
    monotone: Literal["none", "learnt", "increasing", "decreasing"] = "none"

    @property
    def is_field(self) -> bool:
        """Whether it is a raw field, unchanged."""
        return (self.operator == "value" or self.by is not None) and not self.tested

    @property
    def words(self) -> str:
        """It in words, for reasons: its description, or what it is made of."""
        if self.description or self.by is None:
            return self.description or self.name
        ending = f" ending {duration_text(self.delay)} before" if self.delay else ""
        said = _HISTORY_WORDS[self.operator].format(of=", ".join(self.of), by=self.by)
        return f"{said} in {duration_text(self.window)}{ending}"

    @property
    def definition(self) -> tuple[str, tuple[str, ...], str | None, int, int]:
        """What a value from history is made by: features that agree in it have the same values."""
        return self.operator, self.of, self.by, self.window, self.delay

    @property
    def sources(self) -> tuple[str, ...]:
        """The raw fields and earlier features that it is made of; one of history is made of its own raw field."""
        return self.of if self.by is None else (self.name,)

    @property
    def tested(self) -> bool:
        """Whether it says 1 or 0."""
        return self.above is not None or self.between is not None


def utc_text(seconds: float) -> str:
    """A moment in seconds since 1970 as RFC 3339 has it, to the microsecond."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(seconds * 1e6))
    return moment.isoformat().replace("+00:00", "Z")


def select_scored(fields: Sequence[ContractField], features: Sequence[Feature]) -> Iterator[ContractField]:
    """The given fields that are scored."""
    used = {argument for feature in features for argument in feature.sources}
    for field in fields:
        if field.role not in BESIDE_THE_MODEL or (field.role == "event_time" and field.name in used):
            yield field
