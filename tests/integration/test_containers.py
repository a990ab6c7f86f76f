"""The images as docker/compose.yaml runs them, on PostgreSQL and S3 of the tests: by anybody, read-only, in 512 MB."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ml_project.scorer import load_scorer
from stores.attestation import SigningKey
from stores.releases import open_releases
from tests.integration.containers import BASE, Container, build, execute, make_base, require_programs, run_once
from tests.support.compose import compose, databases, secret_names
from tests.support.creditcard import RAW_FEATURES
from tests.support.machine import ROOT
from tests.support.pipelines import transactions
from tests.support.processes import free_port, wait_for
from tests.support.servers import ACCESS_KEY, SECRET_KEY, PostgresServer, S3Server

pytestmark = pytest.mark.soak  # builds three images: minutes, and tools that CI does not install
NAMES = ("gateway", "mlflow", "pipelines")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LIST_FILES = "find / -xdev -path /proc -prune -o -print"
OURS = {
    "gateway": {"health.py", "ml_project", "rds-ca.pem", "serving", "stores"},
    "mlflow": {"health.py", "rds-ca.pem", "registry_lock.py", "serve.py", "users.py"},
    "pipelines": {"ml_project", "pipelines", "rds-ca.pem", "stores"},
}
QUICK = {"FRAUD_REPLICATES": "100", "FRAUD_FOLDS": "2", "FRAUD_TUNING_ROWS": "2000", "FRAUD_THREADS": "2"}
SECRETS = {name: f"{name.lower()}-of-tests-only-0123456789" for name in secret_names()} | {
    "S3_ACCESS_KEY": ACCESS_KEY,
    "S3_SECRET_KEY": SECRET_KEY,
}


@pytest.fixture(scope="module")
def images() -> dict[str, str]:
    require_programs()
    make_base()
    spoiled = ROOT / "serving" / "spoiled.env"  # what an engineer may have lying about
    spoiled.write_text("PASSWORD=sesame\n")
    try:
        return {name: build(name, COMMIT) for name in NAMES}
    finally:
        spoiled.unlink()


@dataclass(frozen=True)
class Stack:
    """Where the servers of compose.yaml are found here, and its environments translated to that."""

    postgres: Path
    s3: S3Server
    mlflow_port: int
    gateway_port: int

    def environment(self, service: str) -> dict[str, str]:
        ours = compose(SECRETS)["services"][service]["environment"]
        places = {"http://s3:9000": self.s3.url, "http://mlflow:5000": f"http://127.0.0.1:{self.mlflow_port}"}
        places["/keys/promotion.pub"] = SigningKey(SECRETS["PROMOTION_KEY"]).public  # what `access` writes there
        text = re.sub(r"@postgres/(\w+)", r"@/\1?host=/postgres", json.dumps(ours))
        for there, here in places.items():
            text = text.replace(there, here)
        ports = {"MLFLOW_PORT": str(self.mlflow_port), "FRAUD_PORT": str(self.gateway_port)}
        return {name: str(value) for name, value in json.loads(text).items()} | ports

    def options(self, service: str) -> tuple[str, ...]:
        """As `podman run` takes them, for what runs once."""
        variables = [f"--env={name}={value}" for name, value in self.environment(service).items()]
        return (*variables, self.socket)

    @property
    def socket(self) -> str:
        return f"--volume={self.postgres}:/postgres:ro"


@pytest.fixture(scope="module")
def stack(images: dict[str, str], postgres_server: PostgresServer, s3_server: S3Server) -> Iterator[Stack]:
    s3_server.client().create_bucket(Bucket="fraud")
    with databases(postgres_server, SECRETS) as url:
        folder = Path(str(url.query["host"]))
        folder.chmod(0o755)  # whoever the containers run as reaches the socket
        yield Stack(folder, s3_server, free_port(), free_port())


@pytest.fixture(scope="module")
def mlflow(images: dict[str, str], stack: Stack) -> Iterator[Container]:
    with Container(images["mlflow"], stack.environment("mlflow"), stack.socket) as server:
        wait_for(f"http://127.0.0.1:{stack.mlflow_port}/health", 200, seconds=1200)
        yield server


@pytest.fixture(scope="module")
def promoted(images: dict[str, str], stack: Stack, mlflow: Container) -> str:
    """What the promotion said of the version that the pipeline had trained and registered."""
    users = run_once(images["mlflow"], "python", "users.py", options=stack.options("mlflow-users"))
    assert {"user gateway made", "user pipelines made", "user promotion made"} <= set(users.splitlines())
    state = "--tmpfs=/state:mode=0770"
    admin = (*stack.options("access"), state)
    for role, user in (("promoter", "promotion"), ("data-scientist", "pipelines"), ("reader", "gateway")):
        assert f"{user}: {role}" in run_once(images["pipelines"], "access", "grant", role, user, options=admin)
    bank = transactions(12_000, seed=4).to_csv(index=False).encode()
    stack.s3.client().put_object(Bucket="fraud", Key="bank.csv", Body=bank)
    quick = [f"--env={name}={value}" for name, value in QUICK.items()]
    options = (*stack.options("pipeline"), *quick, state)
    said = run_once(images["pipelines"], "main", "--data", "s3://fraud/bank.csv", "--trials", "1", options=options)
    assert "the candidate is registered as version 1" in said
    options = (*stack.options("promotion"), *quick, state)
    said = run_once(images["pipelines"], "promote", options=options)
    assert "Production is now version 1" in said
    return said


@pytest.mark.parametrize("name", NAMES)
def test_images_say_what_they_are(images: dict[str, str], name: str) -> None:
    (image,) = json.loads(execute("podman", "image", "inspect", images[name]))
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in image["Labels"].items()}
    assert (labels["revision"], labels["base.name"]) == (COMMIT, BASE)
    assert image["Config"]["User"] == "10001:0"
    assert not any("PASSWORD" in variable or "SECRET" in variable for variable in image["Config"]["Env"])


@pytest.mark.parametrize("name", NAMES)
def test_images_hold_no_compiler_no_cache_and_no_code_but_theirs(images: dict[str, str], name: str) -> None:
    listed = run_once(images[name], "-c", LIST_FILES, options=("--entrypoint", "sh", "--user", "0"))
    paths = {Path(line) for line in listed.splitlines()}
    assert len(paths) > 5_000
    programs = {path.name for path in paths if path.parent.name == "bin"}
    assert "python" in programs
    assert programs.isdisjoint({"gcc", "cc", "g++", "clang", "make", "ld", "rustc"})
    assert {path.name for path in paths}.isdisjoint({".env", "spoiled.env", ".git"})
    assert not any({"pip", "http"} <= set(path.parts) or path.match("*/.cache/*") for path in paths)
    assert {path.name for path in paths if path.parent == Path("/app")} - {"__pycache__"} == OURS[name]


@pytest.mark.parametrize("name", NAMES)
def test_volumes_belong_to_whoever_the_container_runs_as(images: dict[str, str], name: str) -> None:
    # as on Fargate: nothing but the image says whose they are
    write = "touch /state/x /tmp/x && ! touch /app/x 2>/dev/null && stat -c %a /state /tmp"
    options = ("--read-only-tmpfs=false", "--entrypoint", "sh")
    assert run_once(images[name], "-c", write, options=options, scratch=()).split() == ["770", "1777"]


def test_the_gateway_answers_with_the_promoted_models_scores(
    images: dict[str, str], stack: Stack, promoted: str, s3_credentials: None, tmp_path: Path
) -> None:
    environment = stack.environment("gateway")
    with Container(images["gateway"], environment, "--memory", "512m", stack.socket) as gateway:
        url = f"http://127.0.0.1:{stack.gateway_port}"
        assert wait_for(f"{url}/health/ready", 200).json()["model_version"] == "1"
        releases = open_releases(environment["FRAUD_RELEASES_URI"], stack.s3.url)
        release = releases.current()
        assert release is not None
        releases.download_bundle(release, tmp_path / "bundle")
        rows = transactions(5_000, seed=9)[list(RAW_FEATURES)].iloc[:50]
        expected = load_scorer(tmp_path / "bundle", release.digest, threads=1).score(rows.to_numpy())
        key = {"X-API-Key": SECRETS["GATEWAY_KEY"]}
        answers = [httpx.post(f"{url}/predict", json=row, headers=key).json() for row in rows.to_dict("records")]
        assert [answer["hybrid_score"] for answer in answers] == pytest.approx(list(expected.hybrid), abs=1e-9)
        assert {(answer["model_version"], answer["kept"]) for answer in answers} == {("1", "database")}
        assert httpx.post(f"{url}/predict", json={}).status_code == 401
        assert gateway.healthy()
        assert gateway.memory_limit() == 512 * 1024**2
        assert gateway.changed() <= {"/etc", "/run", "/state", "/postgres"}  # places to mount at, nothing in them
        assert gateway.stop() == 0


def test_runs_bear_the_images_commit(stack: Stack, promoted: str) -> None:
    user = ("pipelines", SECRETS["MLFLOW_PIPELINES_PASSWORD"])
    api = f"http://127.0.0.1:{stack.mlflow_port}/api/2.0/mlflow"
    named = {"experiment_name": "fraud-detection"}
    experiment = httpx.get(f"{api}/experiments/get-by-name", params=named, auth=user).json()["experiment"]
    body = {"experiment_ids": [experiment["experiment_id"]], "filter": f"tags.`mlflow.source.git.commit` = '{COMMIT}'"}
    assert len(httpx.post(f"{api}/runs/search", json=body, auth=user).json()["runs"]) > 1


def test_mlflow_is_for_users_and_ends_cleanly(stack: Stack, mlflow: Container, promoted: str) -> None:
    url = f"http://127.0.0.1:{stack.mlflow_port}/api/2.0/mlflow/experiments/search?max_results=1"
    assert [httpx.get(url, auth=("gateway", password)).status_code for password in ("x", "password1234")] == [401, 401]
    assert httpx.get(url, auth=("gateway", SECRETS["MLFLOW_GATEWAY_PASSWORD"])).status_code == 200
    assert httpx.get(url, headers={"Host": "elsewhere.example"}).status_code == 403
    assert mlflow.healthy()
    assert mlflow.changed() <= {"/etc", "/run", "/state", "/postgres"}
    assert mlflow.stop() == 0
