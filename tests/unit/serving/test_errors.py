"""Errors that no route raises itself, and the API's description of errors."""


def test_an_unknown_route_is_404(gateway) -> None:
    response = gateway.client.get("/nowhere")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Not Found",
        "request_id": response.headers["x-request-id"],
    }


def test_a_wrong_method_is_405_and_says_which_is_right(gateway) -> None:
    response = gateway.client.get("/predict")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json()["status"] == 405


def test_the_description_names_routes_bodies_and_errors(gateway) -> None:
    api = gateway.client.get("/openapi.json").json()
    health = {"/health", "/health/live", "/health/ready"}
    assert set(api["paths"]) >= health | {"/predict", "/predict-batch", "/features", "/metrics"}
    predict = api["paths"]["/predict"]["post"]
    schema = predict["requestBody"]["content"]["application/json"]["schema"]
    assert len(schema["required"]) == 30
    assert schema["additionalProperties"] is False
    assert set(predict["responses"]) >= {"200", "400", "413", "415", "422", "500", "503"}
    problem = predict["responses"]["422"]["content"]["application/problem+json"]["schema"]
    assert "request_id" in problem["required"]
    assert "$ref" not in str(problem)


def test_no_page_loads_scripts_from_elsewhere(gateway) -> None:
    assert gateway.client.get("/redoc").status_code == 404
