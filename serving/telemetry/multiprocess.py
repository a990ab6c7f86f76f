"""How the metrics of several workers add up: each writes its own into files that all of them map into memory.

prometheus_client's multiprocess mode, with the worker's number in place of its process id: a successor carries on in
the files of the one that died, so that nothing counted is lost by kill -9 and no counter ever goes back. The files are
filled beforehand, because writing to a hole of a mapped file kills the process (SIGBUS) where the disk is full. The
latest latencies, for exact percentiles, are a ring in such a file.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

_PREFIX: Final = "metrics-"
_BYTES: Final = {
    "histogram": 1 << 20,
    **dict.fromkeys(("counter", "gauge_livesum", "gauge_livemax", "gauge_livemin"), 1 << 16),
}
"""By kind of metric, plenty for the labels there are; each kind has its file."""


@dataclass(frozen=True)
class SharedMetrics:
    """A worker's place among the metrics of all.

    Attributes
    ----------
    folder : Path
    worker : int
        No two processes at a time have the same number.
    others : bool
        Whether other workers answer already, so that this one can wait for its model.
    started : float
        When the first worker was started, by ``time.monotonic()``, which is the same for all processes.
    """

    folder: Path
    worker: int
    others: bool
    started: float

    @property
    def latencies(self) -> Path:
        """The worker's latest latencies."""
        return self.folder / f"latencies_{self.worker}"

    def all_latencies(self) -> list[Path]:
        """Those of all workers."""
        return sorted(self.folder.glob("latencies_*[0-9]"))

    def prepare(self) -> None:
        """Fill the worker's files, before it starts; a predecessor's counts stay, its gauges go."""
        mark_process_dead(self.worker, str(self.folder))  # type: ignore[no-untyped-call]
        sizes = {f"{kind}_{self.worker}.db": size for kind, size in _BYTES.items()}
        for name, size in (sizes | {self.latencies.name: LATENCIES_BYTES}).items():
            if not (self.folder / name).exists():
                scratch = self.folder / f"{name}.new"  # other workers must not read half a file
                scratch.write_bytes(bytes(size))
                scratch.replace(self.folder / name)

    def join(self) -> None:
        """Let the metrics that this process makes from now on be written there."""
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self.folder)
        values.ValueClass = values.MultiProcessValue(lambda: self.worker)  # type: ignore[no-untyped-call]


@contextmanager
def metrics_folder(parent: Path) -> Iterator[Path]:
    """A folder as long as the workers run; what a parent that was killed has left goes first."""
    for left in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as name, _locked(Path(name)):
        yield Path(name)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


LATENCIES_KEPT: Final = 10_000
LATENCIES_BYTES: Final = (1 + LATENCIES_KEPT) * 8
"""Doubles: how many were ever added, then the ring."""
