"""What stands in AWS after an apply: nothing left to do, roles that can what they must alone, an exchange, nothing."""

import json
import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.iam.access_control import IAMPolicy, PermissionResult

from tests.terraform.conftest import ACCOUNT, FIRST_DIGEST, NAME, REGION, SECOND_DIGEST, Platform, without_tls
from tests.terraform.pages import commands, paste
from tests.terraform.terraform_cli import REPOSITORY

pytestmark = pytest.mark.slow

BUCKET = f"{NAME}-{ACCOUNT}-{REGION}"
MOTO_FORGETS = {
    "aws_db_parameter_group": {"parameter"},
    "aws_ecs_service": {
        "alarms",
        "availability_zone_rebalancing",
        "enable_ecs_managed_tags",
        "health_check_grace_period_seconds",
        "propagate_tags",
    },
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


def left_to_do(platform: Platform, digest: str) -> dict[str, set[str]]:
    """What a further plan would change, but for what moto forgets."""
    left: dict[str, set[str]] = {}
    for address, resource in platform.main.plan(*platform.variables(digest)).items():
        assert resource["change"]["actions"] == ["update"], address
        left[address] = changed(resource["change"]) - MOTO_FORGETS.get(resource["type"], set())
    return {address: names for address, names in left.items() if names}


def permits(statements: list[dict[str, Any]], action: str, resource: str) -> bool:
    """moto enforces by resource in S3 alone and has no App Runner: its evaluator reads the policy that was applied."""
    policy = IAMPolicy(json.dumps({"Version": "2012-10-17", "Statement": statements}))
    return policy.is_action_permitted(action, f"arn:aws:{resource}") is PermissionResult.PERMITTED


def test_a_second_plan_is_empty(platform: Platform) -> None:
    assert left_to_do(platform, FIRST_DIGEST) == {}


def test_databases_and_users_were_made_before_mlflow_started(platform: Platform) -> None:
    ecs = platform.client("ecs")
    tasks = ecs.describe_tasks(cluster=NAME, tasks=ecs.list_tasks(cluster=NAME)["taskArns"])["tasks"]
    families = [task["taskDefinitionArn"].rpartition("/")[2].partition(":")[0] for task in tasks]
    assert sorted(family for family in families if family in (f"{NAME}-database", f"{NAME}-mlflow-setup")) == [
        f"{NAME}-database",
        f"{NAME}-mlflow-setup",
    ]
    networks = ({one["name"]: one["value"] for one in task["attachments"][0]["details"]} for task in tasks)
    subnets = platform.client("ec2").describe_subnets(Filters=[{"Name": "tag:Name", "Values": [f"{NAME}-private-*"]}])
    assert {network["subnetId"] for network in networks} <= {one["SubnetId"] for one in subnets["Subnets"]}


def test_the_state_is_in_the_bootstraps_bucket_and_holds_no_password(platform: Platform) -> None:
    bucket = f"{NAME}-terraform-{ACCOUNT}-{REGION}"
    state = platform.client("s3").get_object(Bucket=bucket, Key="platform.tfstate")["Body"].read().decode()
    secret = platform.client("secretsmanager").get_secret_value(SecretId=f"{NAME}/database/gateway")
    value = json.loads(secret["SecretString"])
    assert len(value["password"]) == 48
    assert f"gateway:{value['password']}@" in value["url"]
    assert value["url"].endswith("/decisions?sslmode=verify-full&sslrootcert=/app/rds-ca.pem")
    assert value["password"] not in state
    assert f"{NAME}/database/gateway" in state


def test_the_pipelines_reach_two_databases(platform: Platform) -> None:
    secret = platform.client("secretsmanager").get_secret_value(SecretId=f"{NAME}/database/pipelines")
    value = json.loads(secret["SecretString"])
    assert "pipelines:" in value["decisions_url"]
    assert [value[name].rpartition("/")[0].count("/") for name in ("url", "decisions_url")] == [4, 4]
    assert ["/study?" in value["url"], "/decisions?" in value["decisions_url"]] == [True, True]


def test_the_service_is_what_clients_of_the_seed_know(platform: Platform) -> None:
    (service,) = platform.apprunner.services
    assert service["ServiceName"] == f"{NAME}-api"
    image = service["SourceConfiguration"]["ImageRepository"]
    assert image["ImageIdentifier"] == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{NAME}-api@{FIRST_DIGEST}"
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
    assert f":secret:{NAME}/mlflow-gateway-" in settings["RuntimeEnvironmentSecrets"]["MLFLOW_TRACKING_PASSWORD"]


def test_alarms_searches_and_schedules_are_there(platform: Platform) -> None:
    alarms = platform.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert len(alarms) == 16
    assert all(alarm["AlarmActions"] for alarm in alarms)
    schedules = platform.client("scheduler").list_schedules()["Schedules"]
    assert {one["Name"] for one in schedules} >= {f"{NAME}-retrain", f"{NAME}-monitor"}
    searches = platform.client("logs").describe_query_definitions()["queryDefinitions"]
    assert {one["name"].removeprefix(f"{NAME}/") for one in searches} >= {"errors", "warnings", "slower than 100 ms"}
    groups = platform.client("logs").describe_log_groups()["logGroups"]
    assert {group["retentionInDays"] for group in groups} == {30}


def test_the_gateway_reads_models_and_only_the_pipelines_write_them(platform: Platform) -> None:
    policy = without_tls(platform, BUCKET)
    release = {"Bucket": BUCKET, "Key": "releases/Production.json"}
    gateway = platform.client("s3", f"{NAME}-gateway")
    pipelines = platform.client("s3", f"{NAME}-pipelines")
    mlflow = platform.client("s3", f"{NAME}-mlflow")
    operator = platform.client("s3", f"{NAME}-operator")
    platform.enforce(True)
    try:
        pipelines.put_object(**release, Body=b"{}")
        assert gateway.get_object(**release)["Body"].read() == b"{}"
        assert refused(gateway.put_object, **release, Body=b"mine")
        assert refused(gateway.delete_object, **release)
        assert refused(gateway.put_object, Bucket=BUCKET, Key="data/transactions.parquet", Body=b"mine")
        assert refused(mlflow.put_object, **release, Body=b"mine")
        assert refused(operator.put_object, **release, Body=b"mine")
        operator.put_object(Bucket=BUCKET, Key="exports/decisions.parquet", Body=b"old decisions")
        mlflow.put_object(Bucket=BUCKET, Key="artifacts/1/model", Body=b"a model")
        assert refused(pipelines.get_object, Bucket=BUCKET, Key="artifacts/1/model")
        assert gateway.get_object(**release)["Body"].read() == b"{}"
    finally:
        platform.enforce(False)
        platform.client("s3").put_bucket_policy(Bucket=BUCKET, Policy=policy)


def test_github_logs_in_to_the_registry_and_reaches_nothing_else(platform: Platform) -> None:
    services = ("ecr", "s3", "secretsmanager", "iam", "rds", "ec2", "ecs")
    clients = {service: platform.client(service, "GitHubActionsRole") for service in services}
    registry = {"repositoryName": f"{NAME}-api"}
    platform.enforce(True)
    try:
        assert clients["ecr"].get_authorization_token()["authorizationData"]
        assert refused(clients["ecr"].delete_repository, **registry, force=True)
        assert refused(clients["ecr"].put_lifecycle_policy, **registry, lifecyclePolicyText=" " * 100)
        assert refused(clients["s3"].get_object, Bucket=BUCKET, Key="releases/Production.json")
        assert refused(clients["secretsmanager"].get_secret_value, SecretId=f"{NAME}/bootstrap-key")
        assert refused(clients["iam"].create_user, UserName="me")
        assert refused(clients["rds"].describe_db_instances)
        assert refused(clients["ec2"].describe_vpcs)
        assert refused(clients["ecs"].run_task, cluster=NAME, taskDefinition=f"{NAME}-retrain")
    finally:
        platform.enforce(False)


PUSH = (
    "BatchCheckLayerAvailability",
    "InitiateLayerUpload",
    "UploadLayerPart",
    "CompleteLayerUpload",
    "PutImage",
)
HERE = f"{REGION}:{ACCOUNT}"
STATE = f"s3:::{NAME}-terraform-{ACCOUNT}-{REGION}"
SECRET = f"secretsmanager:{HERE}:secret"


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        *((f"ecr:{action}", f"ecr:{HERE}:repository/fraud-detection-api", True) for action in PUSH),
        ("ecr:PutImage", f"ecr:{HERE}:repository/another", False),
        ("ecr:DeleteRepository", f"ecr:{HERE}:repository/fraud-detection-api", False),
        ("apprunner:UpdateService", f"apprunner:{HERE}:service/fraud-detection-api/1", True),
        ("apprunner:UpdateService", f"apprunner:{HERE}:service/fraud-staging-api/1", True),
        ("apprunner:UpdateService", f"apprunner:{HERE}:service/another/1", False),
        ("apprunner:DeleteService", f"apprunner:{HERE}:service/fraud-detection-api/1", False),
        ("ecs:UpdateService", f"ecs:{HERE}:service/fraud-detection/fraud-detection-api", True),
        ("ecs:UpdateService", f"ecs:{HERE}:service/fraud-detection/fraud-detection-mlflow", False),
        ("ecs:RegisterTaskDefinition", f"ecs:{HERE}:task-definition/fraud-detection-api:2", False),
    ],
)
def test_github_pushes_its_images_and_deploys_the_gateway_alone(
    platform: Platform, action: str, resource: str, allowed: bool
) -> None:
    assert permits(platform.policy("GitHubActionsRole", "deploy"), action, resource) is allowed


def test_github_hands_over_the_gateways_roles_alone(platform: Platform) -> None:
    (passing,) = [one for one in platform.policy("GitHubActionsRole", "deploy") if "iam:PassRole" in one["Action"]]
    assert sorted(arn.rpartition("/")[2] for arn in passing["Resource"]) == [
        "fraud-detection-gateway",
        "fraud-detection-gateway-execution",
        "fraud-staging-gateway",
        "fraud-staging-gateway-execution",
    ]


@pytest.mark.parametrize(
    ("role", "context"),
    [
        ("GitHubActionsRole", "ref:refs/heads/main"),
        ("GitHubActions-production-apply", "environment:production"),
        ("GitHubActions-production-jobs", "environment:production-models"),
        ("GitHubActions-production-plan", "ref:refs/heads/main"),
        ("GitHubActions-staging-review", "pull_request"),
    ],
)
def test_each_role_trusts_one_context_of_one_repository(platform: Platform, role: str, context: str) -> None:
    """In both forms of GitHub's subject: with ids since July 2026, without before."""
    document = platform.client("iam").get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    (statement,) = document["Statement"]
    issuer = "token.actions.githubusercontent.com"
    assert statement["Condition"] == {
        "StringEquals": {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:sub": [f"repo:acme@11/fraud@22:{context}", f"repo:acme/fraud:{context}"],
        }
    }


@pytest.mark.parametrize(
    ("role", "policy", "action", "resource", "allowed"),
    [
        # Slack's integration stands in other regions than the platform
        ("production-apply", "apply", "chatbot:CreateSlackChannelConfiguration", "chatbot::123456789012:*", True),
        ("production-apply", "apply", "s3:DeleteObject", "s3:::fraud-detection-x/y", True),
        ("production-apply", "apply", "s3:GetObject", "s3:::fraud-staging-terraform-x/y", False),
        ("production-apply", "apply", "iam:PassRole", "iam::123456789012:role/fraud-detection-mlflow", True),
        ("production-apply", "apply", "iam:PassRole", "iam::123456789012:role/fraud-staging-mlflow", False),
        ("production-apply", "apply", "iam:UpdateAssumeRolePolicy", "iam::123456789012:role/GitHubActionsRole", False),
        ("production-apply", "apply", "iam:CreatePolicyVersion", "iam::123456789012:policy/fraud-detection-b", False),
        ("production-review", "review", "s3:GetObject", f"{STATE}/platform.tfstate", True),
        ("production-review", "review", "s3:PutObject", f"{STATE}/platform.tfstate", False),
        ("production-review", "review", "secretsmanager:GetSecretValue", f"{SECRET}:{NAME}/x", False),
        ("production-plan", "plan", "s3:PutObject", f"{STATE}/plans/1.bin", True),
        ("production-plan", "plan", "s3:PutObject", f"{STATE}/platform.tfstate", False),
        ("production-plan", "plan", "s3:GetObject", f"s3:::{BUCKET}/data/transactions.parquet", False),
        ("production-plan", "plan", "secretsmanager:GetSecretValue", f"{SECRET}:fraud-staging/x", False),
        ("production-jobs", "jobs", "ecs:RunTask", f"ecs:{HERE}:task-definition/{NAME}-retrain:3", True),
        ("production-jobs", "jobs", "ecs:RunTask", f"ecs:{HERE}:task-definition/{NAME}-database:3", False),
        ("production-jobs", "jobs", "ecs:RunTask", f"ecs:{HERE}:task-definition/fraud-staging-retrain:3", False),
    ],
)  # fmt: skip
def test_githubs_other_roles_reach_their_environment_alone(
    platform: Platform, role: str, policy: str, action: str, resource: str, allowed: bool
) -> None:
    assert permits(platform.policy(f"GitHubActions-{role}", policy), action, resource) is allowed


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("secretsmanager:GetSecretValue", f"{SECRET}:{NAME}/database/gateway-1", True),
        ("secretsmanager:GetSecretValue", f"{SECRET}:rds!db-1", True),
        ("secretsmanager:GetSecretValue", f"{SECRET}:fraud-staging/database/gateway-1", False),
        ("secretsmanager:CreateSecret", f"{SECRET}:{NAME}/database/gateway-1", False),
        ("s3:PutObject", f"s3:::{BUCKET}/releases/Production.json", True),
        ("s3:PutObject", f"{STATE}/platform.tfstate", False),
        ("s3:PutObject", f"s3:::fraud-staging-{ACCOUNT}-{REGION}/releases/Production.json", False),
        ("ecs:RunTask", f"ecs:{HERE}:task-definition/{NAME}-retrain:3", True),
        ("ecs:RunTask", f"ecs:{HERE}:task-definition/fraud-staging-retrain:3", False),
        ("iam:PassRole", f"iam::{ACCOUNT}:role/fraud-staging-gateway", False),
        ("iam:CreateRole", f"iam::{ACCOUNT}:role/{NAME}-mine", False),
    ],
)
def test_no_role_of_an_environment_can_ever_reach_another(
    platform: Platform, action: str, resource: str, allowed: bool
) -> None:
    iam = platform.client("iam")
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{NAME}-boundary"
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    assert permits(document["Statement"], action, resource) is allowed


def test_the_apply_role_hands_roles_to_the_platforms_services_alone(platform: Platform) -> None:
    (passing,) = [
        one for one in platform.policy("GitHubActions-production-apply", "apply") if "iam:PassRole" in one["Action"]
    ]
    services = passing["Condition"]["StringEquals"]["iam:PassedToService"]
    used = {
        statement["Principal"]["Service"]
        for role in platform.client("iam").list_roles()["Roles"]
        if role["RoleName"].startswith(f"{NAME}-")
        for statement in role["AssumeRolePolicyDocument"]["Statement"]
    }
    assert used <= set(services)
    assert "ec2.amazonaws.com" not in services


def test_the_apply_role_makes_no_role_without_the_boundary(platform: Platform) -> None:
    grants = platform.policy("GitHubActions-production-apply", "apply")
    making = {"CreateRole", "PutRolePolicy", "AttachRolePolicy", "DetachRolePolicy", "PutRolePermissionsBoundary"}
    wanted = {"StringEquals": {"iam:PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/{NAME}-boundary"}}
    for name in making:
        (grant,) = [one for one in grants if f"iam:{name}" in one["Action"]]
        assert grant["Resource"] == f"arn:aws:iam::{ACCOUNT}:role/{NAME}-*"
        assert grant["Condition"] == wanted
    every = {action for one in grants for action in one["Action"]}
    assert not any("*" in action for action in every if action.startswith("iam:") and action[4:7] not in ("Get", "Lis"))
    assert every.isdisjoint({"iam:DeleteRolePermissionsBoundary", "iam:CreatePolicyVersion", "iam:CreateUser"})


def test_mlflows_administrator_is_known_to_mlflow_and_its_setup_alone(platform: Platform) -> None:
    iam = platform.client("iam")
    readers = {
        role["RoleName"].removeprefix(f"{NAME}-")
        for role in iam.list_roles()["Roles"]
        if role["RoleName"].startswith(f"{NAME}-")
        for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
        if f"{NAME}/mlflow-admin" in json.dumps(platform.policy(role["RoleName"], name))
    }
    assert readers == {"administrator-execution", "mlflow-execution", "mlflow-setup-execution"}


def test_what_runs_bears_the_tag_that_the_budget_counts_by(platform: Platform) -> None:
    ecs = platform.client("ecs")
    (service,) = ecs.describe_services(cluster=NAME, services=[f"{NAME}-mlflow"], include=["TAGS"])["services"]
    job = ecs.describe_task_definition(taskDefinition=f"{NAME}-retrain", include=["TAGS"])
    for tags in (service["tags"], job["tags"]):
        assert {"key": "project", "value": NAME} in tags


def test_what_the_apply_role_does_outside_the_region_has_no_condition_on_it(platform: Platform) -> None:
    statements = {one["Sid"]: one for one in platform.policy("GitHubActions-production-apply", "apply")}
    assert "Condition" not in statements["ServicesWithoutRegion"]
    assert set(statements["ServicesWithoutRegion"]["Action"]) >= {"budgets:*", "chatbot:*", "route53:*"}
    assert statements["Services"]["Condition"] == {"StringEquals": {"aws:RequestedRegion": REGION}}


def test_endpoints_serve_this_accounts_processes_and_buckets_alone(platform: Platform) -> None:
    endpoints = platform.client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    policies = {
        one["ServiceName"].removeprefix(f"com.amazonaws.{REGION}."): json.loads(one["PolicyDocument"])["Statement"]
        for one in endpoints
    }
    assert policies.keys() == {"s3", "ecr.api", "ecr.dkr", "logs", "secretsmanager"}
    buckets = [arn for statement in policies["s3"] for arn in (statement["Resource"],) if isinstance(arn, str)]
    assert buckets == [f"arn:aws:s3:::prod-{REGION}-starport-layer-bucket/*"]
    own = policies["s3"][0]
    assert set(own["Resource"]) == {f"arn:aws:s3:::{NAME}-*", f"arn:aws:s3:::{NAME}-*/*"}
    assert own["Condition"] == {"StringEquals": {"aws:ResourceAccount": ACCOUNT}}
    for service in ("logs", "secretsmanager"):
        (statement,) = policies[service]
        assert statement["Condition"]["StringEquals"] == {
            "aws:PrincipalAccount": ACCOUNT,
            "aws:ResourceAccount": ACCOUNT,
        }
    for service in ("ecr.api", "ecr.dkr"):
        (statement,) = policies[service]
        assert statement["Condition"]["StringEquals"] == {"aws:PrincipalAccount": ACCOUNT}


def test_the_keys_policy_names_log_groups_as_cloudwatch_documents_it(platform: Platform) -> None:
    kms = platform.client("kms")
    key = kms.describe_key(KeyId=f"alias/{NAME}")["KeyMetadata"]["KeyId"]
    policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    statements = {one["Sid"]: one for one in policy["Statement"]}
    assert statements["LogGroups"]["Principal"] == {"Service": f"logs.{REGION}.amazonaws.com"}
    assert statements["LogGroups"]["Condition"] == {
        "ArnLike": {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:*"}
    }


def test_an_operators_command_runs_and_shows_its_lines(platform: Platform) -> None:
    command = [sys.executable, str(REPOSITORY / "deploy" / "run_job.py"), "keys", "list"]
    done = subprocess.run(command, env=platform.main.environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"{NAME}-gateway-operate ran\n"), done.stderr


def test_another_digest_is_an_exchange_in_place(platform: Platform) -> None:
    planned = platform.main.plan("-refresh=false", *platform.variables(SECOND_DIGEST))
    service = planned["module.platform.module.gateway_apprunner[0].aws_apprunner_service.gateway"]
    assert service["change"]["actions"] == ["update"]
    assert "module.platform.module.mlflow.aws_ecs_service.mlflow" in planned
    assert not any(
        "aws_db_instance" in address for address in planned if planned[address]["change"]["actions"] != ["update"]
    )


def test_new_passwords_another_compute_and_another_digest_are_one_apply(platform: Platform) -> None:
    """Rotation is a higher secrets_version: values, database, MLflow's users and servers follow in their order."""
    secrets, ecs = platform.client("secretsmanager"), platform.client("ecs")
    names = [f"{NAME}/database/mlflow", f"{NAME}/mlflow-admin", f"{NAME}/bootstrap-key"]
    before = {name: secrets.get_secret_value(SecretId=name)["SecretString"] for name in names}
    jobs = [f"{NAME}-database", f"{NAME}-mlflow-setup"]
    ran = {job: ecs.list_tasks(cluster=NAME, family=job)["taskArns"] for job in jobs}
    platform.settle("ecs_fargate", secrets_version=2)
    # with a look at AWS, as everybody applies: without one the provider trips over the schedules' tags
    platform.main.run("apply", "-auto-approve", *platform.variables(SECOND_DIGEST))
    assert all(secrets.get_secret_value(SecretId=name)["SecretString"] != value for name, value in before.items())
    for job in jobs:
        (again,) = set(ecs.list_tasks(cluster=NAME, family=job)["taskArns"]) - set(ran[job])
        assert again
    services = ecs.describe_services(cluster=NAME, services=[f"{NAME}-mlflow", f"{NAME}-api"])["services"]
    for service in services:
        described = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
        (container,) = described["containerDefinitions"]
        assert container["image"].endswith(f"@{SECOND_DIGEST}")
        assert {"name": "SECRETS_VERSION", "value": "2"} in container["environment"]
    assert platform.apprunner.services == []
    output = platform.main.output()
    assert output["private"] is False
    assert output["image_digests"]["gateway"] == SECOND_DIGEST
    assert output["load_balancer"]["record"] == f"fraud.example.com CNAME {output['load_balancer']['dns_name']}"
    assert left_to_do(platform, SECOND_DIGEST) == {}


def test_destroy_leaves_nothing(platform: Platform, quick_client: str) -> None:
    """The last test: conftest.py sees to that in any order. It is the page's tear-down, word by word."""
    secrets, logs, ecs = (platform.client(service) for service in ("secretsmanager", "logs", "ecs"))
    secrets.create_secret(Name=f"{NAME}/keys/till-1", SecretString="a key of an operator's")
    for group in (f"/aws/apprunner/{NAME}-api/1/service", f"/aws/ecs/containerinsights/{NAME}/performance"):
        logs.create_log_group(logGroupName=group)
    environment = platform.main.environment | {
        "TF_CLI_ARGS_destroy": "-auto-approve -refresh=false",
        "name": NAME,
        "root": str(platform.main.folder),
    }
    paste(commands("aws-restore.md", "2. Terraform, then", "3. After the last"), quick_client, environment)
    assert "values" not in json.loads(platform.main.run("show", "-json"))
    assert ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"] == []
    assert secrets.list_secrets()["SecretList"] == []
    assert logs.describe_log_groups()["logGroups"] == []
    assert platform.apprunner.alive == []
    for bucket in platform.client("s3").list_buckets()["Buckets"]:
        assert bucket["Name"] != BUCKET
    assert platform.client("rds").describe_db_instances()["DBInstances"] == []
    assert platform.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    roles = {role["RoleName"] for role in platform.client("iam").list_roles()["Roles"]}
    assert {name for name in roles if name.startswith(f"{NAME}-")} == set()
