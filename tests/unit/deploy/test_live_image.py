"""Which image answers, and another one in its place, on App Runner's stub and on moto's ECS."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

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


@pytest.mark.parametrize("words", [["put", "latest"], ["wait"], ["show", "latest"], ["show", OLD]])
def test_put_and_wait_want_a_digest_and_show_wants_nothing(service: ControlPlane, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        live_image.main(words)
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
        service = live_image.Ecs("fraud-detection", "fraud-detection-api")
        assert service.image().endswith(NEW)
        service.put(OLD)
        # moto leaves the service's deployments as they are
        described = client.describe_services(cluster="fraud-detection", services=["fraud-detection-api"])
        assert described["services"][0]["taskDefinition"].endswith("fraud-detection-api:1")
        assert live_image.main(["put", f"sha256:{'3' * 64}"]) == 1
        assert "no revision" in capsys.readouterr().err


def test_no_service_is_said(apprunner: ControlPlane, capsys: pytest.CaptureFixture[str]) -> None:
    with mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1.*"]}}}):
        boto3.client("ecs").create_cluster(clusterName="fraud-detection")
        assert live_image.main(["show"]) == 1
    assert "there is no service fraud-detection-api" in capsys.readouterr().err


def test_before_the_first_deployment_nothing_runs(apprunner: ControlPlane, capsys: pytest.CaptureFixture[str]) -> None:
    with mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1.*"]}}}):
        boto3.client("ecs").create_cluster(clusterName="fraud-detection")
        assert live_image.main(["show", "--allow-missing"]) == 0
        assert live_image.main(["wait", NEW]) == 1
    assert capsys.readouterr().out == "\n"


def test_apprunner_is_waited_for(service: ControlPlane, capsys: pytest.CaptureFixture[str]) -> None:
    assert live_image.main(["wait", OLD]) == 0
    assert live_image.main(["wait", NEW]) == 1
    assert "App Runner runs another image" in capsys.readouterr().err


class Fargate:
    """ECS with its load balancer, in the middle of a deployment."""

    def __init__(self) -> None:
        self.deployments = [self.deployment("new", "IN_PROGRESS", 2), self.deployment("old", "COMPLETED", 1)]
        self.tasks = {"10.0.0.1": "old", "10.0.0.2": "new"}
        self.targets = {"10.0.0.1": "healthy", "10.0.0.2": "initial"}

    @staticmethod
    def deployment(definition: str, state: str, day: int) -> dict[str, Any]:
        return {"taskDefinition": definition, "rolloutState": state, "createdAt": datetime(2026, 1, day, tzinfo=UTC)}

    def describe_services(self, **_asked: Any) -> dict[str, Any]:
        balancers = [{"targetGroupArn": "arn:target-group"}]
        service = {"status": "ACTIVE", "deployments": self.deployments, "loadBalancers": balancers}
        return {"services": [{**service, "taskDefinition": self.deployments[0]["taskDefinition"]}]}

    def describe_task_definition(self, taskDefinition: str) -> dict[str, Any]:
        digest = {"old": OLD, "new": NEW}[taskDefinition]
        return {"taskDefinition": {"containerDefinitions": [{"image": f"{REPOSITORY}@{digest}"}]}}

    def list_tasks(self, **_asked: Any) -> dict[str, Any]:
        return {"taskArns": list(self.tasks)}

    def describe_tasks(self, **asked: Any) -> dict[str, Any]:
        found = []
        for address in asked["tasks"]:
            details = [{"name": "privateIPv4Address", "value": address}]
            found.append({"taskDefinitionArn": self.tasks[address], "attachments": [{"details": details}]})
        return {"tasks": found}

    def describe_target_health(self, **_asked: Any) -> dict[str, Any]:
        return {
            "TargetHealthDescriptions": [
                {"Target": {"Id": address}, "TargetHealth": {"State": state}} for address, state in self.targets.items()
            ]
        }


@pytest.fixture
def fargate(monkeypatch: pytest.MonkeyPatch) -> Fargate:
    made = Fargate()
    monkeypatch.setattr(boto3, "client", lambda _service: made)
    return made


def test_in_the_middle_of_a_deployment_the_completed_image_is_the_one_to_go_back_to(fargate: Fargate) -> None:
    service = live_image.Ecs("fraud-detection", "fraud-detection-api")
    assert service.image().endswith(OLD)
    assert service.steady(NEW) is False


def test_old_tasks_behind_the_load_balancer_are_not_steady_yet(fargate: Fargate) -> None:
    service = live_image.Ecs("fraud-detection", "fraud-detection-api")
    fargate.deployments = [Fargate.deployment("new", "COMPLETED", 2)]
    for state in ("healthy", "draining"):
        fargate.targets = {"10.0.0.1": state, "10.0.0.2": "healthy"}
        assert service.steady(NEW) is False
    fargate.targets = {"10.0.0.2": "healthy"}
    assert service.steady(NEW) is True


def test_a_deployment_that_went_back_is_said(fargate: Fargate) -> None:
    service = live_image.Ecs("fraud-detection", "fraud-detection-api")
    fargate.deployments = [Fargate.deployment("old", "COMPLETED", 2)]
    with pytest.raises(live_image.ImageError, match=f"ECS runs .*@{OLD}, not {NEW}"):
        service.steady(NEW)
    fargate.deployments = [Fargate.deployment("old", "IN_PROGRESS", 3), Fargate.deployment("new", "FAILED", 2)]
    with pytest.raises(live_image.ImageError, match="went back"):
        service.steady(NEW)


def test_the_failure_of_another_image_does_not_end_the_wait_for_the_former(fargate: Fargate) -> None:
    service = live_image.Ecs("fraud-detection", "fraud-detection-api")
    fargate.deployments = [Fargate.deployment("old", "IN_PROGRESS", 3), Fargate.deployment("new", "FAILED", 2)]
    assert service.steady(OLD) is False
    fargate.deployments, fargate.targets = [Fargate.deployment("old", "COMPLETED", 3)], {"10.0.0.1": "healthy"}
    assert service.steady(OLD) is True
