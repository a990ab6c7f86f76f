"""What the Dockerfiles promise, as far as it can be told without building them."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from tests.support.compose import FOLDER
from tests.support.machine import ROOT, find_program, missing
from tests.support.processes import free_port

DOCKERFILES = sorted(FOLDER.glob("*.Dockerfile"))
OURS = {
    "gateway": {"ml_project", "stores", "serving", "ui"},
    "pipelines": {"ml_project", "stores", "pipelines"},
    "mlflow": set(),
}


def copied(dockerfile: Path) -> list[str]:
    """What is copied from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(), re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def requirements(path: Path) -> dict[str, frozenset[str]]:
    """Hashes of every pin."""
    blocks = re.findall(r"^(\S+==[^\\]+?) \\\n((?:    --hash=\S+(?: \\)?\n)+)", path.read_text(), re.MULTILINE)
    return {pin: frozenset(re.findall(r"sha256:\w{64}", hashes)) for pin, hashes in blocks}


def test_hadolint_finds_nothing() -> None:
    hadolint = find_program("hadolint")
    if hadolint is None:
        missing("hadolint")
    done = subprocess.run([hadolint, *map(str, DOCKERFILES)], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_there_is_an_image_of_each_kind() -> None:
    assert {path.name for path in DOCKERFILES} == {f"{name}.Dockerfile" for name in OURS}


@pytest.mark.parametrize("name", OURS)
def test_an_image_holds_only_the_code_that_it_runs(name: str) -> None:
    sources = set(copied(FOLDER / f"{name}.Dockerfile"))
    assert sources & {"ml_project", "stores", "serving", "pipelines", "ui"} == OURS[name]
    assert all((ROOT / source).exists() for source in sources)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_packages_are_hashed_wheels_and_the_last_stage_installs_nothing(dockerfile: Path) -> None:
    first, last = re.split(r"^FROM .*$", dockerfile.read_text(), flags=re.MULTILINE)[1:]
    assert "install --no-cache-dir --only-binary :all: --require-hashes -r requirements.txt" in first
    assert "pip " not in last
    assert re.findall(r"^USER (.*)$", last, re.MULTILINE) == ["10001:0"]
    assert re.findall(r"^(?:ENTRYPOINT|CMD) (?!\[)", last, re.MULTILINE) == []
    assert 'org.opencontainers.image.revision="${COMMIT}"' in last


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_what_is_written_to_is_a_volume_once_its_mode_is_set(dockerfile: Path) -> None:
    lines = dockerfile.read_text().splitlines()
    declared = lines.index('VOLUME ["/state", "/tmp"]')
    assert lines.index("RUN install -d -m 0770 -o 10001 -g 0 /state") < declared
    assert not any(line.startswith(("RUN", "COPY")) for line in lines[declared:])


def test_mlflow_has_the_versions_and_hashes_of_the_pipelines() -> None:
    server, pipelines = (
        requirements(FOLDER / "mlflow" / "requirements.txt"),
        requirements(ROOT / "requirements" / "pipelines.txt"),
    )
    assert {"mlflow==3.17.2", "psycopg==3.3.9"} <= server.keys()
    other = {pin for pin, hashes in server.items() if hashes != pipelines.get(pin)}
    assert other == set(), "lock docker/mlflow/requirements.txt anew: docs/containers.md"


def test_the_context_lets_in_what_is_copied_and_nothing_else() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    allowed = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    needed = {source for dockerfile in DOCKERFILES for source in copied(dockerfile)}
    assert rules[0] == "*"
    assert [source for source in needed if not any(Path(source).is_relative_to(path) for path in allowed)] == []
    assert [path for path in allowed if not any(Path(source).is_relative_to(path) for source in needed)] == []
    assert {"**/*.env", "**/.*", "**/__pycache__"} <= set(rules[len(allowed) + 1 :])


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a server that is well at /health only."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" and Answers.well else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

        well = True

    with HTTPServer(("127.0.0.1", 0), Answers) as http:
        Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield http.server_port
        http.shutdown()


def health(port: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(FOLDER / "health.py"), "FRAUD_PORT"]
    # a proxy of the environment is none of its business
    environment = os.environ | {"FRAUD_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_the_health_check_is_the_servers_own_answer(server: int) -> None:
    assert (health(server).returncode, health(free_port()).returncode) == (0, 1)


def test_the_health_check_says_what_is_wrong(server: int) -> None:
    assert "no answer: [Errno 111]" in health(free_port()).stderr


RDS_AUTHORITIES = "3a2799866e1e358b7750957a08c3235fcfa7b61ea4da28182c58d38927a44d2d"
"""SHA-256 of the sorted fingerprints. Each of the certificates is in AWS's global-bundle.pem of 2023 as well: compared
with a copy that others had downloaded, whose SHA-1 (739992e99e645ecddd894bedd7e934b1c5dae895) others again noted."""


def test_the_images_know_the_authorities_of_rds_for_years() -> None:
    authorities = x509.load_pem_x509_certificates((FOLDER / "rds-ca.pem").read_bytes())
    fingerprints = sorted(one.fingerprint(hashes.SHA256()).hex() for one in authorities)
    assert hashlib.sha256("\n".join(fingerprints).encode()).hexdigest() == RDS_AUTHORITIES
    names = {one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value for one in authorities}
    assert {f"Amazon RDS eu-west-3 Root CA {kind} G1" for kind in ("RSA2048", "RSA4096", "ECC384")} <= names
    for one in authorities:
        one.verify_directly_issued_by(one)
        assert one.not_valid_after_utc > datetime.now(UTC) + timedelta(days=3650)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_they_lie_where_the_addresses_of_the_database_say(dockerfile: Path) -> None:
    """terraform/modules/database/secrets.tf: sslrootcert=/app/rds-ca.pem."""
    first, last = re.split(r"^FROM .*$", dockerfile.read_text(), flags=re.MULTILINE)[1:]
    assert "WORKDIR /app" in first
    assert "docker/rds-ca.pem" in copied(dockerfile)
    assert "COPY --from=packages /app /app" in last
