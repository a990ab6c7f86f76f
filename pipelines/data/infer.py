"""A draft of a contract from a table: each column's type, what may be missing, the roles, and features that suit them.

The draft trains as it is. Every guess is a comment beside what it led to, because a person has to look at it once.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.cleaning import arrow_column
from ml_project.columns import LEARNT_ROWS, NO_VALUE, TRUTHS, distinct_texts, number_of, seconds_of
from ml_project.contract import Contract
from ml_project.contract_file import InvalidContract, parse_contract
from ml_project.contract_parts import WRONG, label_word
from ml_project.errors import InvalidInput
from ml_project.tables import is_index, spelled
from pipelines.data.files import MOST_BYTES, read_table

FRAUD: Final = ("1", "yes", "fraud", "fraudulent", "y", "t", "positive", "bad")
LEGITIMATE: Final = ("0", "no", "legit", "legitimate", "genuine", "n", "f", "negative", "good", "ok")

_AMOUNTS: Final = re.compile(r"amount|amt|betrag|price|preis|total|cents?", re.IGNORECASE)
_NAMED: Final = re.compile(r"(^|[ _.-])(id|uuid|key|no|nr|number|reference|ref)$|id$", re.IGNORECASE)
_COMMA: Final = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?", re.ASCII)
_MOST_VALUES: Final = 50
_MOST_HOT: Final = 12
"""Values up to which a category becomes a feature each; with more, how common a value is says it in one."""

_OWN: Final = {"event_time": "event_time", "sampling_weight": "weight", "transaction_id": "transaction_id"}
"""Columns whose name is a role's own."""


@dataclass(frozen=True)
class Wishes:
    """What a person knows of the columns.

    Attributes
    ----------
    label : str
        The column with the label.
    time, amount : str
        Columns with these roles; empty: guessed by type and name.
    entities : tuple of str
        Columns that name customers, cards, terminals.
    """

    label: str
    time: str = ""
    amount: str = ""
    entities: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Column:
    """What was seen of a column, and what follows."""

    name: str
    type: str
    keys: dict[str, Any] = field(default_factory=dict)
    comments: tuple[str, ...] = ()
    values: int = 0
    """Different values that are there."""
    alone: bool = False
    """Whether each row has a value of its own."""

    def with_keys(self, comment: str = "", **keys: Any) -> "_Column":
        said = (*self.comments, comment) if comment else self.comments
        return replace(self, keys=self.keys | keys, comments=said)

    @property
    def optional(self) -> bool:
        return self.keys.get("required") is False


def infer_contract(
    data: str, name: str, wishes: Wishes, s3_endpoint_url: str = "", most_bytes: int = MOST_BYTES
) -> str:
    """The draft of a contract for the table at ``data``, as YAML.

    Raises
    ------
    InvalidInput
        When the table cannot be read, has no such column, or its columns cannot be fields.
    """
    blank = {"name": "a column of no table", "type": "category", "required": False, "values": ("a",)}
    feature = {"name": "none", "operator": "missing", "of": (blank["name"],)}
    unknown = Contract.model_validate(
        {"contract": "draft", "fields": [blank], "label": {"field": wishes.label}, "features": [feature]}
    )
    frame = read_table(data, unknown, s3_endpoint_url, most_bytes).frame
    names = [str(column) for column in frame.columns]
    for wanted in filter(None, (wishes.label, wishes.time, wishes.amount, *wishes.entities)):
        if wanted not in names:
            raise InvalidInput(
                f"{data}: there is no column {wanted!r}.", f"The columns are {', '.join(spelled(names))}."
            )
    if frame.empty:
        raise InvalidInput(f"{data}: the table has no rows.", "Give a file with transactions.")
    fields = [column for column in names if column != wishes.label and not is_index(column)]
    columns = _with_roles([_column(frame[each], each) for each in fields], wishes)
    text = _written(name, data, columns, _label(frame[wishes.label], wishes.label), wishes)
    try:
        parse_contract(text.encode(), "the draft")
    except InvalidContract as error:
        faults = " ".join(error.lines)
        raise InvalidInput(f"{data}: its columns cannot be fields as they are. {faults}", "Rename them.") from error
    return text


def _column(series: pd.Series, name: str) -> _Column:
    texts, places = distinct_texts(arrow_column(series))
    counts = np.bincount(places[places >= 0], minlength=len(texts))
    known = {text for text in texts if text not in NO_VALUE}
    typed = _typed(series, name, texts, known, counts)
    blanks = {
        place for place, text in enumerate(texts) if (text == "" if typed.type == "category" else text in NO_VALUE)
    }
    missing = int((places < 0).sum() + sum(counts[place] for place in blanks))
    if missing:
        share = f"{missing / len(series):.1%}" if missing >= len(series) / 1_000 else f"{missing}"
        typed = typed.with_keys(f"{share} of the rows have none", required=False)
    if len(known) == 1 and typed.type != "string":
        typed = typed.with_keys("always the same: no feature is made of it")
    return replace(typed, values=len(known), alone=len(known) == len(series))


def _typed(series: pd.Series, name: str, texts: list[str], known: set[str], counts: NDArray[np.int64]) -> _Column:
    folded = {text.casefold() for text in known}
    if pd.api.types.is_bool_dtype(series) or (folded and folded <= TRUTHS.keys() and not folded <= {"1", "0"}):
        return _Column(name, "boolean")
    if pd.api.types.is_datetime64_any_dtype(series):
        return _Column(name, "timestamp")
    if not known:
        return _Column(name, "number", comments=("no row has a value: remove the column if it stays so",))
    numbers = np.array([number_of(text.replace(",", ".") if _COMMA.fullmatch(text) else text) for text in known])
    if not np.isinf(numbers).any():
        return _number(name, numbers, len(series))
    if all(seconds_of(text) != WRONG for text in known):
        return _Column(name, "timestamp")
    if len(known) > max(_MOST_VALUES, len(series) // 10):
        return _Column(
            name, "string", {"role": "entity"}, (f"{len(known):,} different texts: an identifier, not a category",)
        )
    common = [text for text, count in zip(texts, counts.tolist(), strict=True) if count >= LEARNT_ROWS and text]
    if 0 < len(common) <= _MOST_HOT:
        rare = len(known) - len(common)
        said = (f"{rare} rare values count as other",) if rare > 0 else ()
        return _Column(name, "category", {"values": sorted(common)}, said)
    return _Column(name, "category", {}, (f"{len(known):,} values; the common ones are learnt at ingest",))


def _number(name: str, numbers: NDArray[np.float64], rows: int) -> _Column:
    if {*numbers.tolist()} <= {0.0, 1.0} and len(numbers) > 1:
        return _Column(name, "boolean", comments=("0 and 1 only",))
    whole = bool((numbers == np.floor(numbers)).all())
    kind = "integer" if whole else "number"
    low, high = float(numbers.min()), float(numbers.max())
    span = (high - low) or 1.0
    keys: dict[str, Any] = {"minimum": 0} if low >= 0 else {}
    keys["expected"] = [0 if low >= 0 else _rounded(low - span), _rounded(high + span)]
    said = []
    if whole and _NAMED.search(name) and len(numbers) == rows:
        return _Column(name, "string", {"role": "entity"}, ("a different number in each row: an identifier",))
    if whole and len(numbers) <= _MOST_HOT:
        said.append(f"{len(numbers)} different numbers: make it a category if they are codes")
    return _Column(name, kind, keys, tuple(said))


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _with_roles(columns: list[_Column], wishes: Wishes) -> list[_Column]:
    moments = [each.name for each in columns if each.type == "timestamp" and not each.optional]
    time = wishes.time or next((each.name for each in columns if each.name in moments or _is_seconds(each)), "")
    amount = wishes.amount or next(
        (each.name for each in columns if _AMOUNTS.search(each.name) and _is_amount(each)), ""
    )
    found = []
    named = False
    for each in columns:
        column = each
        if each.name in _OWN:
            kinds = {"event_time": "timestamp", "weight": "number", "transaction_id": "string"}
            role = _OWN[each.name]
            column = _Column(each.name, kinds[role], {"role": role, "required": False})
            named = named or role == "transaction_id"
        elif each.name in wishes.entities:
            column = _Column(each.name, "string", {"role": "entity", **_kept(each, "required")})
        elif each.name == time:
            column = _timed(each, guessed=not wishes.time)
        elif each.name == amount:
            column = _priced(each, guessed=not wishes.amount)
        elif each.type == "string" and not named and not each.optional and each.alone:
            named = True
            said = "a different value in each row: the transaction's identifier"
            column = _Column(each.name, "string", {"role": "transaction_id", "required": False}, (said,))
        found.append(column)
    return found


def _is_seconds(column: _Column) -> bool:
    seconds = column.name.casefold() in ("time", "seconds") and column.keys.get("minimum") == 0
    return seconds and column.type in ("integer", "number") and not column.optional


def _is_amount(column: _Column) -> bool:
    return column.type in ("integer", "number") and not column.optional and column.keys.get("minimum") == 0


def _kept(column: _Column, *keys: str) -> dict[str, Any]:
    return {key: column.keys[key] for key in keys if key in column.keys}


def _timed(column: _Column, *, guessed: bool) -> _Column:
    said = "a guess: it orders the rows" if guessed else ""
    if column.type == "timestamp":
        if column.optional:
            raise InvalidInput(
                f"The time {column.name} is missing in some rows.", "Fill it in, or name another column."
            )
        return column.with_keys(said, role="event_time")
    if column.type not in ("integer", "number") or column.optional:
        remedy = "Name a column with dates and times, or with seconds in every row."
        raise InvalidInput(f"The time {column.name} holds neither times nor seconds.", remedy)
    comment = "; ".join(filter(None, (said, "seconds from any midnight")))
    return column.with_keys(comment, role="time")


def _priced(column: _Column, *, guessed: bool) -> _Column:
    if not _is_amount(column):
        remedy = "Name a column with a number of at least 0 in every row, or none."
        raise InvalidInput(f"The amount {column.name} is not a number, missing in some rows, or negative.", remedy)
    said = "a guess: costs and slices follow it" if guessed else ""
    if column.type == "integer" and re.search(r"cents?", column.name, re.IGNORECASE):
        return column.with_keys(said or "counts cents", role="amount", decimals=2)
    return column.with_keys(said, role="amount")


@dataclass(frozen=True)
class _LabelGuess:
    keys: dict[str, Any]
    comment: str


def _label(series: pd.Series, name: str) -> _LabelGuess:
    texts, places = distinct_texts(arrow_column(series))
    words: dict[str, int] = {}
    for place, count in zip(*np.unique(places, return_counts=True), strict=True):
        word = texts[place].casefold() if place >= 0 else ""
        words[word] = words.get(word, 0) + int(count)
    positive = [word for word in words if label_word(word) in FRAUD]
    negative = [word for word in words if label_word(word) in LEGITIMATE]
    said = ""
    if not (positive and negative):
        if len(words) != 2:
            shown = ", ".join(repr(word) for word in list(words)[:5])
            remedy = "Give a column with two values, such as 0 and 1, or yes and no; a third may stand for unknown."
            raise InvalidInput(f"The label {name} has {len(words)} values ({shown}), none known as fraud.", remedy)
        (rare, common) = sorted(words, key=lambda word: words[word])
        positive, negative, said = [rare], [common], f"a guess: {rare!r} is the rarer one"
    unknown = [word for word in words if word not in (*positive, *negative)]
    frauds, others = (sum(words[word] for word in known) for known in (positive, negative))
    rate = frauds / (frauds + others)
    if unknown:
        said = f"{sum(words[word] for word in unknown):,} rows with an unknown label are not learnt from"
    keys: dict[str, Any] = {"field": name, "positive": _one_or_all(positive), "negative": _one_or_all(negative)}
    if unknown:
        keys["unknown"] = _one_or_all(unknown)
    keys["expected_rate"] = [_rounded(rate / 5), min(_rounded(rate * 5), 1.0)]
    return _LabelGuess(keys, "; ".join(filter(None, (f"{rate:.2%} frauds", said))))


def _one_or_all(words: list[str]) -> Any:
    return words[0] if len(words) == 1 else words


def _written(name: str, data: str, columns: Sequence[_Column], label: _LabelGuess, wishes: Wishes) -> str:
    lines = [
        f"# Drafted from {data.rstrip('/').rpartition('/')[2]}. It trains as it is. Its comments are guesses:",
        "# read them, and write what you know better. docs/contracts.md has every key.",
        "",
        f"contract: {name}",
        "version: 1",
        "",
        "fields:",
        *_field_lines(columns),
        "",
        *_entry("", "label", label.keys, (label.comment,)),
        "",
        "features:",
        *_feature_lines(columns, wishes.entities),
    ]
    return "\n".join(lines) + "\n"


def _field_lines(columns: Sequence[_Column]) -> Iterable[str]:
    for group in _runs(columns):
        first = group[0]
        keys = {"type": first.type, **first.keys}
        yield from _entry("  ", _named(group), keys, first.comments)


def _runs(columns: Sequence[_Column]) -> list[list[_Column]]:
    """Columns in order; neighbours with consecutive numbers that are alike make one entry."""
    groups: list[list[_Column]] = []
    for column in columns:
        last = groups[-1] if groups else []
        alike = last and (last[0].type, _alike(last[0])) == (column.type, _alike(column))
        if alike and "role" not in column.keys and len(spelled([*(each.name for each in last), column.name])) == 1:
            widest = _widest(last[0], column)
            groups[-1] = [*(replace(each, keys=widest) for each in last), replace(column, keys=widest)]
        else:
            groups.append([column])
    return groups


def _alike(column: _Column) -> dict[str, Any]:
    return {key: value for key, value in column.keys.items() if key != "expected"}


def _widest(first: _Column, second: _Column) -> dict[str, Any]:
    if "expected" not in first.keys:
        return first.keys
    (low, high), (least, most) = first.keys["expected"], second.keys["expected"]
    return first.keys | {"expected": [min(low, least), max(high, most)]}


def _named(group: Sequence[_Column], prefix: str = "") -> str:
    first, last = group[0].name, group[-1].name
    return f"{prefix}{first}" if len(group) == 1 else f"{prefix}{first}..{prefix}{last}"


def _feature_lines(columns: Sequence[_Column], entities: Sequence[str]) -> Iterable[str]:
    taken: set[str] = {column.name for column in columns}
    moment = next((each for each in columns if each.keys.get("role") in ("event_time", "time")), None)
    if moment is not None and moment.name != "event_time":
        yield from _entry("  ", _free("hour", taken), {"hour_of_day": moment.name})
        if moment.type == "timestamp":
            yield from _entry("  ", _free("weekend", taken), {"weekend": moment.name})
    for group in _runs([each for each in columns if _is_feature(each)]):
        first, name = group[0], _named(group)
        if first.type == "category":
            operator = "one_hot" if 0 < first.values <= _MOST_HOT else "frequency"
            yield from _entry("  ", name, {operator: name})
        elif first.type != "timestamp":
            yield from _entry("  ", name, {"value": name})
        if first.keys.get("role") == "amount":
            yield from _entry("  ", _free(f"{name}_log", taken), {"log1p": name})
        if first.optional and not (first.type == "category" and first.values <= _MOST_HOT):
            yield from _entry("  ", _named(group, "no "), {"missing": name})
    if moment is not None and moment.type == "timestamp":
        amount = next((each.name for each in columns if each.keys.get("role") == "amount"), None)
        for entity in dict.fromkeys(entities):
            yield from _history_lines(entity, amount, taken)


def _history_lines(entity: str, amount: str | None, taken: set[str]) -> Iterable[str]:
    """What the entity did before, of every entity that was named."""
    said: tuple[str, ...] = (f"history: what this {entity} did before",)
    for window in _WINDOWS:
        name = _free(f"{entity}_count_{window}", taken)
        yield from _entry("  ", name, {"count": {"by": entity, "window": window}}, said)
        said = ()
    mean = ""
    for window in _WINDOWS if amount else ():
        mean = _free(f"{entity}_mean_{window}", taken)
        yield from _entry("  ", mean, {"mean": {"of": amount, "by": entity, "window": window}})
    if amount:
        yield from _entry("  ", _free(f"{amount}_to_{mean}", taken), {"ratio": [amount, mean]})
    last = _free(f"{entity}_seconds_since_last", taken)
    yield from _entry("  ", last, {"seconds_since_last": {"by": entity, "window": _WINDOWS[-1]}})


_WINDOWS: Final = ("1d", "7d", "30d")


def _is_feature(column: _Column) -> bool:
    role = column.keys.get("role")
    return column.type != "string" and role in (None, "amount") and (column.values != 1 or column.optional)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += " feature"
    taken.add(name)
    return name


def _entry(indent: str, name: str, keys: dict[str, Any], comments: Sequence[str] = ()) -> list[str]:
    said = "; ".join(filter(None, comments))
    inside = ", ".join(f"{key}: {_value(value)}" for key, value in keys.items())
    return [f"{indent}{_quoted(name)}: {{{inside}}}" + (f"  # {said}" if said else "")]


_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.\.[A-Za-z_][A-Za-z0-9_]*)?|[0-9]+d", re.ASCII)


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_value(each)}' for key, each in value.items())}}}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    return f"{value:g}" if abs(value) < 1e15 else repr(float(value))
