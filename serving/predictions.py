"""From validated transactions to answers: scores, decisions and reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final, Literal, NotRequired

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from ml_project.policies import Thresholds
from ml_project.reasons import Explanation, RangeWarning, Reason
from ml_project.scorer import Decision, Scores
from serving.errors import ScoringFailed
from serving.live_model import LiveModel
from serving.request_record import count_decisions, stage
from serving.transactions import Transactions

DECISIONS: Final = (Decision.APPROVE, Decision.REVIEW, Decision.DECLINE)


class Explain(Enum):
    """Which predictions carry reasons."""

    NONE = auto()
    ALERTS = auto()
    ALL = auto()


class Prediction(TypedDict):
    """The answer to one transaction."""

    fraud: int
    """1 if hybrid_score >= threshold_used, that is, if the decision is not APPROVE."""
    hybrid_score: float
    threshold_used: float
    """The alert threshold."""
    fraud_probability: float
    decision: Decision
    model_version: str
    prediction_id: str
    transaction_id: NotRequired[str]
    """As the client sent it. Sent again with the same values, it brings the first answer again."""
    kept: NotRequired[Literal["database", "spool"]]
    """Where the prediction was on disk before this answer; in the spool, while the database is away, a repeated
    transaction_id could not be recognised."""
    reasons: NotRequired[list[Reason]]
    """The strongest terms of the score, where the decision is not APPROVE or where they were asked for."""
    warnings: NotRequired[list[RangeWarning]]
    """With reasons: values outside the range of the training rows."""


@dataclass(frozen=True, slots=True)
class First:
    """By what a repeated transaction was answered the first time."""

    model_version: str
    alert_threshold: float


@dataclass(frozen=True, slots=True)
class Predictions:
    """The finished predictions of one request, or of one chunk of a batch, all by the same version.

    Attributes
    ----------
    decisions : ndarray of shape (n,)
        Places in ``DECISIONS``.
    explanations : mapping
        Row to explanation, for the rows that have one.
    prediction_ids : list of str
        Names to find them again by; none before they are kept.
    kept : {'database', 'spool'} or None
        None before they are kept.
    firsts : mapping
        Rows of repeated transactions, which bear their first answers.
    """

    model: LiveModel
    transactions: Transactions
    scores: Scores
    decisions: NDArray[np.int8]
    explanations: Mapping[int, Explanation]
    prediction_ids: list[str] = field(default_factory=list)
    kept: Literal["database", "spool"] | None = None
    firsts: Mapping[int, First] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.decisions)

    @property
    def alerts(self) -> int:
        """How many of them are not approvals."""
        return int(np.count_nonzero(self.decisions))

    @property
    def alert_thresholds(self) -> list[float]:
        """The threshold that each was decided by."""
        used = [self.model.scorer.thresholds.alert] * len(self)
        for row, first in self.firsts.items():
            used[row] = first.alert_threshold
        return used

    @property
    def model_versions(self) -> list[str]:
        """The version that gave each."""
        used = [self.model.version] * len(self)
        for row, first in self.firsts.items():
            used[row] = first.model_version
        return used

    def take(self, rows: list[int]) -> "Predictions":
        """Some of them, in this order."""
        places = {row: place for place, row in enumerate(rows)}
        scores = self.scores
        return replace(
            self,
            transactions=self.transactions.take(rows),
            scores=Scores(scores.isolation[rows], scores.boosted[rows], scores.hybrid[rows], scores.probability[rows]),
            decisions=self.decisions[rows],
            prediction_ids=[self.prediction_ids[row] for row in rows],
            explanations={places[row]: said for row, said in self.explanations.items() if row in places},
            firsts={places[row]: first for row, first in self.firsts.items() if row in places},
        )

    def answers(self) -> list[Prediction]:
        """One JSON object per transaction, in order."""
        answers: list[Prediction] = [
            {
                "fraud": int(decision > 0),
                "hybrid_score": hybrid,
                "threshold_used": alert,
                "fraud_probability": probability,
                "decision": DECISIONS[decision],
                "model_version": version,
                "prediction_id": prediction_id,
            }
            for decision, hybrid, probability, alert, version, prediction_id in zip(
                self.decisions.tolist(),
                self.scores.hybrid.tolist(),
                self.scores.probability.tolist(),
                self.alert_thresholds,
                self.model_versions,
                self.prediction_ids,
                strict=True,
            )
        ]
        for answer, transaction_id in zip(answers, self.transactions.ids, strict=True):
            if transaction_id is not None:
                answer["transaction_id"] = transaction_id
            if self.kept is not None:
                answer["kept"] = self.kept
        for row, explanation in self.explanations.items():
            answers[row]["reasons"] = explanation.reasons
            if explanation.warnings:
                answers[row]["warnings"] = explanation.warnings
        return answers


def predict_all(model: LiveModel, transactions: Transactions, explain: Explain) -> Predictions:
    """Score, decide and explain: every prediction that the gateway ever makes comes out of here.

    Raises
    ------
    ScoringFailed
        When a score is not finite.
    """
    with stage("score"):
        scores = model.scorer.score(transactions.raw)
    if not np.isfinite(scores.hybrid.sum() + scores.probability.sum()):
        raise ScoringFailed(
            f"Version {model.version} gave a score that is no number.", "Roll back to the version before."
        )
    decisions = decide_all(scores.hybrid, model.scorer.thresholds)
    count_decisions(np.bincount(decisions, minlength=len(DECISIONS)).tolist())
    rows = _rows_to_explain(decisions, explain)
    explained: list[Explanation] = []
    if len(rows):
        with stage("explain"):
            explained = model.explainer.explain(transactions.raw[rows], scores.isolation[rows])
    return Predictions(model, transactions, scores, decisions, dict(zip(rows.tolist(), explained, strict=True)))


def decide_all(hybrid: NDArray[np.float64], thresholds: Thresholds) -> NDArray[np.int8]:
    """`ml_project.scorer.decide` for many at once."""
    declined = hybrid >= thresholds.decline
    return np.add(declined, declined | (hybrid >= thresholds.alert), dtype=np.int8)


def _rows_to_explain(decisions: NDArray[np.int8], explain: Explain) -> NDArray[np.intp]:
    if explain is Explain.ALL:
        return np.arange(len(decisions))
    return np.flatnonzero(decisions) if explain is Explain.ALERTS else np.empty(0, dtype=np.intp)
