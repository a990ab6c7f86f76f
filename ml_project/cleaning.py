"""Raw tables to clean transactions: what cannot be used is refused naming file, column and row, the rest is counted."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.contract import Contract, ContractField
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
    """

    rows_in: int
    rows_out: int
    frauds: int
    duplicates_dropped: int
    missing_imputed: dict[str, int]
    engineered_dropped: int

    @property
    def metrics(self) -> dict[str, int]:
        """For the run."""
        return {
            "rows_in": self.rows_in,
            "rows": self.rows_out,
            "frauds": self.frauds,
            "duplicates_dropped": self.duplicates_dropped,
            "missing_imputed": sum(self.missing_imputed.values()),
        }


def clean(
    frame: pd.DataFrame,
    contract: Contract,
    missing: Literal["reject", "impute"] = "reject",
    *,
    name: str = "data",
    place_of: Callable[[int], str] = lambda _row: "",
    bounds: EventTimeBounds = NANOSECONDS,
) -> tuple[pd.DataFrame, CleaningReport]:
    """Check and normalise labelled transactions.

    Parameters
    ----------
    frame : DataFrame
        The contract's fields and label, optionally its weight and event time (ISO 8601 or timestamps, taken as UTC
        where they name no zone), in any order; numbers may be text.
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

    Returns
    -------
    DataFrame
        ``contract.clean_columns``, and the event time where the data has it, ordered by it or else by time (stable).
    CleaningReport

    Raises
    ------
    InvalidInput
        Naming the first offending column and its first row (counted from 1).
    """
    check, raw_fields = _Check(contract, name, place_of), contract.raw_fields
    check_columns([str(column) for column in frame.columns], contract, name)
    if frame.empty:
        raise InvalidInput(f"{name}: the table has no rows.", "Give a file with transactions.")
    imputed: dict[str, int] = {}
    columns: dict[str, NDArray[np.float64]] = {}
    for column in contract.clean_columns:
        if column not in frame:
            columns[column] = np.ones(len(frame))
            continue
        values = check.numbers(frame[column])
        holes = np.isnan(values)
        if holes.any():
            if missing == "reject" or column not in raw_fields or holes.all():
                check.refuse_missing(column, holes, imputable=column in raw_fields and not holes.all())
            imputed[column] = int(holes.sum())
            values = np.where(holes, np.nanmedian(values), values)
        columns[column] = values
    check.values(columns)
    label, event_time = contract.label_field, contract.event_time
    table = pd.DataFrame(columns).astype({label: np.int8})
    if event_time in frame:
        table[event_time] = check.times(frame[event_time], bounds)
    duplicate = table.drop(columns=contract.weight).duplicated()
    order = event_time if event_time in table else contract.time
    table = table[~duplicate].sort_values(order, kind="stable", ignore_index=True)
    return table, CleaningReport(
        rows_in=len(frame),
        rows_out=len(table),
        frauds=int(table[label].sum()),
        duplicates_dropped=int(duplicate.sum()),
        missing_imputed=imputed,
        engineered_dropped=sum(column in frame for column in contract.engineered),
    )


def check_columns(names: Sequence[str], contract: Contract, name: str) -> None:
    """Refuse a table by its columns alone.

    Raises
    ------
    InvalidInput
        When a column is unknown, missing or there twice.
    """
    wanted = ", ".join(spelled(contract.raw_fields))
    beside = f"{contract.weight}, {contract.event_time}"
    expected = f"The columns are {wanted}, {contract.label_field}, optionally {beside}."
    for column in names:
        if column not in contract.known_columns or column == contract.transaction_id:
            advice = column_hint(column, contract) or "Remove it."
            raise InvalidInput(f"{name}: unknown column {column!r}.", f"{advice} {expected}")
    require_distinct(names, name)
    absent = [column for column in contract.labelled_columns if column not in names]
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
            raise InvalidInput(f"{name}: column {column} is there twice.", "Keep one of them.")


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
        values: NDArray[np.float64] = exact.to_numpy(np.float64, na_value=np.nan)
        infinite = np.isinf(values)
        if infinite.any():
            self._refuse(column, infinite, "the value is infinite", "Correct the value or remove the row.")
        return values

    def refuse_missing(self, column: str, rows: NDArray[np.bool_], *, imputable: bool) -> NoReturn:
        impute = ", or set missing to impute" if imputable else ""
        self._refuse(column, rows, "the value is missing", f"Fill it in, remove the row{impute}.")

    def values(self, columns: dict[str, NDArray[np.float64]]) -> None:
        contract = self.contract
        for field in contract.scored_fields:
            self._limits(field, columns[field.name])
        label, weight = columns[contract.label_field], columns[contract.weight]
        neither, nothing = (label != 0) & (label != 1), weight <= 0
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
