"""What /features tells clients."""

from ml_project.schema import ENGINEERED_FEATURES, FEATURES, RAW_FEATURES


def test_features_with_a_model(gateway, raw_rows) -> None:
    body = gateway.client.get("/features").json()
    assert body["required_features"] == list(RAW_FEATURES)
    assert body["engineered_features"] == list(ENGINEERED_FEATURES)
    assert body["total_features"] == 37
    assert body["model_version"] == "3"
    assert list(body["features"]) == list(FEATURES)
    amount = body["features"]["Amount"]
    assert amount["type"] == "number"
    assert amount["required"] is True
    assert amount["minimum"] == 0
    assert abs(amount["training_range"]["maximum"] - raw_rows[:, -1].max()) < 1e-3
    assert body["features"]["Time"]["training_range"]["unit"] == "hour of day"
    assert body["features"]["Time"]["training_range"]["maximum"] < 24
    assert body["features"]["V1"]["minimum"] == -1e15
    assert body["features"]["high_value"]["required"] is False
    assert body["features"]["high_value"]["training_range"] == {"minimum": 0.0, "maximum": 0.0}


def test_features_without_a_model(serve, source) -> None:
    with serve(source) as gateway:
        body = gateway.client.get("/features").json()
    assert body["model_version"] is None
    assert body["total_features"] == 37
    assert body["features"]["V28"]["training_range"] is None
