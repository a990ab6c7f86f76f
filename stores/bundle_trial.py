"""The first scoring of a bundle, in a child process with little time and memory: what does harm ends the child alone.

The digest says that somebody published these files, and `ml_project` checks what stands in them; the libraries that
read them are large, and a file that stops or ends them must not stop or end the process that answers.
"""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from ml_project.errors import FraudError, InvalidBundle

if TYPE_CHECKING:
    from ml_project.bundle import Bundle

Trial = Callable[[Path, str], None]
"""Scores the bundle in a folder, which must have the digest, for the first time; raises `InvalidBundle`."""

_REFUSED: Final = 2
_NO_MEMORY: Final = 3
_BATCH: Final = 256
_REMEDY: Final = "Roll back, and find out who published it."
_MEMORY_ENDED: Final = {_NO_MEMORY, -signal.SIGKILL, -signal.SIGABRT}
_TIME_ENDED: Final = {-signal.SIGXCPU, -signal.SIGALRM}
_PATIENCE: Final = 3
_KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
"""The child gets no other variables: it handles what may be hostile, and secrets stand among them."""


@dataclass(frozen=True)
class TrialLimits:
    """What a first scoring may take; a model of usual size takes a second and 150 MB.

    Attributes
    ----------
    seconds : float
        Of a processor's time; on a busy machine, `_PATIENCE` times as many may pass.
    memory_bytes : int
        Memory of its own; enforced on Linux.
    """

    seconds: float = 20.0
    memory_bytes: int = 512 * 1024**2

    def run(self, folder: Path, digest: str) -> None:
        """Read, check, score and explain the bundle in a folder as a gateway would; a `Trial`.

        Raises
        ------
        InvalidBundle
            When its checks fail, or it takes more time or memory, or ends the process.
        """
        command = [sys.executable, "-m", "stores.bundle_trial", str(folder.absolute()), digest]
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            done = subprocess.run(  # noqa: S603 - our own module
                [*command, str(self.seconds), str(self.memory_bytes)],
                env={**kept, **single, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_PATIENCE * self.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise self._too_slow() from error
        if done.returncode in _TIME_ENDED:
            raise self._too_slow()
        if done.returncode == _REFUSED:
            raise InvalidBundle(*json.loads(done.stdout))
        if done.returncode in _MEMORY_ENDED:
            raise InvalidBundle(
                f"Its first scoring needs more than {self.memory_bytes} bytes of memory, or crashes the process.",
                _REMEDY,
            )
        if done.returncode:
            raise InvalidBundle(f"Its first scoring crashes the process (exit {done.returncode}).", _REMEDY)

    def run_bundle(self, bundle: "Bundle") -> None:
        """The same for one in memory."""
        with TemporaryDirectory(prefix="fraud-trial-") as folder:
            bundle.write(Path(folder))
            self.run(Path(folder), bundle.digest)

    def _too_slow(self) -> InvalidBundle:
        return InvalidBundle(f"Its first scoring takes more than {self.seconds:g} s.", _REMEDY)


USUAL: Final = TrialLimits()


def score_first(folder: Path, digest: str) -> None:
    """What a trial does, in this process."""
    import numpy as np

    from ml_project.reasons import Explainer
    from ml_project.scorer import load_scorer

    scorer = load_scorer(folder, digest, threads=1)
    rows = np.array([row.values for row in scorer.bundle.manifest.golden_rows])
    scores = scorer.score(np.resize(rows, (_BATCH, rows.shape[1])))
    Explainer(scorer.bundle).explain(rows[:1], scores.isolation[:1])


def _main(folder: str, digest: str, seconds: str, memory_bytes: str) -> int:
    import resource  # Windows has none, nor has it a gateway

    # The signals end the process in whatever it hangs, also where its parent has ended.
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE * float(seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(float(seconds)), resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory_bytes), int(memory_bytes)))
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        score_first(Path(folder), digest)
    except FraudError as error:
        os.write(answer, json.dumps([error.cause, error.remedy]).encode())
        return _REFUSED
    except MemoryError:
        return _NO_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
