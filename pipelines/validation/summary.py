"""Weighted figures of a data set in one row, for expectations on rates and means.

Expectations on columns count rows. Where legitimate rows were sampled, rates and means must count by weight, so they
are computed here and validated as a table of their own.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.schema import LABEL, PCA_COMPONENTS, WEIGHT

REFERENCE_FILE: Final = Path(__file__).with_name("reference.json")
COMPARED: Final = (*PCA_COMPONENTS, "Amount")
"""Time is no drift figure: it restarts with every extract."""


@dataclass(frozen=True)
class Reference:
    """Weighted mean and standard deviation of each compared feature in the reference data."""

    mean: dict[str, float]
    std: dict[str, float]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "Reference":
        """The reference that a clean table makes."""
        moments = {column: _moments(frame, column) for column in COMPARED}
        return cls(
            mean={column: round(mean, 6) for column, (mean, _) in moments.items()},
            std={column: round(std, 6) for column, (_, std) in moments.items()},
        )

    @classmethod
    def load(cls, path: Path = REFERENCE_FILE) -> "Reference":
        """The reference kept beside the suite: a sample of the public data set's first 80 %, weighted."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def summarise(frame: pd.DataFrame, reference: Reference) -> dict[str, float]:
    """Figures of a table, by weight; see `figures_of`. Those whose column is missing or not a number are left out."""
    columns = [column for column in (LABEL, *COMPARED) if _is_number(frame, column)]
    frauds = float((frame[LABEL] == 1).sum()) if LABEL in columns else 0.0
    return figures_of(len(frame), frauds, {column: _moments(frame, column) for column in columns}, reference)


def figures_of(
    rows: int, frauds: float, moments: dict[str, tuple[float, float]], reference: Reference
) -> dict[str, float]:
    """Figures from weighted means and standard deviations, however they were computed.

    Returns
    -------
    dict of str to float
        ``rows`` and ``frauds`` (unweighted), ``fraud_rate``, and for every compared feature ``mean_shift_*``
        (difference of means in reference standard deviations) and ``spread_*`` (ratio of standard deviations: the
        components' means are near 0, so that a wrong scale would not show in them).
    """
    figures: dict[str, float] = {"rows": float(rows)}
    if LABEL in moments:
        figures |= {"frauds": frauds, "fraud_rate": moments[LABEL][0]}
    for column in COMPARED:
        if column in moments:
            mean, std = moments[column]
            figures[f"mean_shift_{column}"] = (mean - reference.mean[column]) / reference.std[column]
            figures[f"spread_{column}"] = std / reference.std[column]
    return figures


def _is_number(frame: pd.DataFrame, column: str) -> bool:
    return column in frame and pd.api.types.is_numeric_dtype(frame[column])


def _moments(frame: pd.DataFrame, column: str) -> tuple[float, float]:
    weight: NDArray[np.float64] = (
        frame[WEIGHT].to_numpy(np.float64) if _is_number(frame, WEIGHT) else np.ones(len(frame))
    )
    values = frame[column].to_numpy(np.float64)
    total = weight.sum()
    if total <= 0 or not np.isfinite(values).all():
        return np.nan, np.nan
    mean = float(values @ weight / total)
    return mean, float(np.sqrt((values - mean) ** 2 @ weight / total))
