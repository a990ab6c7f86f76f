"""Which image runs, and another one in its place, on App Runner's stub and on moto's ECS."""

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from deploy import live_image
from tests.terraform.apprunner_stub import ControlPlane, serve

REPOSITORY = "123456789012.dkr.ecr.eu-west-3.amazonaws.com/fraud-detection-api"
OLD, NEW = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")


@pytest.fixture
def apprunner(monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlPlane]:
    with serve("eu-west-3") as (url, plane):
        monkeypatch.setenv("AWS_ENDPOINT_URL_APPRUNNER", url)
        yield plane


@pytest.fixture
def service(apprunner: ControlPlane) -> ControlPlane:
    image = {"ImageIdentifier": f"{REPOSITORY}@{OLD}", "ImageRepositoryType": "ECR"}
    boto3.client("apprunner").create_service(
        ServiceName="fraud-detection-api", SourceConfiguration={"ImageRepository": image}
    )
    return apprunner


def test_apprunner_shows_and_exchanges_the_digest_and_keeps_the_rest(
    service: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    assert live_image.main(["show"]) == 0
    assert live_image.main(["put", NEW]) == 0
    assert capsys.readouterr().out.split() == [OLD, NEW]
    repository = service.services[0]["SourceConfiguration"]["ImageRepository"]
    assert repository == {"ImageIdentifier": f"{REPOSITORY}@{NEW}", "ImageRepositoryType": "ECR"}


def test_what_runs_already_is_left_alone(service: ControlPlane) -> None:
    assert live_image.main(["put", OLD]) == 0
    assert "UpdateService" not in service.calls


def test_a_tag_is_no_digest(service: ControlPlane) -> None:
    with pytest.raises(SystemExit) as ended:
        live_image.main(["put", "latest"])
    assert ended.value.code == 2
    assert service.calls == ["CreateService"]


def test_ecs_goes_back_to_the_revision_of_that_digest(
    apprunner: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    with mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1.*"]}}}):
        client = boto3.client("ecs")
        client.create_cluster(clusterName="fraud-detection")
        for digest in (OLD, NEW):
            container = {"name": "gateway", "image": f"{REPOSITORY}@{digest}", "memory": 512}
            client.register_task_definition(family="fraud-detection-api", containerDefinitions=[container])
        client.create_service(
            cluster="fraud-detection", serviceName="fraud-detection-api", taskDefinition="fraud-detection-api:2"
        )
        assert live_image.main(["show"]) == 0
        assert live_image.main(["put", OLD, "--seconds", "0"]) == 0
        assert live_image.main(["show"]) == 0
        assert capsys.readouterr().out.split()[-1] == OLD
        assert live_image.main(["put", f"sha256:{'3' * 64}"]) == 1
        assert "no revision" in capsys.readouterr().err


def test_no_service_is_said(apprunner: ControlPlane, capsys: pytest.CaptureFixture[str]) -> None:
    with mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1.*"]}}}):
        boto3.client("ecs").create_cluster(clusterName="fraud-detection")
        assert live_image.main(["show"]) == 1
    assert "there is no service fraud-detection-api" in capsys.readouterr().err
