"""How long one row takes, as a ratio: seconds say more of the machine than of the model.

Both are timed in turns within one process, so that whatever slows the machine slows both. A round's figure is the
median of its calls, the ratio is the median over the rounds, and a ratio that is too high is measured again: noise
passes, a slow model stays slow.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.bundle import Bundle
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.features import compute_features
from ml_project.fitting import fit_twin
from ml_project.reference_models import SEED_RECIPE
from ml_project.scorer import Scorer
from ml_project.simulator import simulate
from ml_project.split import split_by_time

ROUNDS, CALLS, ATTEMPTS = 15, 100, 3
_REFERENCE_ROWS: Final = 4_000


def reference_bundle() -> Bundle:
    """The seed's recipe, 100 + 100 trees, on fixed simulated rows."""
    (chunk,) = simulate(_REFERENCE_ROWS, seed=0, fraud_rate=0.05)
    rows = Dataset(chunk.raw, chunk.label, np.ones(len(chunk.label)), chunk.raw[:, 0])
    return fit_twin(split_by_time(rows), SEED_RECIPE, LocalEngine(), {"source": "simulated", "digest": ""}).bundle


def latency_ratio(bundle: Bundle, enough: float) -> float:
    """Time for one row in units of the reference's.

    Parameters
    ----------
    enough : float
        A ratio that is low enough; above it the measurement is repeated, and the lowest counts.
    """
    candidate, reference = Scorer(bundle, threads=1), Scorer(reference_bundle(), threads=1)
    raw = np.array([bundle.manifest.golden_rows[-1].raw], dtype=np.float64)
    features = compute_features(raw, bundle.manifest.amount)
    return lowest_of(lambda: _ratio(candidate, reference, features), enough)


def lowest_of(measure: Callable[[], float], enough: float, attempts: int = ATTEMPTS) -> float:
    """The lowest of so many measurements; those after one that is low enough are spared."""
    lowest = float("inf")
    for _ in range(attempts):
        lowest = min(lowest, measure())
        if lowest <= enough:
            break
    return lowest


def _ratio(candidate: Scorer, reference: Scorer, features: NDArray[np.float32]) -> float:
    return median(_seconds(candidate, features) / _seconds(reference, features) for _ in range(ROUNDS))


def _seconds(scorer: Scorer, features: NDArray[np.float32]) -> float:
    taken = []
    for _ in range(CALLS):
        started = time.perf_counter()
        scorer.score_features(features)
        taken.append(time.perf_counter() - started)
    return median(taken)
