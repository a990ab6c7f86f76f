"""One environment means the same places to gateway and pipelines, and shows no password."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.__main__ import fault
from pipelines.settings import PipelineSettings
from serving.settings import GatewaySettings, faults
from stores.key_hash import KeyHash
from stores.settings import PlatformSettings, secret_names, variables

PASSWORD = "not-to-be-shown"
BOTH = (GatewaySettings, PipelineSettings)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings in BOTH:
        for name in settings.model_fields:
            for variable in variables(settings, name):
                monkeypatch.delenv(variable, raising=False)


def places(settings: PlatformSettings) -> dict[str, str]:
    names = (
        "mlflow_server",
        "mlflow_uri",
        "releases",
        "decisions_url",
        "s3_endpoint_url",
        "model_name",
        "emf_namespace",
    )
    return {name: str(getattr(settings, name)) for name in names} | {"gateway": str(settings.gateway_dir.resolve())}


ENVIRONMENTS = {
    "nothing": {},
    "a state folder": {"FRAUD_STATE_DIR": "/data"},
    "both addresses": {"FRAUD_TRACKING_URI": "http://ours:5000", "MLFLOW_TRACKING_URI": "http://theirs:5000"},
    "MLflow's own": {"MLFLOW_TRACKING_URI": "http://theirs:5000"},
    "an empty one of ours": {"FRAUD_TRACKING_URI": "", "MLFLOW_TRACKING_URI": "http://theirs:5000"},
    "everything": {
        "FRAUD_STATE_DIR": "/data",
        "FRAUD_TRACKING_URI": "http://ours:5000",
        "FRAUD_RELEASES_URI": "s3://bucket/releases",
        "FRAUD_S3_ENDPOINT_URL": "http://127.0.0.1:9000",
        "FRAUD_DATABASE_URL": "postgresql://fraud:secret@host/decisions",
        "FRAUD_MODEL_NAME": "cards",
        "FRAUD_EMF_NAMESPACE": "fraud",
    },
}


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_both_mean_the_same_places(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    gateway, pipelines = (places(settings()) for settings in BOTH)
    assert gateway == pipelines


def test_the_places_of_a_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_STATE_DIR", "/data")
    assert places(GatewaySettings()) == {
        "mlflow_server": "",
        "mlflow_uri": "sqlite:////data/mlflow.db",
        "releases": "/data/releases",
        "decisions_url": "sqlite:////data/gateway/decisions.db",
        "s3_endpoint_url": "",
        "model_name": "fraud-ensemble",
        "emf_namespace": "",
        "gateway": "/data/gateway",
    }


def test_the_platforms_variable_wins_over_mlflows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://theirs:5000")
    assert {settings().mlflow_server for settings in BOTH} == {"http://theirs:5000"}
    monkeypatch.setenv("FRAUD_TRACKING_URI", "http://ours:5000")
    assert {settings().mlflow_server for settings in BOTH} == {"http://ours:5000"}


def test_shared_fields_are_defined_once() -> None:
    shared = set(PlatformSettings.model_fields)
    assert set(GatewaySettings.model_fields) & set(PipelineSettings.model_fields) == shared
    for settings in BOTH:
        # of state_dir the pipelines have another default: in a project that `mlflow run` fetched, where it was started
        assert not shared & set(settings.__annotations__) - {"state_dir"}


@pytest.mark.parametrize("settings", BOTH)
def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch, settings: type[PlatformSettings]) -> None:
    secrets = secret_names(settings)
    assert {"tracking_uri", "database_url"} <= secrets
    # what may hold a password: addresses of servers and databases, keys and secrets
    suspicious = {
        name for name in settings.model_fields if name.endswith(("_url", "_uri", "_key", "_secret", "_store"))
    }
    assert suspicious - secrets == {"releases_uri", "s3_endpoint_url"}  # which refuse one, see stores.objects
    for name in secrets:
        monkeypatch.setenv(variables(settings, name)[0], f"https://user:{PASSWORD}@host/{'x' * 32}")
    shown = settings()
    assert PASSWORD not in f"{shown!r} {shown} {shown.model_dump()} {shown.model_dump_json()}"
    assert PASSWORD in shown.mlflow_server


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings in BOTH:
        for name in settings.model_fields:
            monkeypatch.setenv(variables(settings, name)[0], "")
    assert GatewaySettings().state_dir == Path("var")
    assert PipelineSettings().trials == 30


def test_both_make_the_same_hash_of_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [settings().key_hash for settings in BOTH] == [None, None]
    monkeypatch.setenv("FRAUD_KEY_SECRET", "x" * 16)
    found = [settings().key_hash for settings in BOTH]
    assert {each and each.of("customer", "C1") for each in found} == {KeyHash("x" * 16).of("customer", "C1")}


def test_a_short_key_secret_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_KEY_SECRET", PASSWORD[:15])
    for settings, said, message in (
        (GatewaySettings, faults, "FRAUD_KEY_SECRET cannot be ***: it needs at least 16 random characters"),
        (PipelineSettings, lambda error: fault(dict(error.errors()[0])), "key_secret: it needs at least 16 characters"),
    ):
        with pytest.raises(ValidationError) as caught:
            settings()
        assert message in said(caught.value)
        assert PASSWORD[:15] not in said(caught.value)
