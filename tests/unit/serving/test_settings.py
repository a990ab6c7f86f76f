"""Settings come from the environment, described and checked."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from serving.settings import GatewaySettings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GatewaySettings.model_fields:
        monkeypatch.delenv(f"FRAUD_{name.upper()}", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_defaults_stay_on_this_machine() -> None:
    settings = GatewaySettings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.bundle_cache == Path("var/gateway/bundles")
    assert settings.cors_origins == ()


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "FRAUD_PORT": "9000",
        "FRAUD_CORS_ORIGINS": "https://a.example, https://b.example",
        "FRAUD_RELEASES_URI": "file:///srv/releases",
    }.items():
        monkeypatch.setenv(name, value)
    settings = GatewaySettings()
    assert settings.port == 9000
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.releases_uri == "/srv/releases"


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "0"), ("PORT", "70000"), ("POLL_SECONDS", "0"), ("RELEASES_URI", "gs://bucket/x"), ("LOG_LEVEL", "LOUD")],
)
def test_unusable_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"FRAUD_{name}", value)
    with pytest.raises(ValidationError):
        GatewaySettings()


def test_every_setting_is_described() -> None:
    assert [name for name, field in GatewaySettings.model_fields.items() if not field.description] == []
