"""The whole platform, applied once to moto's AWS and a stub of App Runner."""

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
from tests.terraform.terraform_cli import Terraform

REGION = "eu-west-3"
FIRST_DIGEST, SECOND_DIGEST = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
_UNPROTECTED = ("-var=protect_data=false",)


@dataclass(frozen=True)
class Platform:
    """Both roots, applied, and the AWS that they stand in."""

    bootstrap: Terraform
    main: Terraform
    apprunner: ControlPlane
    endpoint: str
    certificate: str

    def variables(self, digest: str) -> list[str]:
        """The main root's, with one digest for all images."""
        digests = ", ".join(f'{image} = "{digest}"' for image in ("gateway", "pipelines", "mlflow"))
        return [
            "-input=false",
            "-var=compute=apprunner",
            f"-var=image_digests={{ {digests} }}",
            f'-var=mlflow_tls={{ certificate_arn = "{self.certificate}", hostname = "mlflow.example.com" }}',
            *_UNPROTECTED,
        ]

    def client(self, service: str, role: str | None = None, **options: Any) -> Any:
        """A client of the account itself, or with what a role may do."""
        keys = {"aws_access_key_id": "account", "aws_secret_access_key": "account"}
        if role is not None:
            arn = f"arn:aws:iam::123456789012:role/{role}"
            given = self.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
            keys = {
                "aws_access_key_id": given["AccessKeyId"],
                "aws_secret_access_key": given["SecretAccessKey"],
                "aws_session_token": given["SessionToken"],
            }
        config = Config(retries={"max_attempts": 1})
        return boto3.client(service, region_name=REGION, endpoint_url=self.endpoint, config=config, **keys, **options)

    def enforce(self, on: bool) -> None:
        """From now on moto asks every caller's policies, or nobody's."""
        answer = requests.post(f"{self.endpoint}/moto-api/reset-auth", data="0" if on else "inf", timeout=10)
        assert answer.status_code == 200


_CHANGING = ("test_another_digest_is_an_exchange_in_place", "test_destroy_leaves_nothing")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put last the tests that change what was applied, whatever the order of the others."""
    items.sort(key=lambda item: _CHANGING.index(item.name) + 1 if item.name in _CHANGING else 0)


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
        # a dead endpoint costs terraform half a minute
        wait_for_port(port, process, 90)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def platform(moto_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Bootstrap and platform, the state of the latter in the bucket of the former."""
    with serve(REGION) as (apprunner_endpoint, apprunner):
        environment = {
            "AWS_ENDPOINT_URL": moto_endpoint,
            "AWS_ENDPOINT_URL_APPRUNNER": apprunner_endpoint,
            "AWS_ACCESS_KEY_ID": "account",
            "AWS_SECRET_ACCESS_KEY": "account",
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }
        main = Terraform.copy(tmp_path_factory.mktemp("platform"), environment)
        bootstrap = main.root("bootstrap")
        bootstrap.init()
        bootstrap.run("apply", "-auto-approve", "-input=false", "-var=github_repository=acme/fraud", *_UNPROTECTED)
        (main.folder / "backend.hcl").write_text(bootstrap.output()["backend"])
        session = boto3.Session("account", "account", region_name=REGION)
        certificate = session.client("acm", endpoint_url=moto_endpoint).request_certificate(
            DomainName="mlflow.example.com"
        )
        made = Platform(bootstrap, main, apprunner, moto_endpoint, certificate["CertificateArn"])
        without_tls(made, f"fraud-detection-terraform-123456789012-{REGION}")
        main.init("-backend-config=backend.hcl", "-backend-config=use_path_style=true")
        main.run("apply", "-auto-approve", *made.variables(FIRST_DIGEST))
        yield made


def without_tls(platform: Platform, bucket: str) -> None:
    """Take the policy away that refuses plain HTTP: moto speaks nothing else, and it obeys the policy."""
    platform.client("s3").delete_bucket_policy(Bucket=bucket)
