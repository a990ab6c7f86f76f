"""Why a transaction scored as it did: the features that moved the score most, and values that training never saw.

All contributions are log-odds, so that they can be ranked together:

- A feature's is its exact Shapley value in the boosted model (TreeSHAP: Lundberg et al., "From local explanations to
  global understanding with explainable AI for trees", Nature Machine Intelligence 2, 2020). With the model's bias they
  sum to its margin.
- The isolation forest has one term: what its part of the blend, ``w * iso``, adds to the log-odds of the
  hybrid score over the same transaction with ``iso = 0``, which is what at least half of all ordinary rows have.
"""

from dataclasses import dataclass
from typing import Final, NotRequired

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from ml_project.bundle import Bundle
from ml_project.calibration import log_odds
from ml_project.contract import Contract
from ml_project.contract_parts import OTHER, OUTPUTS
from ml_project.errors import InvalidBundle
from ml_project.reason_words import ReasonWords
from ml_project.tree_shap import TreeShap, read_paths

TOP: Final = 5
PARITY_TOLERANCE: Final = 1e-4
"""Largest difference allowed between the sum of a row's contributions and the margin that the ensemble scored."""

ISOLATION: Final = OUTPUTS[0]

_ISOLATION_IN_WORDS: Final = "unlike ordinary transactions (isolation forest)"


class Reason(TypedDict):
    """One term of a score."""

    feature: str
    description: str
    """What the feature is: the contract's words for it, or what it is made of."""
    sentence: NotRequired[str]
    """What it was this time, and what is usual: of features from history, and of what is made of them."""
    value: float | None
    """None where it is missing."""
    contribution: float
    """Log-odds; positive towards fraud."""


class RangeWarning(TypedDict):
    """A value that the training rows say nothing of: outside their range, or a category that is not among theirs."""

    feature: str
    value: float | str
    """A category is named other."""
    minimum: NotRequired[float]
    maximum: NotRequired[float]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is said about one transaction."""

    reasons: list[Reason]
    warnings: list[RangeWarning]


def unseen_categories(contract: Contract, raw: NDArray[np.float64]) -> dict[int, list[RangeWarning]]:
    """Warnings of raw transactions (n, fields) with categories that no training row had, by row."""
    places = [place for place, field in enumerate(contract.scored_fields) if field.type == "category"]
    found: dict[int, list[RangeWarning]] = {}
    for row, column in np.argwhere(raw[:, places] == OTHER).tolist():
        found.setdefault(row, []).append({"feature": contract.raw_fields[places[column]], "value": "other"})
    return found


class Explainer:
    """Explains one bundle's scores. Immutable; safe to share between threads.

    Parameters
    ----------
    bundle : Bundle

    Attributes
    ----------
    importance : ndarray of shape (f,)
        Mean size of each feature's contributions to the bundle's golden rows, in log-odds.

    Raises
    ------
    InvalidBundle
        When its booster cannot be read, or is not the one that the ensemble scores with.
    """

    def __init__(self, bundle: Bundle) -> None:
        manifest, paths = bundle.manifest, read_paths(bundle.booster)
        contract = manifest.contract
        if paths.features != len(contract.features):
            raise InvalidBundle("The bundle's booster and its ensemble take different features.", "Publish it again.")
        if "blend_weight" not in manifest.settings:
            raise InvalidBundle("The bundle's settings have no blend_weight.", "Publish it again.")
        self._weight = float(manifest.settings["blend_weight"])
        self._shap = TreeShap(paths)
        self._transform = manifest.transform
        self._terms = [(each.name, each.words) for each in contract.features]
        self._terms.append((ISOLATION, _ISOLATION_IN_WORDS))
        fields = contract.raw_fields
        # A value that is a field's is shown as it was sent, not as float32 has it.
        sent = {place: each.sources[0] for place, each in enumerate(contract.features) if each.is_field}
        taken = {place: fields.index(name) for place, name in sent.items() if name in fields}
        self._shown, self._sent = list(taken), list(taken.values())
        self._contract = contract
        self._words = ReasonWords(contract, manifest.statistics)
        self._ranged = [place for place, each in enumerate(contract.features) if each.name in fields]
        self._low = np.array(manifest.statistics.minimum)[self._ranged]
        self._high = np.array(manifest.statistics.maximum)[self._ranged]
        self._check(bundle)

    def contributions(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Shapley values of features (n, f) in the boosted margin, and its bias last: shape (n, f + 1)."""
        return self._shap.contributions(features)

    def explain(self, raw: NDArray[np.float64], isolation: NDArray[np.float64], top: int = TOP) -> list[Explanation]:
        """Explanations of raw transactions (n, fields) with isolation scores (n,): the ``top`` strongest terms each."""
        if not len(raw):
            return []
        features = self._transform(raw)
        contributions = self.contributions(features)
        forest = self._forest_term(isolation, contributions.sum(axis=1))
        terms = np.column_stack([contributions[:, :-1], forest])
        values = np.column_stack([features, isolation])
        values[:, self._shown] = raw[:, self._sent]
        strongest = np.argsort(-np.abs(terms), axis=1, kind="stable")[:, :top]
        seen = features[:, self._ranged]
        strange = (seen < self._low) | (seen > self._high)
        unseen = unseen_categories(self._contract, raw)
        return [
            Explanation(
                [
                    self._reason(term, values[row, term], terms[row, term], raw[row], features[row])
                    for term in order
                    if terms[row, term]
                ],
                [
                    *(
                        self._warning(column, values[row, self._ranged[column]])
                        for column in np.flatnonzero(strange[row]).tolist()
                    ),
                    *unseen.get(row, ()),
                ],
            )
            for row, order in enumerate(strongest.tolist())
        ]

    def _forest_term(self, isolation: NDArray[np.float64], margin: NDArray[np.float64]) -> NDArray[np.float64]:
        boosted_part = (1 - self._weight) * np.exp(-np.logaddexp(0.0, -margin))
        return log_odds(boosted_part + self._weight * isolation) - log_odds(boosted_part)

    def _reason(
        self, term: int, value: float, contribution: float, raw: NDArray[np.float64], features: NDArray[np.float32]
    ) -> Reason:
        name, words = self._terms[term]
        reason: Reason = {
            "feature": name,
            "description": words,
            "value": _short_or_none(value),
            "contribution": round(float(contribution), 6),
        }
        sentence = self._words.sentence(name, raw, features)
        if sentence is not None:
            reason["sentence"] = sentence
        return reason

    def _warning(self, column: int, value: float) -> RangeWarning:
        low, high = float(self._low[column]), float(self._high[column])
        name, _words = self._terms[self._ranged[column]]
        return {"feature": name, "value": _short(value), "minimum": low, "maximum": high}

    def _check(self, bundle: Bundle) -> None:
        golden = bundle.manifest.golden_rows
        self.importance = np.zeros(len(bundle.manifest.contract.features))
        if not golden:
            return
        features = self._transform(np.array([row.values for row in golden]))
        scored = np.array([row.scores[OUTPUTS[1]] for row in golden])
        contributions = self.contributions(features)
        self.importance = np.abs(contributions[:, :-1]).mean(axis=0)
        margin = contributions.sum(axis=1)
        explained = np.exp(-np.logaddexp(0.0, -margin))
        worst = float(np.abs(explained - scored).max())
        if not worst <= PARITY_TOLERANCE:
            raise InvalidBundle(
                f"The bundle's booster explains scores {worst:.2g} apart from its ensemble's.", "Publish it again."
            )


def _short(value: float) -> float:
    """No more digits than a reader can use, nor than an engineered feature's float32 is sure of."""
    return float(f"{value:.7g}")


def _short_or_none(value: float) -> float | None:
    return None if np.isnan(value) else _short(value)
