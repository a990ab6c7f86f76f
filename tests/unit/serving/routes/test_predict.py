"""/predict: what is answered, explained and refused."""

import gzip
import json
import math
import uuid

import pytest

from serving.large_bodies import SMALL_BYTES
from tests.support.creditcard import ENGINEERED_FEATURES, FEATURES, RAW_FEATURES

JSON = {"Content-Type": "application/json"}


def test_answer_to_a_legitimate_transaction(gateway, legitimate, scorer, raw_rows) -> None:
    response = gateway.client.post("/predict", json=legitimate)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert uuid.UUID(answer.pop("prediction_id")).version == 7
    scores = scorer.score(raw_rows[:1])
    assert answer == {
        "fraud": 0,
        "hybrid_score": scores.hybrid[0],
        "threshold_used": 0.5,
        "fraud_probability": scores.probability[0],
        "decision": "APPROVE",
        "model_version": "3",
        "kept": "database",
    }


def test_answer_to_a_fraud(gateway, fraudulent) -> None:
    answer = gateway.client.post("/predict", json=fraudulent).json()
    assert answer["fraud"] == 1
    assert answer["decision"] == "DECLINE"
    assert answer["hybrid_score"] >= 0.8


def test_transaction_id_comes_back(gateway, legitimate) -> None:
    named = gateway.client.post("/predict", json=legitimate | {"transaction_id": "tx-1 ä"}).json()
    assert named["transaction_id"] == "tx-1 ä"
    assert "transaction_id" not in gateway.client.post("/predict", json=legitimate | {"transaction_id": None}).json()


def test_whole_numbers_are_numbers(gateway, legitimate) -> None:
    assert gateway.client.post("/predict", json=legitimate | {"Time": 0, "Amount": 12}).status_code == 200


@pytest.mark.parametrize("value", [0, -1e300, "text", None, [1], {"a": 1}, True])
def test_a_clients_engineered_features_are_ignored(gateway, fraudulent, value) -> None:
    plain = gateway.client.post("/predict", json=fraudulent).json()
    sent = gateway.client.post("/predict", json=fraudulent | dict.fromkeys(ENGINEERED_FEATURES, value)).json()
    assert {**sent, "prediction_id": ""} == {**plain, "prediction_id": ""}


def test_batch_answers_in_order(gateway, raw_rows, scorer) -> None:
    rows = raw_rows[::7]
    batch = [
        dict(zip(RAW_FEATURES, row.tolist(), strict=True)) | {"transaction_id": str(i)} for i, row in enumerate(rows)
    ]
    response = gateway.client.post("/predict-batch", json=batch)
    assert response.status_code == 200
    answers = response.json()
    assert [answer["transaction_id"] for answer in answers] == [str(i) for i in range(len(rows))]
    assert [answer["hybrid_score"] for answer in answers] == scorer.score(rows).hybrid.tolist()
    assert len({answer["prediction_id"] for answer in answers}) == len(rows)
    assert {answer["fraud"] for answer in answers} == {0, 1}


def test_a_batch_scores_as_its_rows_do(gateway, legitimate, fraudulent) -> None:
    singles = [gateway.client.post("/predict", json=row).json() for row in (legitimate, fraudulent)]
    batch = gateway.client.post("/predict-batch", json=[legitimate, fraudulent]).json()
    assert [a["hybrid_score"] for a in batch] == [a["hybrid_score"] for a in singles]


def test_empty_batch(gateway) -> None:
    response = gateway.client.post("/predict-batch", json=[])
    assert (response.status_code, response.json()) == (200, [])


@pytest.mark.parametrize("path", ["/predict", "/predict-batch"])
@pytest.mark.parametrize("body", [b"", b"{", b'{"Time": 1,}', b"\xff\xfe", b"[" * 5_000, b"nonsense"])
def test_malformed_json_is_400(gateway, path, body) -> None:
    response = gateway.client.post(path, content=body, headers=JSON)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["title"] == "Bad Request"
    assert problem["detail"].startswith("The body is not JSON")
    assert problem["request_id"] == response.headers["x-request-id"]


def test_every_invalid_field_is_named(gateway, legitimate) -> None:
    body = legitimate | {"V1": "1.5", "V2": True, "V3": None, "Amount": -0.01, "Time": -1, "Class": 0}
    del body["V28"]
    response = gateway.client.post("/predict", json=body)
    assert response.status_code == 422
    messages = {error["field"]: error["message"] for error in response.json()["errors"]}
    assert messages == {
        "Time": "Input should be greater than or equal to 0",
        "V1": "Input should be a valid number",
        "V2": "Input should be a valid number",
        "V3": "Input should be a valid number",
        "V28": "Field required",
        "Amount": "Input should be greater than or equal to 0",
        "Class": "Unknown field",
    }


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "1e300"])
def test_numbers_that_are_not_finite_are_422(gateway, legitimate, number) -> None:
    fields = ", ".join(f'"{name}": {value}' for name, value in (legitimate | {"V5": number}).items())
    response = gateway.client.post("/predict", content=f"{{{fields}}}", headers=JSON)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["V5"]


@pytest.mark.parametrize("name", ["", "x" * 65, 7, ["a"]])
def test_unusable_transaction_ids_are_422(gateway, legitimate, name) -> None:
    response = gateway.client.post("/predict", json=legitimate | {"transaction_id": name})
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["transaction_id"]


@pytest.mark.parametrize("body", [b"[]", b"5", b'"text"', b"null", b"true"])
def test_json_that_is_no_object_is_422(gateway, body) -> None:
    response = gateway.client.post("/predict", content=body, headers=JSON)
    assert response.status_code == 422
    assert response.json()["errors"] == [{"message": "A transaction is a JSON object"}]


def test_faults_of_a_batch_name_row_and_field_and_nothing_is_scored(gateway, legitimate) -> None:
    response = gateway.client.post("/predict-batch", json=[legitimate, legitimate | {"V4": "x"}, legitimate, 7])
    assert response.status_code == 422
    assert response.json()["errors"] == [
        {"row": 1, "field": "V4", "message": "Input should be a valid number"},
        {"row": 3, "message": "A transaction is a JSON object"},
    ]


def test_a_batch_is_an_array(gateway, legitimate) -> None:
    response = gateway.client.post("/predict-batch", json=legitimate)
    assert response.status_code == 422
    assert response.json()["errors"] == [{"message": "The body should be an array of transactions."}]


def test_faults_are_cut_at_a_hundred(gateway, legitimate) -> None:
    errors = gateway.client.post("/predict-batch", json=[{}] * 500).json()["errors"]
    assert len(errors) == 100
    many = gateway.client.post("/predict", json=legitimate | {f"extra{i}": 0 for i in range(500)}).json()["errors"]
    assert many == [{"message": "500 fields are missing, unknown or invalid."}]


def test_too_many_rows_are_413(gateway, legitimate) -> None:
    response = gateway.client.post("/predict-batch", json=[{}] * 1_001)
    assert response.status_code == 413
    assert "1001 transactions or more; at most 1000" in response.json()["detail"]


@pytest.mark.parametrize(("path", "limit"), [("/predict", SMALL_BYTES), ("/predict-batch", 1_000_000)])
@pytest.mark.parametrize("announced", [True, False])
def test_too_large_bodies_are_413(gateway, path, limit, announced) -> None:
    body = b" " * (limit + 1)
    # Without a length, the body is sent in chunks and counted as it comes in.
    content = body if announced else iter([body[: limit // 2], body[limit // 2 :]])
    response = gateway.client.post(path, content=content, headers=JSON)
    assert response.status_code == 413
    assert f"larger than {limit} bytes" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/predict", "/predict-batch"])
@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", None])
def test_other_media_types_are_415(gateway, path, media_type) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    response = gateway.client.post(path, content=b"{}", headers=headers)
    assert response.status_code == 415
    assert response.headers["content-type"] == "application/problem+json"


def test_parameters_of_the_media_type_are_allowed(gateway, legitimate) -> None:
    content = gateway.client.build_request("POST", "/predict", json=legitimate).content
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert gateway.client.post("/predict", content=content, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/predict-batch"])
def test_no_model_is_503_with_a_time_to_come_back(serve, source, path, legitimate) -> None:
    with serve(source) as empty:
        response = empty.client.post(path, json=legitimate)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert response.json()["detail"].startswith("No model is loaded yet.")


def test_scores_are_finite_numbers_at_the_limits(gateway, legitimate) -> None:
    for value in (1e15, -1e15, 0, -0.0, 5e-324):
        row = {name: value if name.startswith("V") else abs(value) for name in legitimate}
        response = gateway.client.post("/predict", json=row)
        assert response.status_code == 200
        assert math.isfinite(response.json()["hybrid_score"])


def test_an_approval_gives_reasons_only_when_asked(gateway, legitimate) -> None:
    assert "reasons" not in gateway.client.post("/predict", json=legitimate).json()
    answer = gateway.client.post("/predict?explain=true", json=legitimate).json()
    assert answer["decision"] == "APPROVE"
    assert 0 < len(answer["reasons"]) <= 5
    assert "warnings" not in answer


def test_any_other_decision_always_does(gateway, fraudulent) -> None:
    plain = gateway.client.post("/predict", json=fraudulent).json()
    asked = gateway.client.post("/predict?explain=true", json=fraudulent).json()
    assert plain["reasons"] == asked["reasons"]
    assert plain["reasons"][0]["feature"] in ("V14", "max_abs_v", "variance_all", "mean_abs_v")
    assert plain["reasons"][0]["contribution"] > 0
    for reason in plain["reasons"]:
        assert set(reason) == {"feature", "description", "value", "contribution"}
        assert reason["feature"] in (*FEATURES, "isolation_score")


def test_values_that_training_never_saw_are_warned_of(gateway, fraudulent) -> None:
    answer = gateway.client.post("/predict", json=fraudulent | {"V3": -77.5}).json()
    [warning] = answer["warnings"]
    assert (warning["feature"], warning["value"]) == ("V3", -77.5)
    assert -10 < warning["minimum"] < warning["maximum"] < 10


def test_a_batch_explains_its_alerts_or_all_of_it(gateway, legitimate, fraudulent) -> None:
    batch = [legitimate, fraudulent, legitimate]
    single = gateway.client.post("/predict", json=fraudulent).json()["reasons"]
    alerts = gateway.client.post("/predict-batch", json=batch).json()
    assert [answer.get("reasons") for answer in alerts] == [None, single, None]
    whole = gateway.client.post("/predict-batch?explain=true", json=batch).json()
    assert whole[0]["reasons"] == whole[2]["reasons"] != single
    assert whole[1]["reasons"] == single


@pytest.mark.parametrize("path", ["/predict", "/predict-batch"])
def test_a_query_that_means_nothing_is_422(gateway, path, legitimate) -> None:
    response = gateway.client.post(f"{path}?explain=perhaps", json=legitimate)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["request_id"] == response.headers["x-request-id"]
    assert [error["field"] for error in problem["errors"]] == ["explain"]


@pytest.mark.parametrize("path", ["/predict", "/predict-batch", "/feedback"])
def test_compressed_bodies_are_415(gateway, path, legitimate) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = gateway.client.post(path, content=gzip.compress(json.dumps(legitimate).encode()), headers=headers)
    assert answer.status_code == 415
    assert answer.json()["detail"].startswith("Compressed bodies are not supported. Send it plain")


def test_a_byte_order_mark_does_no_harm(gateway, legitimate) -> None:
    for path, sent in (("/predict", legitimate), ("/predict-batch", [legitimate])):
        body = b"\xef\xbb\xbf" + json.dumps(sent).encode()
        assert gateway.client.post(path, content=body, headers=JSON).status_code == 200


@pytest.mark.parametrize(("path", "form"), [("/predict", "%s"), ("/predict-batch", "[%s]"), ("/feedback", "%s")])
def test_a_key_twice_is_400(gateway, legitimate, path, form) -> None:
    body = form % json.dumps(legitimate).replace("{", '{"Amount": 1e6, ', 1)
    answer = gateway.client.post(path, content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["detail"] == "The body names 'Amount' 2 times in one object. Send it once."


@pytest.mark.parametrize("path", ["/predict", "/predict-batch"])
def test_zero_has_no_sign(gateway, legitimate, path) -> None:
    answers = []
    for zero in ("0.0", "-0.0"):
        body = json.dumps(legitimate | {"V3": "here", "transaction_id": f"zero of {path}"}).replace('"here"', zero)
        body = body if path == "/predict" else f"[{body}]"
        answers.append(gateway.client.post(path, content=body, headers=JSON))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()


def test_rows_with_many_faults_are_named_shortly(gateway, legitimate) -> None:
    """A hundred faults are told apart; of each row after them, how many there are."""
    rows = [{f"strange{number}": 1 for number in range(60)}] * 900 + [legitimate]
    answers = gateway.client.post("/predict-batch?on_error=skip", json=rows).json()
    assert answers[0]["error"].count("Unknown field") == 60
    assert answers[899] == {"row": 899, "error": "90 fields are missing, unknown or invalid."}
    assert answers[900]["decision"] == "APPROVE"


def test_what_is_tried_out_is_kept_apart_or_not_at_all(gateway, fraudulent) -> None:
    named = fraudulent | {"transaction_id": "tried-1"}
    tried = gateway.client.post("/predict", params={"trial": True}, json=named).json()
    [bulk] = gateway.client.post("/predict-batch", params={"trial": True}, json=[named]).json()
    for answer in (tried, bulk):
        assert (answer["source"], answer["kept"]) == ("trial", "database")
        kept = gateway.client.get(f"/predictions/{answer['prediction_id']}").json()
        assert (kept["source"], kept["review_rate"]) == ("trial", None)
        label = {"prediction_id": answer["prediction_id"], "label": "fraud"}
        assert gateway.client.post("/feedback", json=label).json()["outcome"] == "trial"
    real = gateway.client.post("/predict", json=named | {"Amount": 12.5}).json()
    assert real["prediction_id"] not in (tried["prediction_id"], bulk["prediction_id"])
    assert "source" not in real

    before = gateway.client.get("/predictions", params={"source": "trial"}).json()["items"]
    assert tried["prediction_id"] in {each["prediction_id"] for each in before}
    unkept = gateway.client.post("/predict", params={"keep": False}, json=fraudulent).json()
    [row] = gateway.client.post("/predict-batch", params={"keep": False}, json=[fraudulent]).json()
    for answer in (unkept, row):
        assert (answer["prediction_id"], answer["kept"]) == (None, "none")
        assert answer["hybrid_score"] == tried["hybrid_score"]
    table = gateway.client.post(
        "/predict-batch", params={"keep": False}, json=[fraudulent], headers={"Accept": "text/csv"}
    ).text
    assert table.splitlines()[1].endswith('"none",')
