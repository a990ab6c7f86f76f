"""Transactions as clients send them: what is accepted, and what is said about the rest.

Event times are RFC 3339 in JSON; columns of files may hold timestamps or text.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from operator import itemgetter
from typing import Annotated, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from ml_project.columns import coder, seconds_of
from ml_project.contract import Contract
from ml_project.contract_parts import OTHER, WRONG, ContractField
from ml_project.event_times import FAULT, parse_event_time
from serving.errors import MAX_ERRORS, BodyTooLarge, FieldError, InvalidFields
from serving.http import json_in
from serving.large_bodies import SMALL_BYTES, is_array, json_array

MAX_NAME_LENGTH: Final = 64

_MESSAGES: Final = {
    "extra_forbidden": "Unknown field",
    "model_type": "A transaction is a JSON object",
    "string_pattern_mismatch": "Name should have no NUL character",
}
"""Where pydantic speaks of itself rather than of the client's data."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def event_times_of(column: Any) -> list[datetime | ValueError | None]:
    """The moments of a file's column, faults in their places: timestamps, else text; an empty cell is no moment."""
    if pa.types.is_timestamp(column.type):
        per_second = _PER_SECOND[column.type.unit]
        # As Python's integers: Arrow's cannot hold every second in microseconds.
        return [_since_1970(count, per_second) for count in column.cast(pa.int64()).to_pylist()]
    return [parsed_cell(text) for text in column.cast(pa.string()).to_pylist()]


_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def _since_1970(count: int | None, per_second: int) -> datetime | ValueError | None:
    try:
        # Finer parts of a second than microseconds are cut off, as in text.
        return None if count is None else _EPOCH + timedelta(microseconds=count * 1_000_000 // per_second)
    except OverflowError:
        return ValueError(FAULT)


def parsed_cell(text: str | None) -> datetime | ValueError | None:
    """One cell of text."""
    try:
        return parse_event_time(text or None, zone=False)
    except ValueError as error:
        return error


_Moment = Annotated[datetime, BeforeValidator(parse_event_time)]
_Identifier = Annotated[str, Field(strict=True, min_length=1, max_length=MAX_NAME_LENGTH, pattern=r"^[^\x00]*$")]


def _kind(field: ContractField) -> Any:
    """What a scored field takes, as the number that raw transactions hold."""
    if field.numeric:
        low, high = field.limits
        limits = Field(strict=True, allow_inf_nan=False, ge=low, le=high)
        if field.type == "number":
            return Annotated[float, limits]
        said = WithJsonSchema({"type": "integer", "minimum": int(low), "maximum": int(high)})
        return Annotated[float, limits, AfterValidator(_whole), said]
    if field.type == "boolean":
        said = WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 0, "maximum": 1}]})
        return Annotated[float, BeforeValidator(_truth), said]
    if field.type == "category":
        text = {"type": "string", "pattern": r"\S", "examples": list(field.values[:_SHOWN])}
        said = WithJsonSchema({"anyOf": [text, {"type": "integer"}]})
        return Annotated[float, BeforeValidator(_coded(field.values)), said]
    said = WithJsonSchema({"type": "string", "format": "date-time"})
    return Annotated[float, BeforeValidator(_seconds), said]


_SHOWN: Final = 10


def _whole(value: float) -> float:
    if not value.is_integer():
        raise ValueError(WORDS["integer"])
    return value


def _truth(value: object) -> float:
    if not isinstance(value, bool | int | float) or value not in (0, 1):
        raise ValueError(WORDS["boolean"])
    return float(value)


def _coded(values: Sequence[str]) -> Callable[[object], float]:
    code = coder(values)

    def read(value: object) -> float:
        if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
            raise ValueError(WORDS["category"])
        return code(str(value).strip())

    return read


def _seconds(value: object) -> float:
    seconds = seconds_of(value) if isinstance(value, str) else WRONG
    if seconds == WRONG:
        raise ValueError(WORDS["timestamp"])
    return seconds


WORDS: Final = {
    "number": "Input should be a finite number",
    "integer": "Input should be a whole number",
    "boolean": "Input should be true or false",
    "category": "Input should be a text, or a whole number",
    "timestamp": "Input should be a date and time, such as 2026-01-02T03:04:05Z (RFC 3339)",
}
"""What is said of a value that is none of its field's type."""


def _members(contract: Contract) -> dict[str, tuple[Any, Any, bool]]:
    """What a transaction takes: by name, the type, the description, and whether it must be there."""
    fields = {field.name: field for field in contract.fields}
    kinds: dict[str, Any] = {field.name: _kind(field) for field in contract.given_fields}
    required = {name: fields[name].required for name in kinds}
    kinds |= {contract.transaction_id: _Identifier, contract.event_time: _Moment}
    required[contract.transaction_id] = contract.requires("transaction_id")
    required[contract.event_time] = contract.requires("event_time")
    for name in contract.entities:
        kinds[name], required[name] = _Identifier, fields[name].required
    members = {
        name: (kind, fields[name].description or None if name in fields else None, required[name])
        for name, kind in kinds.items()
    }
    return members | dict.fromkeys(contract.engineered, (Any, "Ignored: computed here.", False))


def _attributes(members: dict[str, tuple[Any, Any, bool]]) -> dict[str, tuple[Any, Any]]:
    """The model's attributes, numbered: a field may have a name that no attribute can have, or that pydantic's has."""
    found: dict[str, tuple[Any, Any]] = {}
    for place, (name, (kind, words, required)) in enumerate(members.items()):
        default = Field(alias=name, description=words) if required else Field(None, alias=name, description=words)
        found[f"member_{place}"] = (kind if required or kind is Any else kind | None, default)
    return found


@dataclass(frozen=True, slots=True)
class Transactions:
    """Validated transactions.

    Attributes
    ----------
    raw : ndarray of shape (n, fields)
        Columns as in ``contract.raw_fields``; those of history are missing until the gateway fills them in.
    ids : list of str or None
        The clients' own names, n of them.
    event_times : list of datetime or None
        When they happened, n of them; empty where no client says.
    unseen : mapping
        By row and field, the categories in words that are not among their fields' values.
    entities : mapping
        By field, the names of who or what takes part, n of each; None where one is missing.
    partial : bool
        Whether features from history are made of what this process knew, without the database.
    """

    raw: NDArray[np.float64]
    ids: list[str | None]
    event_times: list[datetime | None] = field(default_factory=list)
    unseen: Mapping[tuple[int, str], str] = field(default_factory=dict)
    entities: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    partial: bool = False

    def __post_init__(self) -> None:
        # -0.0 is 0.0: the same transaction, whoever rounds it.
        object.__setattr__(self, "raw", self.raw + 0.0)

    def __len__(self) -> int:
        return len(self.raw)

    @staticmethod
    def joined(parts: "Sequence[Transactions]") -> "Transactions":
        """Transactions of one contract, none of them partial, together and in this order."""
        if len(parts) == 1:
            return parts[0]
        unseen: dict[tuple[int, str], str] = {}
        begin = 0
        for each in parts:
            unseen |= {(begin + row, name): text for (row, name), text in each.unseen.items()}
            begin += len(each)
        return Transactions(
            np.concatenate([each.raw for each in parts]),
            [name for each in parts for name in each.ids],
            [moment for each in parts for moment in each.event_times or [None] * len(each)]
            if any(each.event_times for each in parts)
            else [],
            unseen,
            {name: [key for each in parts for key in each.entities[name]] for name in parts[0].entities},
        )

    def take(self, rows: list[int]) -> "Transactions":
        """Some of them, in this order."""
        times = [self.event_times[row] for row in rows] if self.event_times else []
        unseen: dict[tuple[int, str], str] = {}
        if self.unseen:
            places = {row: place for place, row in enumerate(rows)}
            unseen = {(places[row], name): text for (row, name), text in self.unseen.items() if row in places}
        entities = {name: [values[row] for row in rows] for name, values in self.entities.items()}
        return Transactions(self.raw[rows], [self.ids[row] for row in rows], times, unseen, entities, self.partial)

    def texts(self, contract: Contract) -> dict[str, list[str | None]]:
        """Categories in words and entities, by field, n of each; None where one is missing."""
        found = {name: list(values) for name, values in self.entities.items()}
        for place, each in enumerate(contract.scored_fields):
            if each.type == "category":
                codes = self.raw[:, place]
                words = [None if np.isnan(code) else each.values[int(code)] for code in codes]
                for row in np.flatnonzero(codes == OTHER).tolist():
                    words[row] = self.unseen.get((row, each.name), "other")
                found[each.name] = words
        return found


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a batch: what of it can be scored, and what is wrong with the rest.

    Attributes
    ----------
    rows : ndarray of shape (n,)
        Where each of the transactions stands: see `serving.errors.FieldError`.
    errors : list of FieldError
        Faults of the other rows, in order.
    """

    transactions: Transactions
    rows: NDArray[np.int64]
    errors: list[FieldError]


class TransactionParser:
    """Reads JSON transactions of a contract; immutable, made once for every model that goes live.

    Parameters
    ----------
    contract : Contract
    """

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        members = _members(contract)
        self._model: type[BaseModel] = create_model(
            "Transaction",
            __config__=ConfigDict(extra="forbid"),
            **_attributes(members),  # type: ignore[call-overload]
        )
        self._fields, self._plain = len(contract.given_names), contract.plain
        named = {name: f"member_{place}" for place, name in enumerate(members)}
        chosen = [named[name] for name in contract.given_names]
        one: Callable[[dict[str, Any]], tuple[Any, ...]] = lambda row: (row[chosen[0]],)  # noqa: E731
        self._raw_values = itemgetter(*chosen) if len(chosen) > 1 else one
        self._id, self._moment = named[contract.transaction_id], named[contract.event_time]
        self._entities = {name: named[name] for name in contract.entities}

    def schema(self) -> dict[str, Any]:
        """The JSON schema of a transaction."""
        return self._model.model_json_schema()

    def one(self, body: bytes) -> Transactions:
        """One JSON object.

        Raises
        ------
        MalformedJson
            When the body is not JSON.
        InvalidFields
            Naming every field that is missing, unknown, or not a finite number within its range.
        """
        row = json_in(body)
        try:
            return self._transactions([vars(self._model.model_validate(row))], [row])
        except ValidationError as error:
            raise InvalidFields(_faults(error)) from None

    def batch(self, body: bytes, max_rows: int) -> Chunk:
        """A JSON array of objects, as one chunk; takes a while where it is large, and belongs on a worker thread.

        Raises
        ------
        MalformedJson, InvalidFields
            When the body is not JSON, or no array.
        BodyTooLarge
            When there are more than ``max_rows``.
        """
        if not is_array(body):
            if len(body) <= SMALL_BYTES:
                json_in(body)  # says what is wrong with it, if it is not JSON
            raise InvalidFields([{"message": "The body should be an array of transactions."}])
        valid: list[dict[str, Any]] = []
        given: list[dict[str, Any]] = []
        places: list[int] = []
        faults: list[FieldError] = []
        count = 0
        for rows in json_array(body):
            first, count = count, count + len(rows)
            if count > max_rows:
                raise BodyTooLarge(
                    f"The batch has {count} transactions or more; at most {max_rows} are taken.", "Send it in parts."
                )
            for place, row in enumerate(rows, first):
                try:
                    valid.append(vars(self._model.model_validate(row)))
                    given.append(row)
                    places.append(place)
                except ValidationError as error:
                    faults += _faults(error, place, brief=len(faults) >= MAX_ERRORS)
        return Chunk(self._transactions(valid, given), np.array(places, dtype=np.int64), faults)

    def _transactions(self, rows: list[dict[str, Any]], sent: list[dict[str, Any]]) -> Transactions:
        values: Iterable[Any] = chain.from_iterable(map(self._raw_values, rows))
        if not self._plain:
            values = map(_as_number, values)
        raw = np.fromiter(values, dtype=np.float64, count=len(rows) * self._fields)
        times = [row[self._moment] for row in rows]
        given = times if any(times) else []
        ids = [row[self._id] for row in rows]
        raw = raw.reshape(len(rows), self._fields)
        if self.contract.history:
            given_fields, raw = raw, np.full((len(rows), self._fields + len(self.contract.history)), np.nan)
            raw[:, : self._fields] = given_fields
        entities = {name: [row[member] for row in rows] for name, member in self._entities.items()}
        if self.contract.plain:
            return Transactions(raw, ids, given, {}, entities)
        unseen = {(row, name): str(sent[row][name]).strip() for row, name in unseen_categories(raw, self.contract)}
        return Transactions(raw, ids, given, unseen, entities)


def unseen_categories(raw: NDArray[np.float64], contract: Contract) -> Iterator[tuple[int, str]]:
    """Rows and fields of raw transactions (n, fields) with a category that is not among its field's values."""
    for place, each in enumerate(contract.scored_fields):
        if each.type == "category":
            yield from ((row, each.name) for row in np.flatnonzero(raw[:, place] == OTHER).tolist())


def _as_number(value: float | datetime | None) -> float:
    if value is None:
        return np.nan
    return value.timestamp() if isinstance(value, datetime) else value


def _faults(error: ValidationError, row: int | None = None, *, brief: bool = False) -> list[FieldError]:
    where: FieldError = {} if row is None else {"row": row}
    if brief or error.error_count() > MAX_ERRORS:
        return [{**where, "message": f"{error.error_count()} fields are missing, unknown or invalid."}]
    found: list[FieldError] = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        named: FieldError = {"field": str(fault["loc"][0])[:MAX_NAME_LENGTH]} if fault["loc"] else {}
        message = _MESSAGES.get(fault["type"], fault["msg"]).removeprefix("Value error, ")
        found.append({**where, **named, "message": message})
    return found
