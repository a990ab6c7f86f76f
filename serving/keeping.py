"""Between what was predicted and what the decision store keeps of it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np

from ml_project.reasons import Explanation, Reason
from ml_project.review import drawn_for_review
from ml_project.scorer import Decision, Scores
from serving.prediction_ids import new_prediction_id
from serving.predictions import DECISIONS, First, Predictions
from serving.request_record import RequestRecord
from stores.decisions import Chunk, DecisionRecord
from stores.decisions.segments import new_segment_id, segment_prediction_ids


def record_of_one(predictions: Predictions, request: RequestRecord, sample_rate: float) -> DecisionRecord:
    """What is kept of a single prediction; it brings the prediction's id.

    ``sample_rate`` is the share of approvals that go to review.
    """
    prediction_id = new_prediction_id()
    drawn = drawn_for_review([prediction_id], sample_rate)
    return DecisionRecord(
        prediction_id=prediction_id,
        review_rate=1.0 if predictions.alerts else sample_rate if drawn else None,
        inputs=tuple(predictions.transactions.raw[0].tolist()),
        isolation_score=float(predictions.scores.isolation[0]),
        boosted_score=float(predictions.scores.boosted[0]),
        hybrid_score=float(predictions.scores.hybrid[0]),
        fraud_probability=float(predictions.scores.probability[0]),
        decision=str(DECISIONS[predictions.decisions[0]]),
        transaction_id=predictions.transactions.ids[0],
        event_time=next(iter(predictions.transactions.event_times), None),
        reasons=_reasons(predictions).get(0),
        **_shared(predictions, request),
    )


def chunk_of_many(predictions: Predictions, request: RequestRecord, sample_rate: float) -> Chunk:
    """What is kept of a batch's chunk; it brings the predictions' ids."""
    scores, ids = predictions.scores, predictions.transactions.ids
    names = [str(decision) for decision in DECISIONS]
    segment_id = new_segment_id()
    drawn = drawn_for_review(segment_prediction_ids(segment_id, len(predictions)), sample_rate)
    return Chunk(
        segment_id=segment_id,
        sample=frozenset(row for row in drawn if not predictions.decisions[row]),
        sample_rate=sample_rate,
        raw=predictions.transactions.raw,
        scores=np.stack([scores.isolation, scores.boosted, scores.hybrid, scores.probability]),
        decisions=[names[place] for place in predictions.decisions.tolist()],
        transaction_ids=ids if any(name is not None for name in ids) else None,
        event_times=predictions.transactions.event_times or None,
        reasons=_reasons(predictions),
        **_shared(predictions, request),
    )


def with_firsts(predictions: Predictions, firsts: Mapping[int, DecisionRecord]) -> Predictions:
    """The predictions with repeated transactions answered as they were the first time.

    Warnings are not kept; they come back as long as the same bundle answers.
    """
    if not firsts:
        return predictions
    old = predictions.scores
    scores = Scores(old.isolation.copy(), old.boosted.copy(), old.hybrid.copy(), old.probability.copy())
    decisions, prediction_ids = predictions.decisions.copy(), list(predictions.prediction_ids)
    explanations = dict(predictions.explanations)
    for row, record in firsts.items():
        scores.isolation[row], scores.boosted[row] = record.isolation_score, record.boosted_score
        scores.hybrid[row], scores.probability[row] = record.hybrid_score, record.fraud_probability
        decisions[row] = DECISIONS.index(Decision(record.decision))
        prediction_ids[row] = record.prediction_id
        if record.bundle_digest != predictions.model.live.digest or row not in explanations:
            explanations.pop(row, None)
            if record.reasons:
                explanations[row] = Explanation(cast(list[Reason], record.reasons), [])
    return replace(
        predictions,
        scores=scores,
        decisions=decisions,
        prediction_ids=prediction_ids,
        explanations=explanations,
        firsts={row: First(record.model_version, record.alert_threshold) for row, record in firsts.items()},
    )


def _shared(predictions: Predictions, request: RequestRecord) -> dict[str, Any]:
    model, latency_ms = predictions.model, request.latency_ms
    return {
        "received_at": datetime.now(UTC) - timedelta(milliseconds=latency_ms),
        "alert_threshold": model.scorer.thresholds.alert,
        "decline_threshold": model.scorer.thresholds.decline,
        "model_version": model.version,
        "bundle_digest": model.live.digest,
        "latency_ms": latency_ms,
        "request_id": request.request_id,
        "key_name": request.key_name,
    }


def _reasons(predictions: Predictions) -> dict[int, list[dict[str, Any]]]:
    return {
        row: [dict(reason) for reason in explanation.reasons] for row, explanation in predictions.explanations.items()
    }
