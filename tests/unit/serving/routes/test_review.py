"""Labels, the review queue in pages, and single predictions."""

import base64
import json

import pytest

from ml_project.review import drawn_for_review
from tests.support.creditcard import RAW_FEATURES


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
    one = b'{"label": 1, "transaction_id": "a", "unknown": [%s0]}' % (b"0," * 40_000)
    assert gateway.client.post("/feedback", content=one, headers=headers).status_code == 413


def test_faults_of_labels_are_cut_at_a_hundred(gateway) -> None:
    sent = [{f"strange{number}": 1 for number in range(60)}] * 1_000
    response = gateway.client.post("/feedback", json=sent)
    assert response.status_code == 422
    assert len(response.json()["errors"]) == 100


@pytest.fixture
def client(serve, source, scorer, raw_rows):
    """Of a gateway that has kept five frauds, then five approvals, the fourth approval labelled."""
    source.promote(3, scorer)
    with serve(source) as running:
        running.wait_for(3)
        for row in (*raw_rows[-5:], *raw_rows[:5]):
            answer = running.client.post("/predict", json=dict(zip(RAW_FEATURES, row.tolist(), strict=True))).json()
            if row is raw_rows[3] or (row == raw_rows[3]).all():
                running.client.post("/feedback", json={"prediction_id": answer["prediction_id"], "label": 0})
        yield running.client


def test_pages(client) -> None:
    everything = client.get("/predictions").json()
    assert everything["next"] is None
    times = [item["received_at"] for item in everything["items"]]
    assert len(times) == 10
    assert times == sorted(times, reverse=True)

    pages, after = [], None
    while True:
        page = client.get("/predictions", params={"limit": 4} | ({"after": after} if after else {})).json()
        pages.append(page["items"])
        after = page["next"]
        if after is None:
            break
    assert [len(page) for page in pages] == [4, 4, 2]
    assert [item for page in pages for item in page] == everything["items"]

    riskiest = client.get("/predictions", params={"order": "riskiest"}).json()["items"]
    scores = [item["hybrid_score"] for item in riskiest]
    assert scores == sorted(scores, reverse=True)


def test_filters(client) -> None:
    def count(**params: object) -> int:
        return len(client.get("/predictions", params=params).json()["items"])

    items = client.get("/predictions").json()["items"]
    approved = [item for item in items if item["decision"] == "APPROVE"]
    assert count(decision="APPROVE") == len(approved) >= 5
    assert count(score_from=0.5) + count(score_below=0.5) == 10
    assert (count(labelled=True), count(labelled=False)) == (1, 9)
    assert (count(model_version="3"), count(model_version="4")) == (10, 0)
    assert count(since=items[2]["received_at"]) == 3
    assert count(until=items[2]["received_at"]) == 7


def test_what_is_for_review(serve, source, make_scorer, raw_rows) -> None:
    """All alerts, and half of the approvals here; the sample's reasons are made when they are asked for."""
    source.promote(3, make_scorer(0.5))
    with serve(source, review_sample_rate=0.5) as running:
        running.wait_for(3)
        sent = [dict(zip(RAW_FEATURES, row.tolist(), strict=True)) for row in raw_rows[-60:-20]]
        approved = [dict(zip(RAW_FEATURES, row.tolist(), strict=True)) for row in raw_rows[:60]]
        answers = running.client.post("/predict-batch", json=[*sent[:20], *approved[:30]]).json()
        answers += [running.client.post("/predict", json=row).json() for row in (*sent[20:], *approved[30:])]
        approvals = [answer["prediction_id"] for answer in answers if answer["decision"] == "APPROVE"]
        drawn = {approvals[place] for place in drawn_for_review(approvals, 0.5)}
        assert 10 < len(drawn) < len(approvals) - 10

        items = running.client.get("/predictions", params={"for_review": True, "limit": 500}).json()["items"]
        alerts = {answer["prediction_id"] for answer in answers} - set(approvals)
        rates = {item["prediction_id"]: item["review_rate"] for item in items}
        assert rates == dict.fromkeys(alerts, 1.0) | dict.fromkeys(drawn, 0.5)
        assert all(item["reasons"] for item in items)

        sampled = running.client.get("/predictions", params={"for_review": True, "decision": "APPROVE"}).json()["items"]
        explained = running.client.post("/predict?explain=true", json=sampled[0]["inputs"]).json()["reasons"]
        assert sampled[0]["reasons"] == explained

        source.promote(4, make_scorer(0.4))  # another version does not speak for this one
        running.wait_for(4)
        sampled = running.client.get("/predictions", params={"for_review": True, "decision": "APPROVE"}).json()["items"]
        assert [item["reasons"] for item in sampled if item["prediction_id"] in drawn] == [None] * len(drawn)


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 501},
        {"limit": 0},
        {"after": "nonsense"},
        {"after": base64.urlsafe_b64encode(b'["newest", "2026-01-01T00:00:00+00:00", "\\ud800"]').decode()},
        {"order": "oldest"},
        {"since": "2026-01-01T00:00:00"},
        {"until": "0.5"},
        {"until": "1767225600"},
        {"since": "0001-01-01T00:00:00+12:00"},
        {"score_from": "nan"},
        {"colour": "red"},
    ],
)
def test_unusable_queries_are_422(gateway, params) -> None:
    assert gateway.client.get("/predictions", params=params).status_code == 422


def test_one_prediction_with_all_that_is_kept(gateway, fraudulent) -> None:
    sent = fraudulent | {"transaction_id": "page-1"}
    answer = gateway.client.post("/predict", json=sent, headers={"X-Request-ID": "req-page"}).json()
    kept = gateway.client.get(f"/predictions/{answer['prediction_id']}").json()
    assert kept["inputs"] == fraudulent
    for name in ("prediction_id", "transaction_id", "hybrid_score", "fraud_probability", "model_version", "reasons"):
        assert kept[name] == answer[name]
    assert (kept["request_id"], kept["decision"], kept["labels"]) == ("req-page", answer["decision"], [])
    assert (kept["label"], kept["segment_id"], kept["spooled"]) == (None, None, False)


def test_a_row_of_a_batch(gateway, legitimate, fraudulent) -> None:
    answers = gateway.client.post("/predict-batch", json=[legitimate, fraudulent]).json()
    for sent, answer in zip((legitimate, fraudulent), answers, strict=True):
        kept = gateway.client.get(f"/predictions/{answer['prediction_id']}").json()
        assert (kept["inputs"], kept["hybrid_score"]) == (sent, answer["hybrid_score"])
        assert kept["segment_id"] == answers[0]["prediction_id"]


def test_unknown_predictions_are_404(gateway) -> None:
    for name in ("nothing", "0190a5f2-0000-7000-8000-000000000000", "%00", "é"):
        missing = gateway.client.get(f"/predictions/{name}")
        assert missing.status_code == 404
        assert "No such prediction" in missing.json()["detail"]


def test_totals_and_claims(gateway, fraudulent) -> None:
    before = gateway.client.get("/queue").json()
    name = predicted(gateway, fraudulent)
    received = gateway.client.get(f"/predictions/{name}").json()["received_at"]
    after = gateway.client.get("/queue", params={"arrived_after": received}).json()
    assert (after["waiting"], after["alerts"], after["arrived"]) == (before["waiting"] + 1, before["alerts"] + 1, 0)
    dear = gateway.client.get("/predictions", params={"order": "expected_loss", "for_review": True}).json()["items"]
    losses = [item["fraud_probability"] * item["inputs"]["Amount"] for item in dear]
    assert losses == sorted(losses, reverse=True)

    def claim(session: str, seconds: float = 60) -> str:
        sent = {"prediction_ids": [name], "session": session, "seconds": seconds}
        [outcome] = gateway.client.post("/claims", json=sent).json()
        return str(outcome["outcome"])

    assert [claim("a"), claim("b"), claim("a", 0), claim("b")] == ["claimed", "taken", "released", "claimed"]
    page = gateway.client.get("/predictions").json()["items"]
    claims = {item["prediction_id"]: item["claim"] for item in page}
    assert claims[name]["reviewer"] == "anonymous"
    gateway.client.post("/feedback", json={"prediction_id": name, "label": "fraud"})
    done = gateway.client.get("/queue").json()
    assert done["waiting"] == before["waiting"]
    assert done["labelled_today_by_you"] == before["labelled_today_by_you"] + 1
    assert gateway.client.post("/claims", json={"prediction_ids": [], "session": "a"}).status_code == 422
    assert gateway.client.post("/claims", json={"prediction_ids": [name], "session": "a b"}).status_code == 422
