"""The latest latencies, for exact percentiles: a ring in memory, which several workers' processes can share."""

import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

LATENCIES_KEPT: Final = 10_000
LATENCIES_BYTES: Final = (1 + LATENCIES_KEPT) * 8
"""Doubles: how many were ever added, then the ring."""


class LatestLatencies:
    """The latest `LATENCIES_KEPT` values.

    Parameters
    ----------
    path : Path, optional
        File of `LATENCIES_BYTES` that holds them; what is in it counts on. By default they are this process's own.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            ring = mmap.mmap(-1, LATENCIES_BYTES)
        else:
            with path.open("r+b") as file:
                ring = mmap.mmap(file.fileno(), LATENCIES_BYTES)
        self._cells = memoryview(ring).cast("d")
        self._added = int(self._cells[0])

    def add(self, seconds: float) -> None:
        """Keep one, in place of the oldest."""
        self._cells[1 + self._added % LATENCIES_KEPT] = seconds
        self._added += 1
        self._cells[0] = self._added

    def values(self) -> np.ndarray:
        """A copy, in no particular order."""
        return _kept(np.array(self._cells))


def latencies_in(paths: Iterable[Path]) -> np.ndarray:
    """Those of several files together."""
    return np.concatenate([_kept(np.fromfile(path)) for path in paths])


def _kept(cells: np.ndarray) -> np.ndarray:
    return cells[1 : 1 + min(int(cells[0]), LATENCIES_KEPT)]
