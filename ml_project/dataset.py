"""Labelled transactions as arrays, in time order: what training, evaluation and the gate work on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.schema import EVENT_TIME, LABEL, RAW_FEATURES, SECONDS_PER_DAY, WEIGHT


def span_in_days(first_moment: float, last_moment: float) -> float:
    """Length of a span (at least a minute, so that rates stay finite)."""
    return max(last_moment - first_moment, 60.0) / SECONDS_PER_DAY


@dataclass(frozen=True)
class Dataset:
    """Labelled transactions, ordered by time.

    Attributes
    ----------
    raw : ndarray of shape (n, 30)
        Raw fields, columns as in ``schema.RAW_FEATURES``.
    label : ndarray of shape (n,), int8
        1 for fraud, 0 for legitimate.
    weight : ndarray of shape (n,)
        Sampling weight: a row kept with probability p counts 1/p.
    moment : ndarray of shape (n,)
        What orders the rows, in seconds: ``event_time`` since 1970 where there is one, else ``Time``.
    """

    raw: NDArray[np.float64]
    label: NDArray[np.int8]
    weight: NDArray[np.float64]
    moment: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def amount(self) -> NDArray[np.float64]:
        """Amounts, shape (n,)."""
        return self.raw[:, -1]

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
        return Dataset(self.raw[rows], self.label[rows], self.weight[rows], self.moment[rows])

    def to_frame(self) -> pd.DataFrame:
        """Columns as `from_frame` reads them; ``event_time`` where the rows were ordered by it."""
        frame = pd.DataFrame(self.raw, columns=list(RAW_FEATURES))
        frame[LABEL], frame[WEIGHT] = self.label, self.weight
        if not np.array_equal(self.moment, self.raw[:, 0]):
            frame[EVENT_TIME] = pd.to_datetime(self.moment, unit="s", utc=True)
        return frame

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> "Dataset":
        """Arrays of a cleaned frame (see ``cleaning``), sorted by ``event_time`` where there is one, else by Time."""
        if EVENT_TIME in frame:
            times = pd.to_datetime(frame[EVENT_TIME], utc=True).astype("datetime64[ns, UTC]")
            moment = times.astype("int64").to_numpy() / 1e9
        else:
            moment = frame["Time"].to_numpy(dtype=np.float64)
        weight = frame[WEIGHT].to_numpy(dtype=np.float64) if WEIGHT in frame else np.ones(len(frame))
        # clean data is in order; then nothing is moved, and column by column no second copy of all rows is made
        sorted_already = bool(np.all(moment[1:] >= moment[:-1]))
        order = slice(None) if sorted_already else np.argsort(moment, kind="stable")
        raw = np.empty((len(frame), len(RAW_FEATURES)))
        for place, name in enumerate(RAW_FEATURES):
            raw[:, place] = frame[name].to_numpy(dtype=np.float64)[order]
        return cls(raw, frame[LABEL].to_numpy(dtype=np.int8)[order], weight[order], moment[order])
