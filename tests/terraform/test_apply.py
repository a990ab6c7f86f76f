"""What stands in AWS after an apply: nothing left to do, roles that can what they must alone, an exchange, nothing."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.iam.access_control import IAMPolicy, PermissionResult

from tests.terraform.conftest import FIRST_DIGEST, REGION, SECOND_DIGEST, Platform, without_tls

pytestmark = pytest.mark.slow

BUCKET = f"fraud-detection-123456789012-{REGION}"
MOTO_FORGETS = {
    "aws_db_parameter_group": {"parameter"},
    "aws_ecs_service": {"availability_zone_rebalancing", "health_check_grace_period_seconds"},
    "aws_vpc_security_group_egress_rule": {"description"},
    "aws_vpc_security_group_ingress_rule": {"description"},
}
"""What moto takes and does not give back, so that Terraform wants to set it again."""


def refused(operation: Any, **arguments: Any) -> bool:
    try:
        operation(**arguments)
    except ClientError as error:
        # moto words it in XML whatever the service's protocol is, so that the code is lost on the way
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == 403)
    return False


def unknown(value: Any) -> bool:
    """Whether a plan's `after_unknown` says so anywhere inside."""
    if isinstance(value, dict | list):
        return any(unknown(one) for one in (value.values() if isinstance(value, dict) else value))
    return value is True


def changed(change: dict[str, Any]) -> set[str]:
    """Attributes that a plan would change; what is only known afterwards counts too."""
    before, after = change["before"] or {}, change["after"] or {}
    names = {name for name in set(before) | set(after) if before.get(name) != after.get(name)}
    return names | {name for name, value in change["after_unknown"].items() if unknown(value)}


def test_a_second_plan_is_empty(platform: Platform) -> None:
    platform.main.run("plan", "-out=second.bin", *platform.variables(FIRST_DIGEST))
    planned = json.loads(platform.main.run("show", "-json", "second.bin"))
    left: dict[str, set[str]] = {}
    for resource in planned["resource_changes"]:
        if resource["change"]["actions"] not in (["no-op"], ["read"]):
            assert resource["change"]["actions"] == ["update"], resource["address"]
            forgotten = MOTO_FORGETS.get(resource["type"], set())
            left[resource["address"]] = changed(resource["change"]) - forgotten
    assert {address: names for address, names in left.items() if names} == {}


def test_the_state_is_in_the_bootstraps_bucket_and_holds_no_password(platform: Platform) -> None:
    bucket = f"fraud-detection-terraform-123456789012-{REGION}"
    state = platform.client("s3").get_object(Bucket=bucket, Key="platform.tfstate")["Body"].read().decode()
    secret = platform.client("secretsmanager").get_secret_value(SecretId="fraud-detection/database/gateway")
    value = json.loads(secret["SecretString"])
    assert len(value["password"]) == 48
    assert f"gateway:{value['password']}@" in value["url"]
    assert value["password"] not in state
    assert "fraud-detection/database/gateway" in state


def test_the_service_is_what_clients_of_the_seed_know(platform: Platform) -> None:
    (service,) = platform.apprunner.services
    assert service["ServiceName"] == "fraud-detection-api"
    image = service["SourceConfiguration"]["ImageRepository"]
    assert image["ImageIdentifier"] == f"123456789012.dkr.ecr.{REGION}.amazonaws.com/fraud-detection-api@{FIRST_DIGEST}"
    assert image["ImageConfiguration"]["Port"] == "8000"
    assert service["InstanceConfiguration"]["Cpu"] == "512"
    assert service["InstanceConfiguration"]["Memory"] == "1024"
    assert service["HealthCheckConfiguration"]["Path"] == "/health"
    settings = image["ImageConfiguration"]
    assert set(settings["RuntimeEnvironmentSecrets"]) == {
        "FRAUD_BOOTSTRAP_KEY",
        "FRAUD_DATABASE_URL",
        "MLFLOW_TRACKING_PASSWORD",
    }
    assert settings["RuntimeEnvironmentVariables"]["FRAUD_RELEASES_URI"] == f"s3://{BUCKET}/releases"


def test_alarms_searches_and_schedules_are_there(platform: Platform) -> None:
    alarms = platform.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert len(alarms) == 14
    assert all(alarm["AlarmActions"] for alarm in alarms)
    schedules = platform.client("scheduler").list_schedules()["Schedules"]
    assert {one["Name"] for one in schedules} >= {"fraud-detection-retrain", "fraud-detection-monitor"}
    searches = platform.client("logs").describe_query_definitions()["queryDefinitions"]
    assert {one["name"].removeprefix("fraud-detection/") for one in searches} >= {
        "errors",
        "warnings",
        "slower than 100 ms",
    }
    groups = platform.client("logs").describe_log_groups()["logGroups"]
    assert {group["retentionInDays"] for group in groups} == {30}


def test_the_gateway_reads_models_and_only_the_pipelines_write_them(platform: Platform) -> None:
    without_tls(platform, BUCKET)
    release = {"Bucket": BUCKET, "Key": "releases/Production.json"}
    gateway = platform.client("s3", "fraud-detection-gateway")
    pipelines = platform.client("s3", "fraud-detection-pipelines")
    mlflow = platform.client("s3", "fraud-detection-mlflow")
    platform.enforce(True)
    try:
        pipelines.put_object(**release, Body=b"{}")
        assert gateway.get_object(**release)["Body"].read() == b"{}"
        assert refused(gateway.put_object, **release, Body=b"mine")
        assert refused(gateway.delete_object, **release)
        assert refused(gateway.put_object, Bucket=BUCKET, Key="data/transactions.parquet", Body=b"mine")
        assert refused(mlflow.put_object, **release, Body=b"mine")
        mlflow.put_object(Bucket=BUCKET, Key="artifacts/1/model", Body=b"a model")
        assert refused(pipelines.get_object, Bucket=BUCKET, Key="artifacts/1/model")
        assert gateway.get_object(**release)["Body"].read() == b"{}"
    finally:
        platform.enforce(False)


def test_github_logs_in_to_the_registry_and_reaches_nothing_else(platform: Platform) -> None:
    services = ("ecr", "s3", "secretsmanager", "iam", "rds", "ec2", "ecs")
    clients = {service: platform.client(service, "GitHubActionsRole") for service in services}
    registry = {"repositoryName": "fraud-detection-api"}
    platform.enforce(True)
    try:
        assert clients["ecr"].get_authorization_token()["authorizationData"]
        assert refused(clients["ecr"].delete_repository, **registry, force=True)
        assert refused(clients["ecr"].put_lifecycle_policy, **registry, lifecyclePolicyText=" " * 100)
        assert refused(clients["s3"].get_object, Bucket=BUCKET, Key="releases/Production.json")
        assert refused(clients["secretsmanager"].get_secret_value, SecretId="fraud-detection/bootstrap-key")
        assert refused(clients["iam"].create_user, UserName="me")
        assert refused(clients["rds"].describe_db_instances)
        assert refused(clients["ec2"].describe_vpcs)
        assert refused(clients["ecs"].run_task, cluster="fraud-detection", taskDefinition="fraud-detection-retrain")
    finally:
        platform.enforce(False)


PUSH = (
    "BatchCheckLayerAvailability",
    "InitiateLayerUpload",
    "UploadLayerPart",
    "CompleteLayerUpload",
    "PutImage",
)


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        *((f"ecr:{action}", "ecr:eu-west-3:123456789012:repository/fraud-detection-api", True) for action in PUSH),
        ("ecr:PutImage", "ecr:eu-west-3:123456789012:repository/another", False),
        ("ecr:DeleteRepository", "ecr:eu-west-3:123456789012:repository/fraud-detection-api", False),
        ("apprunner:UpdateService", "apprunner:eu-west-3:123456789012:service/fraud-detection-api/1", True),
        ("apprunner:StartDeployment", "apprunner:eu-west-3:123456789012:service/fraud-detection-api/1", True),
        ("apprunner:UpdateService", "apprunner:eu-west-3:123456789012:service/another/1", False),
        ("apprunner:DeleteService", "apprunner:eu-west-3:123456789012:service/fraud-detection-api/1", False),
        ("ecs:UpdateService", "ecs:eu-west-3:123456789012:service/fraud-detection/fraud-detection-api", True),
        ("ecs:UpdateService", "ecs:eu-west-3:123456789012:service/fraud-detection/fraud-detection-mlflow", False),
        ("ecs:RegisterTaskDefinition", "ecs:eu-west-3:123456789012:task-definition/fraud-detection-api:2", False),
    ],
)
def test_github_pushes_its_images_and_deploys_the_gateway_alone(
    platform: Platform, action: str, resource: str, allowed: bool
) -> None:
    """moto enforces by resource in S3 alone and has no App Runner: its evaluator reads the policy that was applied."""
    policy = platform.client("iam").get_role_policy(RoleName="GitHubActionsRole", PolicyName="deploy")
    result = IAMPolicy(json.dumps(policy["PolicyDocument"])).is_action_permitted(action, f"arn:aws:{resource}")
    assert (result is PermissionResult.PERMITTED) is allowed


def test_github_hands_over_two_roles_alone(platform: Platform) -> None:
    policy = platform.client("iam").get_role_policy(RoleName="GitHubActionsRole", PolicyName="deploy")
    (passing,) = [one for one in policy["PolicyDocument"]["Statement"] if "iam:PassRole" in one["Action"]]
    assert sorted(arn.rpartition("/")[2] for arn in passing["Resource"]) == [
        "fraud-detection-gateway",
        "fraud-detection-gateway-access",
    ]


def test_another_digest_is_an_exchange_in_place(platform: Platform) -> None:
    (before,) = platform.apprunner.services
    arn, calls = before["ServiceArn"], len(platform.apprunner.calls)
    platform.main.run("apply", "-auto-approve", *platform.variables(SECOND_DIGEST))
    (after,) = platform.apprunner.services
    assert after["ServiceArn"] == arn
    image = after["SourceConfiguration"]["ImageRepository"]["ImageIdentifier"]
    assert image.endswith(f"@{SECOND_DIGEST}")
    assert platform.apprunner.calls[calls:].count("UpdateService") == 1
    assert "DeleteService" not in platform.apprunner.calls
    assert platform.main.output()["gateway_image"].endswith(f"@{SECOND_DIGEST}")


def test_destroy_leaves_nothing(platform: Platform) -> None:
    """The last test: conftest.py sees to that in any order."""
    platform.main.run("destroy", "-auto-approve", *platform.variables(SECOND_DIGEST))
    assert "values" not in json.loads(platform.main.run("show", "-json"))
    assert platform.apprunner.alive == []
    for bucket in platform.client("s3").list_buckets()["Buckets"]:
        assert bucket["Name"] != BUCKET
    assert platform.client("rds").describe_db_instances()["DBInstances"] == []
    assert platform.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    roles = {role["RoleName"] for role in platform.client("iam").list_roles()["Roles"]}
    assert {name for name in roles if name.startswith("fraud-detection-")} == set()
