"""Bands of amounts and of hours: a model that is better on the whole can still be worse for some customers."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ml_project.dataset import Dataset
from ml_project.schema import SECONDS_PER_DAY


def slices(data: Dataset, amounts: Sequence[float], hours: Sequence[float]) -> dict[str, NDArray[np.intp]]:
    """Row numbers of every band by its name.

    Parameters
    ----------
    amounts, hours : sequence of float
        Rising inner edges; a band holds its lower edge.
    """
    hour = np.mod(data.raw[:, 0], SECONDS_PER_DAY) / 3600
    return {
        **_bands("amount", data.amount, [0.0, *amounts, np.inf]),
        **_bands("hour", hour, [0.0, *hours, 24.0]),
    }


def _bands(name: str, values: NDArray[np.float64], edges: list[float]) -> dict[str, NDArray[np.intp]]:
    return {
        f"{name} from {low:g}" if high == np.inf else f"{name} {low:g} to {high:g}": np.flatnonzero(
            (values >= low) & (values < high)
        )
        for low, high in pairwise(edges)
    }
