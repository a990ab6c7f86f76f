"""Raw tables to clean transactions: what cannot be used is refused naming file, column and row, the rest is counted."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ml_project.columns import (
    EXPECTED,
    NO_LABEL,
    UNKNOWN,
    category_text,
    distinct_texts,
    label_column,
    learn_values,
    raw_column,
)
from ml_project.contract import Contract
from ml_project.contract_parts import A_VALUE, OTHER, ContractField
from ml_project.dataset import ROWS_PER_DAY, with_history
from ml_project.errors import InvalidInput
from ml_project.event_times import NANOSECONDS, EventTimeBounds
from ml_project.tables import column_hint, spelled


@dataclass(frozen=True)
class CleaningReport:
    """What cleaning found and did.

    Attributes
    ----------
    rows_in, rows_out : int
        Rows before and after.
    frauds : int
        Fraud rows among those that stay, unweighted.
    duplicates_dropped : int
        Rows equal to an earlier one in everything but their weight.
    missing_imputed : dict of str to int
        Missing values replaced by their column's median, for columns that had any.
    engineered_dropped : int
        Engineered columns that came with the data and are recomputed instead.
    unlabelled_dropped : int
        Rows whose label is one of the contract's words for unknown: nothing is learnt from them.
    missing_kept, others : dict of str to int
        Values that are missing where they may be, and categories that are not among the field's values, by column.
    order : str
        What the rows are ordered by, in words.
    """

    rows_in: int
    rows_out: int
    frauds: int
    duplicates_dropped: int
    missing_imputed: dict[str, int]
    engineered_dropped: int
    unlabelled_dropped: int = 0
    missing_kept: dict[str, int] = dataclasses.field(default_factory=dict)
    others: dict[str, int] = dataclasses.field(default_factory=dict)
    order: str = ""

    @property
    def metrics(self) -> dict[str, int]:
        """For the run."""
        return {
            "rows_in": self.rows_in,
            "rows": self.rows_out,
            "frauds": self.frauds,
            "duplicates_dropped": self.duplicates_dropped,
            "missing_imputed": sum(self.missing_imputed.values()),
            "missing_kept": sum(self.missing_kept.values()),
            "other_categories": sum(self.others.values()),
            "unlabelled_dropped": self.unlabelled_dropped,
        }

    @property
    def notes(self) -> list[str]:
        """What else there is to say of the table."""
        found = [FILE_ORDER] if self.order == "file" else []
        if self.unlabelled_dropped:
            found.append(f"{self.unlabelled_dropped:,} rows have an unknown label: nothing is learnt from them")
        for said, counts in (("missing", self.missing_kept), ("of no listed category", self.others)):
            found += [f"{column}: {count:,} values {said}" for column, count in counts.items()]
        return found


FILE_ORDER: Final = (
    "no field has a time, so the rows count as in the order of their file, from old to new: training, validation and "
    f"test are cut by it, and {ROWS_PER_DAY:,} rows count as a day"
)


def clean(
    frame: pd.DataFrame,
    contract: Contract,
    missing: Literal["reject", "impute"] = "reject",
    *,
    name: str = "data",
    place_of: Callable[[int], str] = lambda _row: "",
    bounds: EventTimeBounds = NANOSECONDS,
    coded: bool = False,
) -> tuple[pd.DataFrame, CleaningReport]:
    """Check and normalise labelled transactions.

    Parameters
    ----------
    frame : DataFrame
        The contract's fields and label, optionally its weight and event time (ISO 8601 or timestamps, taken as UTC
        where they name no zone), in any order; numbers may be text. Values of categories must be known: see
        `learnt_values`.
    contract : Contract
    missing : {'reject', 'impute'}
        What to do with a missing raw field. Label, weight and event time are never imputed.
    name : str
        What messages call the data, usually its file.
    place_of : callable
        Where a row (counted from 1) stands in the data, for messages: its line, or its file; empty where there is no
        better name for it than its number.
    bounds : EventTimeBounds
        The event times that are believed.
    coded : bool
        Whether the fields are as raw transactions have them: rows of clean tables.

    Returns
    -------
    DataFrame
        ``contract.clean_columns`` as raw transactions have them, then those of ``contract.kept_columns`` that the data
        has, and those of history, computed unless rows are coded; ordered by event time, or else by time (stable), or
        else as they came.
    CleaningReport

    Raises
    ------
    InvalidInput
        Naming the first offending column and its first row (counted from 1).
    """
    check = _Check(contract, name, place_of)
    fields = {field.name: field for field in contract.given_fields}
    if not coded:
        check_columns([str(column) for column in frame.columns], contract, name)
    if frame.empty:
        raise InvalidInput(f"{name}: the table has no rows.", "Give a file with transactions.")
    imputed: dict[str, int] = {}
    kept: dict[str, int] = {}
    columns: dict[str, NDArray[np.float64]] = {}
    for column in contract.clean_columns:
        field = fields.get(column)
        if column not in frame:
            columns[column] = np.ones(len(frame)) if field is None else np.full(len(frame), np.nan)
            continue
        if column == contract.label_field and not (coded or contract.label.plain):
            columns[column] = check.labels(frame[column])
            continue
        plain = coded or field is None or field.type == "number"
        values = check.numbers(frame[column]) if plain else check.typed(fields[column], frame[column])
        holes = np.isnan(values)
        if holes.any() and field is not None and not field.required:
            kept[column] = int(holes.sum())
        elif holes.any():
            imputable = field is not None and field.numeric and not holes.all()
            if missing == "reject" or not imputable:
                check.refuse_missing(column, holes, imputable=imputable)
            imputed[column] = int(holes.sum())
            values = np.where(holes, np.nanmedian(values), values)
        columns[column] = values
    check.values(columns)
    label, event_time = contract.label_field, contract.event_time
    table = pd.DataFrame(columns).astype({label: np.int8})
    for column in contract.kept_columns:
        if column in frame:
            times = column == event_time
            table[column] = check.times(frame[column], bounds) if times else check.names(frame[column])
    for feature in contract.history if coded else ():
        if feature.name in frame:
            table[feature.name] = check.numbers(frame[feature.name])
    unknown = (table[label] == UNKNOWN).to_numpy()
    if unknown.all():
        raise InvalidInput(f"{name}: the label of every row is unknown.", "Give rows with labels.")
    duplicate = table.drop(columns=contract.weight).duplicated()
    order = event_time if event_time in table else contract.time
    if order is None and contract.transaction_id not in table:
        duplicate[:] = False  # nothing tells a repeated row from another transaction of the kind
    repeated = int((duplicate & ~unknown).sum())
    table = table[~duplicate]
    table = (
        table.reset_index(drop=True) if order is None else table.sort_values(order, kind="stable", ignore_index=True)
    )
    if not coded:
        table = with_history(table, contract)
    if unknown.any():
        # Only now: nothing is learnt from an unknown label, but the transaction is part of what others had before.
        table = table[table[label] != UNKNOWN].reset_index(drop=True)
    categories = (column for column, field in fields.items() if field.type == "category")
    others = {column: int((table[column] == OTHER).sum()) for column in categories}
    return table, CleaningReport(
        rows_in=len(frame),
        rows_out=len(table),
        frauds=int(table[label].sum()),
        duplicates_dropped=repeated,
        missing_imputed=imputed,
        engineered_dropped=sum(column in frame for column in contract.engineered),
        unlabelled_dropped=int(unknown.sum()),
        missing_kept=kept,
        others={column: count for column, count in others.items() if count},
        order="event time" if order == event_time else "time" if order else "file",
    )


def learnt_values(frame: pd.DataFrame, contract: Contract) -> dict[str, tuple[str, ...]]:
    """The values of each category for which the contract names none: see `columns.learn_values`.

    Columns that are not there are left to `clean`, which says so.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name in contract.unlearnt:
        texts, places = distinct_texts(arrow_column(frame[name])) if name in frame else ([], np.zeros(0, np.int64))
        counts = np.bincount(places[places >= 0], minlength=len(texts)).tolist()
        found[name] = learn_values(zip(texts, counts, strict=True)) or NO_VALUES
    return found


NO_VALUES: Final = ("none",)
"""What a category learns from a column without a value."""


def arrow_column(series: pd.Series) -> pa.Array:
    """A column for `ml_project.columns`; mixed ones become text."""
    try:
        return pa.Array.from_pandas(series)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None or value != value else category_text(value) for value in series])


def check_columns(names: Sequence[str], contract: Contract, name: str) -> None:
    """Refuse a table by its columns alone.

    Raises
    ------
    InvalidInput
        When a column is unknown, missing or there twice.
    """
    required = contract.required_columns
    optional = [
        name for name in (*contract.given_names, contract.weight, *contract.kept_columns) if name not in required
    ]
    beside = ", ".join(spelled(list(dict.fromkeys(optional))))
    expected = f"The columns are {', '.join(spelled(required))}, optionally {beside}."
    known = {*contract.known_columns} - ({contract.transaction_id} - {*contract.kept_columns})
    for column in names:
        if column not in known:
            advice = column_hint(column, contract) or "Remove it."
            raise InvalidInput(f"{name}: unknown column {column!r}.", f"{advice} {expected}")
    require_distinct(names, name)
    absent = [column for column in required if column not in names]
    if absent:
        raise InvalidInput(f"{name}: missing column {', '.join(absent)}.", f"Add it. {expected}")


def require_distinct(names: Sequence[str], name: str) -> None:
    """Refuse a table with two columns of one name: there is no telling which of them counts.

    Raises
    ------
    InvalidInput
        Naming the first such column.
    """
    for column, times in Counter(names).items():
        if times > 1:
            raise InvalidInput(f"{name}: column {column} appears twice.", "Keep one of them.")


LONGEST_NAME: Final = 64
"""Characters of a transaction's or an entity's name."""


@dataclass(frozen=True)
class _Check:
    """The refusals, all worded alike."""

    contract: Contract
    name: str
    place_of: Callable[[int], str]

    def numbers(self, series: pd.Series) -> NDArray[np.float64]:
        column = str(series.name)
        if not (pd.api.types.is_numeric_dtype(series) or series.dtype == object or series.dtype == "string"):
            raise InvalidInput(f"{self.name}: column {column} holds {series.dtype}.", "Give numbers.")
        numeric = pd.to_numeric(series, errors="coerce")
        text = (numeric.isna() & series.notna()).to_numpy()
        if text.any():
            found = str(series[text].iloc[0])[:40]
            self._refuse(column, text, f"{found!r} is not a number", "Correct the value or remove the row.")
        # Numbers in text go through float(), which rounds correctly where to_numeric may be off by the last bit.
        exact = numeric if pd.api.types.is_numeric_dtype(series) else series
        try:
            values: NDArray[np.float64] = exact.to_numpy(np.float64, na_value=np.nan)
        except ValueError:  # to_numeric takes text up to a NUL for the whole
            cut = series.astype(str).str.contains("\0", regex=False).to_numpy()
            self._refuse(column, cut, "the value has a NUL character", "Correct the value or remove the row.")
        infinite = np.isinf(values)
        if infinite.any():
            self._refuse(column, infinite, "the value is infinite", "Correct the value or remove the row.")
        return values

    def typed(self, field: ContractField, series: pd.Series) -> NDArray[np.float64]:
        try:
            values = raw_column(field, arrow_column(series))
        except TypeError:
            said = f"{self.name}: column {field.name} holds {series.dtype}."
            raise InvalidInput(said, f"Give {EXPECTED[field.type]}.") from None
        wrong = np.isinf(values) | (field.whole & (values != np.floor(values)) & ~np.isnan(values))
        if wrong.any():
            found = str(series[wrong].iloc[0])[:40]
            self._refuse(field.name, wrong, f"{found!r} is not {A_VALUE[field.type]}", "Correct it or remove the row.")
        return values

    def labels(self, series: pd.Series) -> NDArray[np.float64]:
        label = self.contract.label
        found = label_column(label.positive, label.negative, label.unknown, arrow_column(series))
        wrong = found == NO_LABEL
        if wrong.any():
            said = series[wrong].iloc[0]
            words = ", ".join((*label.positive, *label.negative, *label.unknown))
            problem = "the label is missing" if pd.isna(said) or said == "" else f"the label is {str(said)[:40]!r}"
            remedy = f"Give one of {words}, or name it in the contract: label positive, negative or unknown."
            self._refuse(self.contract.label_field, wrong, problem, remedy)
        return found.astype(np.float64)

    def names(self, series: pd.Series) -> pd.Series:
        texts, places = distinct_texts(arrow_column(series))
        longest = np.array([len(text) > LONGEST_NAME for text in texts] + [False])[places]
        if longest.any():
            problem = f"the name has more than {LONGEST_NAME} characters"
            self._refuse(str(series.name), longest, problem, "Shorten it.")
        named = np.array([*(text or None for text in texts), None], dtype=object)[places]
        role = "transaction_id" if str(series.name) == self.contract.transaction_id else "entity"
        nameless = np.array([each is None for each in named])
        declared = {field.name: field for field in self.contract.fields}[str(series.name)]
        if nameless.any() and declared.required and role == "entity":
            self.refuse_missing(str(series.name), nameless, imputable=False)
        return pd.Series(named, dtype=object)

    def refuse_missing(self, column: str, rows: NDArray[np.bool_], *, imputable: bool) -> NoReturn:
        impute = ", or set missing to impute" if imputable else ""
        self._refuse(column, rows, "the value is missing", f"Fill it in, remove the row{impute}.")

    def values(self, columns: dict[str, NDArray[np.float64]]) -> None:
        contract = self.contract
        for field in contract.given_fields:
            if field.numeric:
                self._limits(field, columns[field.name])
        label, weight = columns[contract.label_field], columns[contract.weight]
        neither, nothing = (label != 0) & (label != 1) & (label != UNKNOWN), weight <= 0
        if neither.any():
            problem = "the label is neither 0 nor 1"
            self._refuse(contract.label_field, neither, problem, "Give 1 for fraud, else 0.")
        if nothing.any():
            problem = "the weight is not positive"
            self._refuse(contract.weight, nothing, problem, "Give 1/p for a row kept with probability p.")

    def _limits(self, field: ContractField, values: NDArray[np.float64]) -> None:
        what = field.role if field.role in ("amount", "time") else "value"
        for limit, bad, said, least in (
            (field.minimum, values < (-np.inf if field.minimum is None else field.minimum), "below", "least"),
            (field.maximum, values > (np.inf if field.maximum is None else field.maximum), "above", "most"),
        ):
            if bad.any():
                problem = "is negative" if limit == 0 and said == "below" else f"is {said} {limit:g}"
                self._refuse(field.name, bad, f"the {what} {problem}", f"Give {what}s of at {least} {limit:g}.")

    def times(self, series: pd.Series, bounds: EventTimeBounds) -> pd.Series:
        if pd.api.types.is_numeric_dtype(series):
            raise InvalidInput(
                f"{self.name}: column {self.contract.event_time} holds numbers.",
                "Give ISO 8601 text or timestamps, in UTC.",
            )
        times = pd.to_datetime(series, utc=True, errors="coerce", format="ISO8601")
        bad = times.isna().to_numpy()
        if bad.any():
            problem = "the time is missing, not ISO 8601 or centuries away"
            self._refuse(self.contract.event_time, bad, problem, "Write 2013-09-01T12:00:00Z.")
        outside = ((times < bounds.earliest) | (times > bounds.latest)).to_numpy()
        if outside.any():
            found = f"{times[outside].iloc[0]:%Y-%m-%d %H:%M:%S}"
            remedy = "Correct it, or set FRAUD_EVENT_TIME_FROM or FRAUD_EVENT_TIME_AHEAD_HOURS."
            self._refuse(self.contract.event_time, outside, f"the time {found} does not lie {bounds}", remedy)
        return times.astype("datetime64[ns, UTC]").reset_index(drop=True)

    def _refuse(self, column: str, rows: NDArray[np.bool_], problem: str, remedy: str) -> NoReturn:
        first = int(np.argmax(rows)) + 1
        place = self.place_of(first)
        where = f" ({place})" if place else ""
        more = int(rows.sum()) - 1
        also = f", as in {more} more row{'s' if more > 1 else ''}" if more else ""
        raise InvalidInput(f"{self.name}: column {column}, row {first}{where}: {problem}{also}.", remedy)
