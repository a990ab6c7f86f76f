"""The platform as mocked plans, and applied once to moto's AWS and a stub of App Runner."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config

from tests.support.processes import free_port, wait_for_port
from tests.terraform.apprunner_stub import ControlPlane, serve
from tests.terraform.pages import quick_aws_client
from tests.terraform.terraform_cli import ENVIRONMENTS, Terraform

REGION = "eu-west-3"
ACCOUNT = "123456789012"
NAME = "fraud-detection"
FIRST_DIGEST, SECOND_DIGEST = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
TLS = """
  mlflow_tls = {{
    certificate_arn = "{certificate}"
    hostname        = "mlflow.example.com"
  }}
  gateway_tls = {{
    certificate_arn = "{certificate}"
    hostname        = "fraud.example.com"
  }}
"""
"""Settings that everybody makes first: no plan accepts those that lie there."""

Plan = dict[str, dict[str, Any]]
"""Planned values by address."""


_CHANGING = (
    "test_another_digest_is_an_exchange_in_place",
    "test_new_passwords_another_compute_and_another_digest_are_one_apply",
    "test_destroy_leaves_nothing",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put last the tests that change what was applied, whatever the order of the others."""
    items.sort(key=lambda item: _CHANGING.index(item.name) + 1 if item.name in _CHANGING else 0)


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """A root made of all roots, for commands that need no AWS: so Terraform reads the provider's schema once."""
    folder = tmp_path_factory.mktemp("everything")
    tree = Terraform.copy(folder)
    certificate = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1"
    for name in ENVIRONMENTS:
        settings = f'module "platform" {{{TLS.format(certificate=certificate)}}}'
        (tree.folder / "environments" / name / "settings_override.tf").write_text(settings)
    arguments = {"bootstrap": 'github_repository = "acme/fraud"'}
    arguments |= {f"environments/{name}": f"image_digests = {digests(FIRST_DIGEST)}" for name in ENVIRONMENTS}
    (folder / "main.tf").write_text(
        "".join(
            f'module "{Path(path).name}" {{\n  source = "./terraform/{path}"\n  {argument}\n}}\n'
            for path, argument in arguments.items()
        )
    )
    shutil.copy(tree.folder / "bootstrap" / ".terraform.lock.hcl", folder)
    root = tree.root("..")
    root.init("-lockfile=readonly")
    with root.provider_attached():
        yield root


@pytest.fixture(scope="session")
def mocked(everything: Terraform) -> dict[str, Plan]:
    """The runs of platform/tests, by their names."""
    root = everything.root("terraform/platform")
    root.init("-backend=false")
    messages = [json.loads(line) for line in root.run("test", "-json", "-verbose").splitlines()]
    (summary,) = [one["test_summary"] for one in messages if one["type"] == "test_summary"]
    assert summary["status"] == "pass"
    return {
        message["@testrun"]: {
            one["address"]: one["change"]["after"]
            for one in message["test_plan"]["resource_changes"]
            if one["mode"] == "managed"
        }
        for message in messages
        if message["type"] == "test_plan" and "resource_changes" in message["test_plan"]
    }


def digests(digest: str) -> str:
    """One digest for all images, as Terraform writes it."""
    return "{ " + ", ".join(f'{image} = "{digest}"' for image in ("gateway", "pipelines", "mlflow")) + " }"


@dataclass(frozen=True)
class Platform:
    """Both roots, applied, and the AWS that they stand in."""

    bootstrap: Terraform
    main: Terraform
    apprunner: ControlPlane
    endpoint: str
    certificate: str

    def settle(self, compute: str, secrets_version: int = 1) -> None:
        """Settings over production's own, as somebody would edit its main.tf."""
        (self.main.folder / "settings_override.tf").write_text(
            f"""
            module "platform" {{
              {TLS.format(certificate=self.certificate)}
              compute         = "{compute}"
              models_live     = true
              secrets_version = {secrets_version}
              protect_data    = false
            }}
            """
        )

    def variables(self, digest: str) -> list[str]:
        """One digest for all images."""
        return ["-input=false", f"-var=image_digests={digests(digest)}"]

    def client(self, service: str, role: str | None = None, **options: Any) -> Any:
        """A client of the account itself, or with what a role may do."""
        keys = {"aws_access_key_id": "account", "aws_secret_access_key": "account"}
        if role is not None:
            arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
            given = self.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
            keys = {
                "aws_access_key_id": given["AccessKeyId"],
                "aws_secret_access_key": given["SecretAccessKey"],
                "aws_session_token": given["SessionToken"],
            }
        config = Config(retries={"max_attempts": 1})
        return boto3.client(service, region_name=REGION, endpoint_url=self.endpoint, config=config, **keys, **options)

    def policy(self, role: str, name: str) -> list[dict[str, Any]]:
        """The statements of a role's inline policy as it was applied."""
        found = self.client("iam").get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
        return list(found)

    def enforce(self, on: bool) -> None:
        """From now on moto asks every caller's policies, or nobody's."""
        answer = requests.post(f"{self.endpoint}/moto-api/reset-auth", data="0" if on else "inf", timeout=60)
        assert answer.status_code == 200


@pytest.fixture(scope="session")
def quick_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The AWS client's program, or one that does the same sooner."""
    with quick_aws_client(tmp_path_factory.mktemp("aws")) as program:
        yield program


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """moto's server, as a process."""
    port = free_port()
    program = Path(__file__).with_name("moto_server.py")
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(program), "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, process, 90)  # a dead endpoint costs terraform half a minute
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(120)


@pytest.fixture(scope="session")
def platform(moto_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Bootstrap and production on App Runner, the state of the latter in the bucket of the former."""
    with serve(REGION) as (apprunner_endpoint, apprunner):
        environment = {
            "AWS_ENDPOINT_URL": moto_endpoint,
            "AWS_ENDPOINT_URL_APPRUNNER": apprunner_endpoint,
            "AWS_ACCESS_KEY_ID": "account",
            "AWS_SECRET_ACCESS_KEY": "account",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            # what Terraform starts the jobs of modules/setup with
            "PYTHON": sys.executable,
        }
        tree = Terraform.copy(tmp_path_factory.mktemp("platform"), environment)
        bootstrap, main = tree.root("bootstrap"), tree.root("environments/production")
        # the provider watches such rules for most of a minute, and all else waits; plans hold them
        rules = 'resource "aws_s3_bucket_lifecycle_configuration" "state" {\n  for_each = {}\n}\n'
        (bootstrap.folder / "state_override.tf").write_text(rules)
        bootstrap.init()
        repository = ("-var=github_repository=acme@11/fraud@22", "-var=protect_data=false")
        bootstrap.run("apply", "-auto-approve", "-input=false", *repository)
        (main.folder / "backend.hcl").write_text(bootstrap.output()["backends"]["production"])
        session = boto3.Session("account", "account", region_name=REGION)
        certificate = session.client("acm", endpoint_url=moto_endpoint).request_certificate(
            DomainName="mlflow.example.com"
        )
        made = Platform(bootstrap, main, apprunner, moto_endpoint, certificate["CertificateArn"])
        made.settle("apprunner")
        without_tls(made, f"{NAME}-terraform-{ACCOUNT}-{REGION}")
        main.init("-backend-config=backend.hcl", "-backend-config=use_path_style=true")
        main.run("apply", "-auto-approve", *made.variables(FIRST_DIGEST))
        yield made


def without_tls(platform: Platform, bucket: str) -> str:
    """Take a policy away that refuses plain HTTP, and return it: moto speaks nothing else, and it obeys the policy."""
    s3 = platform.client("s3")
    policy: str = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_bucket_policy(Bucket=bucket)
    return policy
