"""From validated transactions to answers: scores, decision, and the names by which they can be found again."""

from typing import NotRequired

import numpy as np
from typing_extensions import TypedDict

from ml_project.scorer import Decision, decide
from serving.errors import ScoringFailed
from serving.live_model import LiveModel
from serving.prediction_ids import new_prediction_ids
from serving.transactions import Transactions


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
    """As the client sent it."""


def predict_all(model: LiveModel, transactions: Transactions) -> list[Prediction]:
    """Answers in the transactions' order, all by the same version.

    Raises
    ------
    ScoringFailed
        When a score is not finite.
    """
    if not transactions.ids:
        return []
    scores = model.scorer.score(transactions.raw)
    if not (np.isfinite(scores.hybrid).all() and np.isfinite(scores.probability).all()):
        raise ScoringFailed(
            f"Version {model.version} gave a score that is no number.", "Roll back to the version before."
        )
    thresholds, version = model.scorer.thresholds, model.version
    columns = (scores.hybrid.tolist(), scores.probability.tolist(), new_prediction_ids(len(transactions.ids)))
    predictions: list[Prediction] = []
    for hybrid, probability, prediction_id, transaction_id in zip(*columns, transactions.ids, strict=True):
        decision = decide(hybrid, thresholds)
        prediction: Prediction = {
            "fraud": int(decision is not Decision.APPROVE),
            "hybrid_score": hybrid,
            "threshold_used": thresholds.alert,
            "fraud_probability": probability,
            "decision": decision,
            "model_version": version,
            "prediction_id": prediction_id,
        }
        if transaction_id is not None:
            prediction["transaction_id"] = transaction_id
        predictions.append(prediction)
    return predictions
