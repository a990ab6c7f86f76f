"""Everything that the gate looks at, as values: the checks themselves neither read nor measure."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ml_project.bundle import Bundle
from ml_project.dataset import Dataset
from ml_project.policies import Thresholds
from ml_project.scorer import Scorer, Scores
from ml_project.split import MIN_FRAUDS

SIMULATED = "simulated"


def simulated_after_real(candidate: str, champion: str) -> bool:
    """Whether a model trained on simulated data would replace one trained on real data, by their ``data.source``.

    A champion of unknown origin counts as real: the safe side.
    """
    return candidate == SIMULATED and champion != SIMULATED


@dataclass(frozen=True)
class Champion:
    """The version in Production.

    Attributes
    ----------
    twin : Bundle or None
        None where its run holds none, as with a version that somebody registered by hand.
    source : str
        Where its data came from; empty where nothing says so.
    signature : str or None
        Its pyfunc signature as JSON; None where it cannot be read.
    """

    number: int
    twin: Bundle | None
    source: str
    signature: str | None


@dataclass(frozen=True)
class Shipped:
    """The candidate's bundle as a gateway would fetch it, and what it was measured at.

    Attributes
    ----------
    bundle : Bundle or None
        None where it cannot be used; ``problem`` then says why, and the figures below do not hold.
    golden_difference : float
        Largest difference of its golden rows' scores from what training wrote.
    latency_ratio : float
        Time for one row in units of the reference forest's.
    """

    expected_digest: str
    signature: str
    bundle: Bundle | None
    problem: str = ""
    golden_difference: float = float("nan")
    latency_ratio: float = float("nan")


@dataclass(frozen=True)
class Comparison:
    """Both twins on rows that neither has seen."""

    number: int
    rows: Dataset
    candidate: Scores
    champion: Scores
    candidate_thresholds: Thresholds
    champion_thresholds: Thresholds


@dataclass(frozen=True)
class Evidence:
    """A candidate and the champion.

    Attributes
    ----------
    parity : float or None
        Largest difference between the ONNX graphs' scores and the libraries', as training measured it.
    twin : Bundle
        Its finished evaluation twin.
    test : Dataset
        Its test rows, raw.
    validated : bool or None
        How the newest validation of its data ended; None where there was none.
    """

    parity: float | None
    review_cost: float
    alerts_per_day: float
    twin: Bundle
    test: Dataset
    shipped: Shipped
    validated: bool | None
    champion: Champion | None

    @property
    def source(self) -> str:
        """Where the candidate's data came from."""
        return str(self.twin.manifest.data["source"])

    @cached_property
    def scores(self) -> Scores:
        """The candidate twin's scores on its test rows."""
        return Scorer(self.twin).score(self.test.raw)

    @property
    def same_trees(self) -> bool:
        """Whether candidate and champion differ in their manifests alone, thresholds above all."""
        twin = self.champion.twin if self.champion else None
        return twin is not None and (twin.onnx, twin.booster) == (self.twin.onnx, self.twin.booster)

    @cached_property
    def unseen(self) -> NDArray[np.intp]:
        """Numbers of the test rows that the champion's twin has not seen either; none without such a twin."""
        twin = self.champion.twin if self.champion else None
        return np.arange(0) if twin is None else unseen_by(self.test, twin, self.source)

    @cached_property
    def comparison(self) -> Comparison | None:
        """None without a champion's twin, or where too few frauds are left to say anything at all."""
        champion = self.champion
        rows = self.test.take(self.unseen)
        if champion is None or champion.twin is None or rows.frauds < MIN_FRAUDS:
            return None
        return Comparison(
            champion.number,
            rows,
            Scores(*(getattr(self.scores, name)[self.unseen] for name in Scores.__dataclass_fields__)),
            Scorer(champion.twin).score(rows.raw),
            self.twin.manifest.thresholds,
            champion.twin.manifest.thresholds,
        )


def unseen_by(test: Dataset, champion_twin: Bundle, source: str) -> NDArray[np.intp]:
    """Numbers of the test rows later than all that the champion's twin saw; all where its rows were of another kind."""
    seen = champion_twin.manifest.data
    if (seen["source"] == SIMULATED) != (source == SIMULATED):
        return np.arange(len(test))
    return np.flatnonzero(test.moment > seen["seen_until"])
