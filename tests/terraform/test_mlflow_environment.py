"""MLflow with the very variables of its task definition: browsers by its real name, presigned addresses, users."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import make_url

from tests.terraform.conftest import Plan
from tests.terraform.terraform_cli import REPOSITORY

pytestmark = pytest.mark.slow

USERS = REPOSITORY / "docker" / "mlflow" / "users.py"

BROWSER = """
import json, sys
from fastapi import FastAPI
from starlette.testclient import TestClient
from mlflow.server.fastapi_security import init_fastapi_security

app = FastAPI()
init_fastapi_security(app)

@app.post("/ajax-api/2.0/mlflow/experiments/search")
def search() -> dict[str, str]:
    return {"experiments": "none"}

client = TestClient(app, raise_server_exceptions=False)
answers = {}
for host, origin in json.loads(sys.argv[1]):
    headers = {"Host": host, "Origin": origin}
    answers[f"{host} {origin}"] = client.post("/ajax-api/2.0/mlflow/experiments/search", headers=headers).status_code
print(json.dumps(answers))
"""

PRESIGNED = """
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository
client = S3ArtifactRepository("s3://fraud-detection-123456789012-eu-west-3/artifacts")._get_s3_client()
print(client.generate_presigned_url("get_object", {"Bucket": "bank", "Key": "artifacts/model.onnx"}))
"""


def run(program: str, *arguments: str, variables: dict[str, str]) -> str:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))}
    keys = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    done = subprocess.run(command, env={**bare, **keys, **variables}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return (done.stdout.splitlines() or [""])[-1]


@pytest.fixture
def variables(mocked: dict[str, Plan]) -> dict[str, str]:
    """As Terraform sets them."""
    (definition,) = (
        values
        for address, values in mocked["ecs_fargate"].items()
        if address.endswith("aws_ecs_task_definition.mlflow")
    )
    (container,) = json.loads(definition["container_definitions"])
    return {entry["name"]: entry["value"] for entry in container["environment"]}


def test_a_browser_may_post_by_the_real_name_and_through_the_tunnel(variables: dict[str, str]) -> None:
    name = "mlflow.fraud.example.com"
    asked = [
        (name, f"https://{name}"),
        (f"{name}:8443", f"https://{name}:8443"),
        (name, "https://elsewhere.example.com"),
        ("elsewhere.example.com", f"https://{name}"),
    ]
    answers = json.loads(run(BROWSER, json.dumps(asked), variables=variables))
    assert list(answers.values()) == [200, 200, 403, 403]
    # what was wrong: hosts without origins
    del variables["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"]
    assert json.loads(run(BROWSER, json.dumps(asked[:1]), variables=variables)) == {f"{name} https://{name}": 403}


def test_presigned_addresses_name_the_regions_own_host(variables: dict[str, str]) -> None:
    assert urlsplit(run(PRESIGNED, variables=variables)).hostname == "bank.s3.eu-west-3.amazonaws.com"


FORMER = """
import os
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base
address = os.environ["MLFLOW_BACKEND_STORE_URI"]
engine = utils.create_sqlalchemy_engine(address)
Base.metadata.create_all(engine)
config = utils._get_alembic_config(address)
scripts = ScriptDirectory.from_config(config)
command.upgrade(config, scripts.get_revision(scripts.get_current_head()).down_revision)
"""

SCHEMA = """
import os
from mlflow.store.db import utils
engine = utils.create_sqlalchemy_engine(os.environ["MLFLOW_BACKEND_STORE_URI"])
print(utils._get_schema_version(engine) == utils._get_latest_schema_revision())
"""


@pytest.mark.parametrize("state", ["empty", "of a former MLflow"])
def test_the_setup_brings_the_database_to_this_mlflows_schema(
    mocked: dict[str, Plan], postgres_database: str, tmp_path: Path, state: str
) -> None:
    """By the command of its task definition, in the folder of the image's programs."""
    address = make_url(postgres_database).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    variables = {"MLFLOW_BACKEND_STORE_URI": address, "MLFLOW_DISABLE_TELEMETRY": "true"}
    if state != "empty":
        run(FORMER, variables=variables)
        assert run(SCHEMA, variables=variables) == "False"
    (definition,) = (
        values
        for address, values in mocked["ecs_fargate"].items()
        if address.endswith("module.mlflow_task.aws_ecs_task_definition.job")
    )
    (container,) = json.loads(definition["container_definitions"])
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    users = {"AUTH_DATABASE_URI": f"sqlite:///{tmp_path}/users.db", "USER_ADMIN": "a-password-of-admin"}
    done = subprocess.run(
        container["command"],
        cwd=USERS.parent,
        env={**os.environ, **variables, **users, "PATH": programs},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "user admin made"
    assert run(SCHEMA, variables=variables) == "True"


LOGIN = """
import json, os, sys
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
store = SqlAlchemyStore()
store.init_db(os.environ["AUTH_DATABASE_URI"])
users = {user.username: user.is_admin for user in store.list_users()}
in_force = {name: store.authenticate_user(name, password) for name, password in json.loads(sys.argv[1]).items()}
print(json.dumps([users, in_force]))
"""


def test_users_are_made_and_everybodys_password_is_changed_the_administrators_too(tmp_path: Path) -> None:
    variables = {"AUTH_DATABASE_URI": f"sqlite:///{tmp_path}/users.db"}
    program = USERS.read_text()
    for round_ in ("first", "second"):
        passwords = {name: f"{round_}-password-of-{name}" for name in ("admin", "gateway", "pipelines")}
        given = {f"USER_{name.upper()}": password for name, password in passwords.items()}
        last = run(program, variables=variables | given)
        assert last == f"user pipelines {'made' if round_ == 'first' else 'has its password'}"
        users, in_force = json.loads(run(LOGIN, json.dumps(passwords), variables=variables))
        assert users == {"admin": True, "gateway": False, "pipelines": False}
        assert in_force == dict.fromkeys(passwords, True)
    former = {"admin": "first-password-of-admin"}
    assert json.loads(run(LOGIN, json.dumps(former), variables=variables))[1] == {"admin": False}
