"""From validated transactions to answers: scores, decisions and reasons, and what is kept of them.

Prediction ids are UUIDs of version 7 (RFC 9562, section 5.7), which sort by the time they were made.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, Final, Literal, NotRequired, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from ml_project.policies import DECISIONS, Decision, decide_all
from ml_project.reasons import Explanation, RangeWarning, Reason, unseen_categories
from ml_project.review import drawn_for_review
from ml_project.scorer import Scores
from serving.errors import ScoringFailed
from serving.live_model import LiveModel
from serving.telemetry.request import RequestRecord, count_decisions, stage
from serving.transactions import Transactions
from stores.decisions import Chunk, DecisionRecord
from stores.decisions.records import Value
from stores.decisions.segments import new_segment_id, segment_prediction_ids


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
    prediction_id: str | None
    """Null where nothing was to be kept."""
    transaction_id: NotRequired[str]
    """As the client sent it. Sent again with the same values, it brings the first answer again."""
    source: NotRequired[Literal["trial"]]
    """It was to be kept as a trial."""
    kept: NotRequired[Literal["database", "spool", "none"]]
    """Where the prediction was on disk before this answer; in the spool, while the database is unreachable, a repeated
    transaction_id could not be recognised."""
    history: NotRequired[Literal["partial"]]
    """The database was unreachable, and its features from history are made only of what this gateway remembers."""
    reasons: NotRequired[list[Reason]]
    """The strongest terms of the score, where the decision is not APPROVE or where they were asked for."""
    warnings: NotRequired[list[RangeWarning]]
    """Categories that no training row had; with reasons also values outside the range of the training rows."""


@dataclass(frozen=True, slots=True)
class First:
    """By what a repeated transaction was answered the first time."""

    model_version: str
    alert_threshold: float
    history_partial: bool


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
    kept : {'database', 'spool', 'none'} or None
        None before they are kept.
    trial : bool
        They are no traffic; see `stores.decisions.records.Source`.
    firsts : mapping
        Rows of repeated transactions, which bear their first answers.
    unseen : mapping
        Warnings of categories that no training row had, by row; every answer says them.
    """

    model: LiveModel
    transactions: Transactions
    scores: Scores
    decisions: NDArray[np.int8]
    explanations: Mapping[int, Explanation]
    prediction_ids: list[str] = field(default_factory=list)
    kept: Literal["database", "spool", "none"] | None = None
    trial: bool = False
    firsts: Mapping[int, First] = field(default_factory=dict)
    unseen: Mapping[int, list[RangeWarning]] = field(default_factory=dict)

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

    @property
    def answered_ids(self) -> list[str] | list[None]:
        """The name of each; None where nothing was to be kept."""
        return [None] * len(self) if self.kept == "none" else self.prediction_ids

    @property
    def partial(self) -> list[bool]:
        """Whether the features from history of each were made without the database."""
        used = [self.transactions.partial] * len(self)
        for row, first in self.firsts.items():
            used[row] = first.history_partial
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
            unseen={places[row]: said for row, said in self.unseen.items() if row in places},
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
                self.answered_ids,
                strict=True,
            )
        ]
        for answer, transaction_id, partial in zip(answers, self.transactions.ids, self.partial, strict=True):
            if transaction_id is not None:
                answer["transaction_id"] = transaction_id
            if self.kept is not None:
                answer["kept"] = self.kept
            if self.trial:
                answer["source"] = "trial"
            if partial:
                answer["history"] = "partial"
        for row, warnings in self.unseen.items():
            answers[row]["warnings"] = warnings
        for row, explanation in self.explanations.items():
            answers[row]["reasons"] = explanation.reasons
            if explanation.warnings:
                answers[row]["warnings"] = explanation.warnings
        return answers


_EXPLAINED_AT_ONCE: Final = 512
"""Rows; explaining takes a thousand times as long as scoring."""


def predict_all(
    model: LiveModel, transactions: Transactions, explain: Explain, between: Callable[[], None] = lambda: None
) -> Predictions:
    """Score, decide and explain: every prediction that the gateway ever makes comes out of here.

    Parameters
    ----------
    between : callable
        Called now and then while many rows are explained; what it raises ends the work.

    Raises
    ------
    ScoringFailed
        When a score is not finite.
    """
    with stage("score"):
        scores = model.scorer.score(transactions.raw)
    if not np.isfinite(scores.hybrid.sum() + scores.probability.sum()):
        raise ScoringFailed(
            f"Version {model.version} gave a score that is not a number.", "Roll back to the version before."
        )
    decisions = decide_all(scores.hybrid, model.scorer.thresholds)
    count_decisions(np.bincount(decisions, minlength=len(DECISIONS)).tolist())
    rows = _rows_to_explain(decisions, explain)
    explained: list[Explanation] = []
    if len(rows):
        with stage("explain"):
            for start in range(0, len(rows), _EXPLAINED_AT_ONCE):
                between()
                some = rows[start : start + _EXPLAINED_AT_ONCE]
                explained += model.explainer.explain(transactions.raw[some], scores.isolation[some])
    explanations = dict(zip(rows.tolist(), explained, strict=True))
    contract = model.scorer.contract
    unseen = {} if contract.plain else unseen_categories(contract, transactions.raw)
    return Predictions(model, transactions, scores, decisions, explanations, unseen=unseen)


def _rows_to_explain(decisions: NDArray[np.int8], explain: Explain) -> NDArray[np.intp]:
    if explain is Explain.ALL:
        return np.arange(len(decisions))
    return np.flatnonzero(decisions) if explain is Explain.ALERTS else np.empty(0, dtype=np.intp)


def records_of(predictions: Predictions, requests: Sequence[RequestRecord], sample_rate: float) -> list[DecisionRecord]:
    """What is kept of single predictions, one of each request; they bring the predictions' ids.

    ``sample_rate`` is the share of approvals that go to review.
    """
    model, transactions, scores = predictions.model, predictions.transactions, predictions.scores
    prediction_ids = [new_prediction_id() for _ in requests]
    trial = predictions.trial
    drawn = set(drawn_for_review(prediction_ids, sample_rate))
    reasons, thresholds = _reasons(predictions), model.scorer.thresholds
    alert, decline, version, digest = thresholds.alert, thresholds.decline, model.version, model.live.digest
    now, contract, partial = datetime.now(UTC), model.kept_contract, transactions.partial
    decided = zip(
        prediction_ids,
        _inputs(predictions),
        np.stack([scores.isolation, scores.boosted, scores.hybrid, scores.probability], axis=1).tolist(),
        predictions.decisions.tolist(),
        transactions.ids,
        transactions.event_times or [None] * len(requests),
        strict=True,
    )
    records = []
    for row, (prediction_id, inputs, scored, place, transaction_id, event_time) in enumerate(decided):
        request = requests[row]
        latency_ms = request.latency_ms
        isolation, boosted, hybrid, probability = scored
        records.append(
            DecisionRecord(
                contract=contract,
                prediction_id=prediction_id,
                received_at=now - timedelta(milliseconds=latency_ms),
                inputs=inputs,
                isolation_score=isolation,
                boosted_score=boosted,
                hybrid_score=hybrid,
                fraud_probability=probability,
                alert_threshold=alert,
                decline_threshold=decline,
                decision=_NAMES[place],
                model_version=version,
                bundle_digest=digest,
                latency_ms=latency_ms,
                request_id=request.request_id,
                key_name=request.key_name,
                transaction_id=transaction_id,
                event_time=event_time,
                reasons=reasons.get(row),
                review_rate=None if trial else 1.0 if place else sample_rate if row in drawn else None,
                source="trial" if trial else "single",
                history_partial=partial,
            )
        )
    return records


_NAMES: Final = tuple(map(str, DECISIONS))


def _inputs(predictions: Predictions) -> list[tuple[Value, ...]]:
    """Transactions as they are kept: categories in words, then entities."""
    contract, kept = predictions.model.contract, predictions.model.kept_contract
    rows: list[list[Value]] = predictions.transactions.raw.tolist()
    if kept.texts:
        for values in rows:
            values += [None] * len(contract.entities)
        for name, texts in predictions.transactions.texts(contract).items():
            place = kept.names.index(name)
            for values, text in zip(rows, texts, strict=True):
                values[place] = text
    return list(map(tuple, rows))


def chunk_of_many(predictions: Predictions, request: RequestRecord, sample_rate: float) -> Chunk:
    """What is kept of a batch's chunk; it brings the predictions' ids."""
    scores, ids = predictions.scores, predictions.transactions.ids
    names = [str(decision) for decision in DECISIONS]
    segment_id = new_segment_id()
    raw, contract = predictions.transactions.raw, predictions.model.contract
    if contract.entities:
        raw = np.hstack([raw, np.full((len(raw), len(contract.entities)), np.nan)])
    drawn = drawn_for_review(segment_prediction_ids(segment_id, len(predictions)), sample_rate)
    return Chunk(
        segment_id=segment_id,
        sample=frozenset(row for row in drawn if not predictions.decisions[row]),
        sample_rate=sample_rate,
        contract=predictions.model.kept_contract,
        raw=raw,
        texts=predictions.transactions.texts(contract),
        scores=np.stack([scores.isolation, scores.boosted, scores.hybrid, scores.probability]),
        decisions=[names[place] for place in predictions.decisions.tolist()],
        transaction_ids=ids if any(name is not None for name in ids) else None,
        event_times=predictions.transactions.event_times or None,
        reasons=_reasons(predictions),
        source="trial" if request.trial else "batch",
        **_shared(predictions, request),
    )


def unkept(predictions: Predictions) -> Predictions:
    """The predictions as they are answered where nothing is to be kept."""
    return replace(predictions, kept="none")


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
        firsts={
            row: First(record.model_version, record.alert_threshold, record.history_partial)
            for row, record in firsts.items()
        },
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
        "history_partial": predictions.transactions.partial,
    }


def _reasons(predictions: Predictions) -> dict[int, list[dict[str, Any]]]:
    return {
        row: [dict(reason) for reason in explanation.reasons] for row, explanation in predictions.explanations.items()
    }


_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""The two highest bits of this digit are 10."""


def new_prediction_id() -> str:
    """A new id; 74 of its bits are random."""
    moment, noise = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10).hex()
    return f"{moment[:8]}-{moment[8:]}-7{noise[:3]}-{_VARIANT[noise[3]]}{noise[4:7]}-{noise[7:19]}"
