"""Labelled transactions as arrays, in time order: what training, evaluation and the gate work on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.contract import Contract
from ml_project.history import ADDING, Events, Integers, compute_history, minor_units
from ml_project.operators import SECONDS_PER_DAY

ROWS_PER_DAY: Final = 10_000
"""What counts as a day of a table without times, whose rows are in the order of their file."""


def file_moments(rows: int) -> NDArray[np.float64]:
    """Seconds (n,) of rows whose order is all that is known."""
    return np.arange(rows, dtype=np.float64) * (SECONDS_PER_DAY / ROWS_PER_DAY)


def span_in_days(first_moment: float, last_moment: float) -> float:
    """Length of a span (at least a minute, so that rates stay finite)."""
    return max(last_moment - first_moment, 60.0) / SECONDS_PER_DAY


@dataclass(frozen=True)
class Dataset:
    """Labelled transactions, ordered by time.

    Attributes
    ----------
    contract : Contract
        What the columns are.
    raw : ndarray of shape (n, fields)
        Raw fields, columns as in ``contract.raw_fields``.
    label : ndarray of shape (n,), int8
        1 for fraud, 0 for legitimate.
    weight : ndarray of shape (n,)
        Sampling weight: a row kept with probability p counts 1/p.
    moment : ndarray of shape (n,)
        What orders the rows, in seconds: the event time since 1970 where there is one, else the field of role time,
        else the row's place in its file (`file_moments`).
    entities : mapping
        Of each entity that the table tells, a number (n,) for each of its keys; -1 where there is none. The keys
        themselves are not kept.
    """

    contract: Contract
    raw: NDArray[np.float64]
    label: NDArray[np.int8]
    weight: NDArray[np.float64]
    moment: NDArray[np.float64]
    entities: Mapping[str, Integers] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def amount(self) -> NDArray[np.float64]:
        """Amounts, shape (n,); zeros where the contract has none."""
        return self.contract.amounts(self.raw)

    @property
    def frauds(self) -> int:
        """Number of fraud rows, unweighted: what limits every figure's precision."""
        return int(self.label.sum())

    @property
    def days(self) -> float:
        """Days that the rows cover."""
        return span_in_days(self.first_moment, self.last_moment)

    @property
    def first_moment(self) -> float:
        """Of the earliest row."""
        return float(self.moment[0])

    @property
    def last_moment(self) -> float:
        """Of the latest row."""
        return float(self.moment[-1])

    def take(self, rows: slice | NDArray[np.intp] | NDArray[np.bool_]) -> "Dataset":
        """The chosen rows; ``rows`` must keep their order."""
        return replace(
            self,
            raw=self.raw[rows],
            label=self.label[rows],
            weight=self.weight[rows],
            moment=self.moment[rows],
            entities={name: codes[rows] for name, codes in self.entities.items()},
        )

    def to_frame(self) -> pd.DataFrame:
        """Columns as `from_frame` reads them; the event time where the rows were ordered by it."""
        contract = self.contract
        frame = pd.DataFrame(self.raw, columns=list(contract.raw_fields))
        frame[contract.label_field], frame[contract.weight] = self.label, self.weight
        if contract.event_time in contract.raw_fields:
            microseconds = np.round(self.moment * 1e6).astype(np.int64)
            frame[contract.event_time] = pd.to_datetime(microseconds, unit="us", utc=True)
        elif contract.time_place is None or not np.array_equal(self.moment, self.raw[:, contract.time_place]):
            frame[contract.event_time] = pd.to_datetime(self.moment, unit="s", utc=True)
        for name, codes in self.entities.items():
            frame[name] = pd.Series(codes, dtype="Int64").mask(codes < 0)
        return frame

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, contract: Contract) -> "Dataset":
        """Arrays of a cleaned frame (see ``cleaning``), sorted by event time, else by time, else as they are."""
        seconds = np.full(len(frame), np.nan)
        if contract.event_time in frame:
            times = pd.to_datetime(frame[contract.event_time], utc=True).astype("datetime64[ns, UTC]")
            nanoseconds = times.astype("int64").to_numpy()
            moment, seconds = nanoseconds / 1e9, nanoseconds // 1_000 / 1e6  # as gateways have it
        elif contract.time is not None:
            moment = frame[contract.time].to_numpy(dtype=np.float64)
        else:
            moment = file_moments(len(frame))
        given = contract.weight in frame
        weight = frame[contract.weight].to_numpy(dtype=np.float64) if given else np.ones(len(frame))
        # clean data is in order; then nothing is moved, and column by column no second copy of all rows is made
        sorted_already = bool(np.all(moment[1:] >= moment[:-1]))
        order = slice(None) if sorted_already else np.argsort(moment, kind="stable")
        raw = np.empty((len(frame), len(contract.raw_fields)))
        for place, name in enumerate(contract.raw_fields):
            column = seconds if name == contract.event_time else frame[name].to_numpy(dtype=np.float64)
            raw[:, place] = column[order]
        label = frame[contract.label_field].to_numpy(dtype=np.int8)
        entities = {name: _codes(frame, name)[order] for name in contract.entities if name in frame}
        return cls(contract, raw, label[order], weight[order], moment[order], entities)


def events_of(frame: pd.DataFrame, contract: Contract) -> Events:
    """A clean table as history sees it; one without labels has no frauds."""
    asked, fields = contract.history, {each.name: each for each in contract.fields}
    times = pd.to_datetime(frame[contract.event_time], utc=True).dt.as_unit("us")
    added = dict.fromkeys(each.of[0] for each in asked if each.operator in ADDING)
    counted = dict.fromkeys(each.of[0] for each in asked if each.operator == "distinct")
    values = {name: frame[name].to_numpy(dtype=np.float64) for name in added}
    fraud = np.zeros(len(frame), dtype=np.bool_)
    if contract.label_field in frame:
        fraud = frame[contract.label_field].to_numpy() == 1
    return Events(
        at=np.asarray(times.astype("int64"), dtype=np.int64),
        keys={name: _codes(frame, name) for name in dict.fromkeys(each.by for each in asked) if name},
        amounts={name: minor_units(fields[name], values[name]) for name in added},
        present={name: ~np.isnan(values[name]) for name in added},
        codes={name: _codes(frame, name) for name in counted},
        fraud=fraud,
    )


def _codes(frame: pd.DataFrame, name: str) -> Integers:
    if name not in frame:  # a field that tables may leave out
        return np.full(len(frame), -1)
    return pd.factorize(frame[name])[0].astype(np.int64)


def with_history(frame: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """A clean table with the columns of its history last, computed from its own rows."""
    if not contract.history:
        return frame
    columns = compute_history(contract, events_of(frame, contract))
    names = [feature.name for feature in contract.history]
    return pd.concat([frame, pd.DataFrame(columns, columns=names, index=frame.index)], axis=1)
