"""Why a transaction scored as it did: the features that moved the score most, and values that training never saw.

All contributions are log-odds, so that they can be ranked together:

- A feature's is its exact Shapley value in the boosted model (TreeSHAP: Lundberg et al., "From local explanations to
  global understanding with explainable AI for trees", Nature Machine Intelligence 2, 2020). With the model's bias they
  sum to its margin.
- The isolation forest has one term: what its part of the blend, ``w * iso``, adds to the log-odds of the
  hybrid score over the same transaction with ``iso = 0``, which is what at least half of all ordinary rows have.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from ml_project.bundle import Bundle
from ml_project.calibration import log_odds
from ml_project.errors import InvalidBundle
from ml_project.features import compute_features
from ml_project.schema import FEATURES, OUTPUTS, RAW_FEATURES
from ml_project.tree_shap import TreeShap, read_paths

TOP: Final = 5
PARITY_TOLERANCE: Final = 1e-4
"""Largest difference allowed between the sum of a row's contributions and the margin that the ensemble scored."""

ISOLATION: Final = OUTPUTS[0]

DESCRIPTIONS: Final = {
    "Time": "hour of day",
    "Amount": "amount",
    "amount_zscore": "amount in standard deviations from the mean",
    "amount_log": "logarithm of the amount",
    "v1_v2_ratio": "V1 divided by V2",
    "high_value": "amount above 1000",
    "variance_all": "variance of V1 to V28",
    "max_abs_v": "largest |V|",
    "mean_abs_v": "mean |V|",
    ISOLATION: "unlike ordinary transactions (isolation forest)",
}
"""Features in words; V1..V28 are anonymous and keep their names."""

_TERMS: Final = (*FEATURES, ISOLATION)
_TIME: Final = RAW_FEATURES.index("Time")


class Reason(TypedDict):
    """One term of a score."""

    feature: str
    description: str
    value: float
    contribution: float
    """Log-odds; positive towards fraud."""


class RangeWarning(TypedDict):
    """A value outside the range of the training rows, where trees extrapolate blindly."""

    feature: str
    value: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is said about one transaction."""

    reasons: list[Reason]
    warnings: list[RangeWarning]


class Explainer:
    """Explains one bundle's scores. Immutable; safe to share between threads.

    Parameters
    ----------
    bundle : Bundle

    Raises
    ------
    InvalidBundle
        When its booster cannot be read, or is not the one that the ensemble scores with.
    """

    def __init__(self, bundle: Bundle) -> None:
        manifest, paths = bundle.manifest, read_paths(bundle.booster)
        if paths.features != len(FEATURES):
            raise InvalidBundle("The bundle's booster takes other features than its ensemble.", "Publish it again.")
        if "blend_weight" not in manifest.settings:
            raise InvalidBundle("The bundle's settings have no blend_weight.", "Publish it again.")
        self._weight = float(manifest.settings["blend_weight"])
        self._shap = TreeShap(paths)
        self._amount = manifest.amount
        self._low = np.array(manifest.statistics.minimum[: len(RAW_FEATURES)])
        self._high = np.array(manifest.statistics.maximum[: len(RAW_FEATURES)])
        self._check(bundle)

    def contributions(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Shapley values of features (n, 37) in the boosted margin, and its bias last: shape (n, 38)."""
        return self._shap.contributions(features)

    def explain(self, raw: NDArray[np.float64], isolation: NDArray[np.float64], top: int = TOP) -> list[Explanation]:
        """Explanations of raw transactions (n, 30) with isolation scores (n,): the ``top`` strongest terms of each."""
        if not len(raw):
            return []
        features = compute_features(raw, self._amount)
        contributions = self.contributions(features)
        forest = self._forest_term(isolation, contributions.sum(axis=1))
        terms = np.column_stack([contributions[:, :-1], forest])
        values = np.column_stack([features, isolation])
        # As they were sent, not as float32 has them; of the time, though, the trees only know the hour of day.
        values[:, : len(RAW_FEATURES)] = raw
        values[:, _TIME] = features[:, _TIME]
        strongest = np.argsort(-np.abs(terms), axis=1, kind="stable")[:, :top]
        seen = features[:, : len(RAW_FEATURES)]
        strange = (seen < self._low) | (seen > self._high)
        return [
            Explanation(
                [_reason(term, values[row, term], terms[row, term]) for term in order if terms[row, term]],
                [self._warning(column, values[row, column]) for column in np.flatnonzero(strange[row]).tolist()],
            )
            for row, order in enumerate(strongest.tolist())
        ]

    def _forest_term(self, isolation: NDArray[np.float64], margin: NDArray[np.float64]) -> NDArray[np.float64]:
        boosted_part = (1 - self._weight) * np.exp(-np.logaddexp(0.0, -margin))
        return log_odds(boosted_part + self._weight * isolation) - log_odds(boosted_part)

    def _warning(self, column: int, value: float) -> RangeWarning:
        low, high = float(self._low[column]), float(self._high[column])
        return {"feature": RAW_FEATURES[column], "value": _short(value), "minimum": low, "maximum": high}

    def _check(self, bundle: Bundle) -> None:
        golden = bundle.manifest.golden_rows
        if not golden:
            return
        features = compute_features(np.array([row.raw for row in golden]), self._amount)
        scored = np.array([row.scores[OUTPUTS[1]] for row in golden])
        margin = self.contributions(features).sum(axis=1)
        explained = np.exp(-np.logaddexp(0.0, -margin))
        worst = float(np.abs(explained - scored).max())
        if not worst <= PARITY_TOLERANCE:
            raise InvalidBundle(
                f"The bundle's booster explains scores {worst:.2g} apart from its ensemble's.", "Publish it again."
            )


def _reason(term: int, value: float, contribution: float) -> Reason:
    name = _TERMS[term]
    return {
        "feature": name,
        "description": DESCRIPTIONS.get(name, name),
        "value": _short(value),
        "contribution": round(float(contribution), 6),
    }


def _short(value: float) -> float:
    """No more digits than a reader can use, nor than an engineered feature's float32 is sure of."""
    return float(f"{value:.7g}")
