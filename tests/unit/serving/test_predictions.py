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
from tests.support.creditcard import CREDITCARD, GROWN


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


def test_a_transaction_is_known_again_after_its_contract_has_grown(
    serve, source, make_scorer, legitimate, fraudulent
) -> None:
    source.promote(3, make_scorer())
    with serve(source, poll_seconds=0.2) as gateway:
        gateway.wait_for(3)
        named = [{**row, "transaction_id": name} for row, name in ((legitimate, "a"), (fraudulent, "b"))]
        first = gateway.client.post("/predict", json=named[0]).json()
        [second] = gateway.client.post("/predict-batch", json=named[1:]).json()
        source.promote(4, make_scorer(alert=0.1, contract=GROWN))
        gateway.wait_for(4)
        for more in ({}, {"risk": 2.5}):
            again = gateway.client.post("/predict", json={**named[0], **more}).json()
            assert (again["prediction_id"], again["model_version"]) == (first["prediction_id"], "3")
            bulk = gateway.client.post("/predict-batch", json=[{**row, **more} for row in named]).json()
            assert [each["prediction_id"] for each in bulk] == [first["prediction_id"], second["prediction_id"]]
        other = {**named[0], "Amount": 99, "risk": 2.5}
        assert gateway.client.post("/predict", json=other).status_code == 409
        assert gateway.client.post("/predict-batch", json=[other]).status_code == 409
        new = gateway.client.post("/predict", json={**named[0], "transaction_id": "c", "risk": 2.5}).json()
        assert new["model_version"] == "4"
        changed = {**named[0], "transaction_id": "c", "risk": 3}
        assert gateway.client.post("/predict", json=changed).status_code == 409
        source.promote(3, make_scorer())
        gateway.wait_for(3)
        back = gateway.client.post("/predict", json={**named[0], "transaction_id": "c"}).json()
        assert (back["prediction_id"], back["model_version"]) == (new["prediction_id"], "4")
