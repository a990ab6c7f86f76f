"""Labels: single and many, idempotent, with the reviewer's name."""

import json

import pytest


def predicted(gateway, transaction, **fields: str) -> str:
    return gateway.client.post("/predict", json=transaction | fields).json()["prediction_id"]


def test_a_label_by_prediction_id(gateway, fraudulent) -> None:
    prediction_id = predicted(gateway, fraudulent)
    sent = {"prediction_id": prediction_id, "label": "fraud"}
    answers = [gateway.client.post("/feedback", json=sent).json() for _ in range(2)]
    assert answers == [
        {"prediction_id": prediction_id, "outcome": "added"},
        {"prediction_id": prediction_id, "outcome": "unchanged"},
    ]
    assert gateway.client.post("/feedback", json=sent | {"label": 0}).json()["outcome"] == "added"
    kept = gateway.client.get(f"/predictions/{prediction_id}").json()
    assert [(label["label"], label["reviewer"]) for label in kept["labels"]] == [
        ("fraud", "anonymous"),
        ("legitimate", "anonymous"),
    ]
    assert kept["label"] == kept["labels"][1]


def test_many_labels_in_their_order(gateway, legitimate) -> None:
    prediction_id = predicted(gateway, legitimate, transaction_id="fb-1")
    answer = gateway.client.post(
        "/feedback",
        json=[
            {"transaction_id": "nobody", "label": "fraud"},
            {"transaction_id": "fb-1", "label": 1},
            {"prediction_id": prediction_id, "label": "fraud"},
            {"prediction_id": "nothing", "label": "legitimate"},
        ],
    )
    assert answer.json() == [
        {"prediction_id": None, "outcome": "unknown"},
        {"prediction_id": prediction_id, "outcome": "added"},
        {"prediction_id": prediction_id, "outcome": "unchanged"},
        {"prediction_id": None, "outcome": "unknown"},
    ]
    assert gateway.client.post("/feedback", json=[]).json() == []


def test_rows_of_batches_are_labelled_too(gateway, legitimate) -> None:
    [answer] = gateway.client.post("/predict-batch", json=[legitimate]).json()
    sent = {"prediction_id": answer["prediction_id"], "label": 0}
    assert gateway.client.post("/feedback", json=sent).json()["outcome"] == "added"


@pytest.mark.parametrize(
    ("sent", "errors"),
    [
        ({"prediction_id": "x", "label": "maybe"}, [{"field": "label"}]),
        ({"prediction_id": "x", "label": True}, [{"field": "label"}]),
        ({"prediction_id": "x", "label": 1, "why": "x"}, [{"field": "why"}]),
        ({"label": 1}, [{}]),
        ({"label": 1, "prediction_id": "x", "transaction_id": "y"}, [{}]),
        (
            [{"prediction_id": "x", "label": 1}, {"prediction_id": "", "label": 1}],
            [{"row": 1, "field": "prediction_id"}],
        ),
        ("text", [{}]),
    ],
)
def test_unusable_labels_are_named(gateway, sent, errors) -> None:
    response = gateway.client.post("/feedback", json=sent)
    assert response.status_code == 422
    found = [{name: value for name, value in error.items() if name != "message"} for error in response.json()["errors"]]
    assert found == errors


def test_other_bodies(gateway) -> None:
    headers = {"Content-Type": "application/json"}
    assert gateway.client.post("/feedback", content=b"{", headers=headers).status_code == 400
    assert gateway.client.post("/feedback", content=b"x").status_code == 415
    many = json.dumps([{"prediction_id": "x", "label": 1}] * 1_001)
    assert gateway.client.post("/feedback", content=many, headers=headers).status_code == 413
