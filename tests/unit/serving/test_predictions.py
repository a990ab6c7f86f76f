"""Predictions and their ids."""

import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from ml_project.policies import decide
from ml_project.scorer import Scores
from serving.errors import ScoringFailed
from serving.live_model import LiveModel
from serving.predictions import Explain, new_prediction_id, predict_all
from serving.transactions import Transactions
from stores.production import LiveVersion
from tests.support.creditcard import CREDITCARD


class FixedScorer:
    """Gives the scores that it was told to give."""

    def __init__(self, thresholds, *hybrid: float) -> None:
        self.thresholds, self.contract = thresholds, CREDITCARD
        self._hybrid = np.array(hybrid)

    def score(self, _raw) -> Scores:
        return Scores(self._hybrid, self._hybrid, self._hybrid, self._hybrid / 2)


def answers(thresholds, *hybrid: float, ids=None):
    model = LiveModel(FixedScorer(thresholds, *hybrid), None, LiveVersion(7, "digest", "registry"), datetime.now(UTC))
    ids = ids if ids is not None else [None] * len(hybrid)
    predictions = predict_all(model, Transactions(np.zeros((len(hybrid), 30)), ids), Explain.NONE)
    return replace(predictions, prediction_ids=[str(row) for row in range(len(hybrid))]).answers()


def test_thresholds_belong_to_the_stricter_side(scorer) -> None:
    thresholds = scorer.thresholds
    below = np.nextafter(0.5, 0)
    given = answers(thresholds, below, 0.5, np.nextafter(0.8, 0), 0.8, 1.0)
    assert [(a["fraud"], str(a["decision"])) for a in given] == [
        (0, "APPROVE"),
        (1, "REVIEW"),
        (1, "REVIEW"),
        (1, "DECLINE"),
        (1, "DECLINE"),
    ]
    for answer in given:
        assert answer["fraud"] == int(answer["hybrid_score"] >= answer["threshold_used"])
        assert answer["decision"] == decide(answer["hybrid_score"], thresholds)
        assert answer["fraud_probability"] == answer["hybrid_score"] / 2
        assert answer["model_version"] == "7"


def test_no_transactions_no_answers(scorer) -> None:
    assert answers(scorer.thresholds) == []


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_never_an_approval(scorer, score) -> None:
    with pytest.raises(ScoringFailed, match="Version 7"):
        answers(scorer.thresholds, 0.1, score)


def test_ids_are_uuids_of_version_7() -> None:
    before = time.time_ns() // 1_000_000
    texts = [new_prediction_id() for _ in range(5_000)]
    ids = [uuid.UUID(text) for text in texts]
    assert [str(made) for made in ids] == texts
    assert len(set(ids)) == 5_000
    assert {(made.version, made.variant) for made in ids} == {(7, uuid.RFC_4122)}
    assert all(before <= made.int >> 80 <= time.time_ns() // 1_000_000 for made in ids)


def test_later_ids_sort_behind_earlier_ones() -> None:
    first = new_prediction_id()
    time.sleep(0.002)
    assert first < new_prediction_id()
