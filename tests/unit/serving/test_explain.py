"""When answers give reasons, and which."""

import pytest

from ml_project.schema import FEATURES


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
