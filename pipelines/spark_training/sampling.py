"""A reservoir of rows: of legitimate rows those with the lowest keys, with weights that stand for all of them.

A key is a hash of the row's content (bottom-k sampling: Cohen and Kaplan, "Summarizing data using bottom-k sketches",
PODC 2007), so that the sample depends neither on partitions nor on the number of machines.
"""

from math import sqrt
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml_project.dataset import Dataset
from ml_project.schema import LABEL, WEIGHT
from pipelines.spark_training.part import KEY, MOMENT, SparkPart
from pipelines.spark_training.passes import raw_of

_KEYS = 2**64
_LOWEST_KEY = -(2**63)


def drawn(part: SparkPart, rows: int) -> Any:
    """A condition that holds for the lowest keys: of legitimate rows for ``rows`` at least, and hardly more."""
    from pyspark.sql import functions as f

    legitimate = max(len(part) - part.frauds, 1)
    share = (rows + 6 * sqrt(rows) + 10) / legitimate
    key = f.col(KEY)
    return key < int(_LOWEST_KEY + share * _KEYS) if share < 1 else key >= _LOWEST_KEY


def to_dataset(kept: pa.Table, rows: int, always: NDArray[np.bool_] | None = None) -> tuple[Dataset, NDArray[np.intp]]:
    """Rows in order of time, and their places in the table.

    Parameters
    ----------
    rows : int
        Legitimate rows to keep, by key.
    always : ndarray of shape (n,), bool
        Legitimate rows that stay whatever their key.
    """
    label, key = kept.column(LABEL).to_numpy(), kept.column(KEY).to_numpy()
    moment = kept.column(MOMENT).to_numpy()
    stays = label == 1 if always is None else (label == 1) | always
    pool = np.flatnonzero(~stays)
    stays[pool[np.argsort(key[pool], kind="stable")[:rows]]] = True
    order = np.lexsort((key, moment))
    order = order[stays[order]]
    weight = kept.column(WEIGHT).to_numpy()
    return Dataset(raw_of(kept)[order], label[order].astype(np.int8), weight[order], moment[order]), order


def standing_for(
    data: Dataset, legitimate_weight: float, always: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Weights (n,) under which the sampled legitimate rows make up what is left of all legitimate weight."""
    sampled = data.label == 0 if always is None else (data.label == 0) & ~always
    there = data.weight[sampled].sum()
    left = legitimate_weight - data.weight[(data.label == 0) & ~sampled].sum()
    if not there:
        return data.weight
    return np.where(sampled, data.weight * (left / there), data.weight)
