"""The platform as it is planned, for each compute and with every option, by a mocked provider."""

import json
import re
from typing import Any

import pytest

from pipelines.settings import PipelineSettings
from serving.settings import GatewaySettings
from serving.telemetry.emf import EmfLines
from tests.terraform.conftest import Plan
from tests.terraform.terraform_cli import DATABASE_OWNERS

pytestmark = pytest.mark.slow

RUNS = ("apprunner", "ecs_fargate", "options", "apprunner_private")
ALARMS = {
    "cpu",
    "database-connections",
    "database-cpu",
    "database-storage",
    "drift",
    "errors",
    "job-failed",
    "latency",
    "mlflow",
    "monitoring-missed",
    "no-healthy-instance",
    "no-model",
    "queue",
    "retraining-missed",
    "spool",
    "undelivered",
}


def of_type(plan: Plan, kind: str) -> list[dict[str, Any]]:
    return [values for address, values in plan.items() if re.search(rf"(^|\.){kind}\.", address)]


def one(plan: Plan, end: str) -> dict[str, Any]:
    (address,) = [address for address in plan if address == end or address.endswith(f".{end}")]
    return plan[address]


def container(definition: dict[str, Any]) -> dict[str, Any]:
    (found,) = json.loads(definition["container_definitions"])
    return dict(found)


def variables(definition: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(definition)["environment"]}


def secrets(definition: dict[str, Any]) -> set[str]:
    return {entry["name"] for entry in container(definition)["secrets"]}


@pytest.fixture(params=["apprunner", "ecs_fargate"])
def plan(request: pytest.FixtureRequest, mocked: dict[str, Plan]) -> Plan:
    return mocked[request.param]


@pytest.fixture
def apprunner(mocked: dict[str, Plan]) -> Plan:
    return mocked["apprunner"]


@pytest.fixture
def ecs(mocked: dict[str, Plan]) -> Plan:
    return mocked["ecs_fargate"]


@pytest.fixture
def options(mocked: dict[str, Plan]) -> Plan:
    return mocked["options"]


def test_the_bucket_is_private_encrypted_and_versioned(plan: Plan) -> None:
    block = one(plan, "module.storage.aws_s3_bucket_public_access_block.platform")
    assert all(block[name] for name in block if name.startswith(("block_public", "ignore_public", "restrict_public")))
    rule = one(plan, "module.storage.aws_s3_bucket_server_side_encryption_configuration.platform")["rule"][0]
    assert rule["apply_server_side_encryption_by_default"][0]["kms_master_key_id"].endswith(":key/mock")
    versioning = one(plan, "module.storage.aws_s3_bucket_versioning.platform")["versioning_configuration"]
    assert versioning[0]["status"] == "Enabled"
    assert one(plan, "aws_kms_key.platform")["enable_key_rotation"] is True
    rules = {rule["id"]: rule for rule in one(plan, "aws_s3_bucket_lifecycle_configuration.platform")["rule"]}
    assert rules["old-versions"]["noncurrent_version_expiration"][0]["noncurrent_days"] == 90
    assert rules["artifacts-of-old-runs"]["filter"][0]["prefix"] == "artifacts/"


def test_the_database_is_encrypted_private_protected_and_in_two_zones(plan: Plan) -> None:
    database = one(plan, "aws_db_instance.platform")
    wanted = ("storage_encrypted", "manage_master_user_password", "deletion_protection", "multi_az")
    assert [database[name] for name in wanted] == [True] * 4
    assert database["publicly_accessible"] is False


def test_log_groups_are_kept_30_days_and_encrypted(plan: Plan) -> None:
    groups = of_type(plan, "aws_cloudwatch_log_group")
    assert {(group["retention_in_days"], group["kms_key_id"].endswith(":key/mock")) for group in groups} == {(30, True)}
    assert len(groups) >= 6


def test_mlflow_is_private_and_speaks_tls(plan: Plan) -> None:
    assert one(plan, "module.mlflow.aws_lb.mlflow")["internal"] is True
    assert one(plan, "module.mlflow.aws_lb_listener.mlflow")["protocol"] == "HTTPS"
    assert not any("mlflow_people" in address for address in plan)


def test_every_role_lies_within_the_boundary(plan: Plan) -> None:
    roles = of_type(plan, "aws_iam_role")
    assert {role["permissions_boundary"] for role in roles} == {
        "arn:aws:iam::123456789012:policy/fraud-detection-boundary"
    }
    names = {role["name"].removeprefix("fraud-detection-") for role in roles}
    assert names >= {"gateway", "gateway-execution", "mlflow", "mlflow-execution", "pipelines", "operator", "scheduler"}


def test_every_alarm_is_there_and_goes_to_the_topic(plan: Plan) -> None:
    alarms = of_type(plan, "aws_cloudwatch_metric_alarm")
    assert {alarm["alarm_name"].removeprefix("fraud-detection-") for alarm in alarms} == ALARMS
    assert all(alarm["alarm_actions"] == ["arn:aws:sns:eu-west-3:123456789012:mock"] for alarm in alarms)
    assert all(alarm["alarm_actions"] == alarm["ok_actions"] for alarm in alarms)


def test_limits_are_those_that_were_asked_for(plan: Plan) -> None:
    errors, latency = (one(plan, f"aws_cloudwatch_metric_alarm.{name}") for name in ("errors", "latency"))
    assert (errors["threshold"], errors["evaluation_periods"]) == (5, 2)
    assert (latency["extended_statistic"], latency["threshold"]) == ("p99", 500)
    cpu = one(plan, 'aws_cloudwatch_metric_alarm.simple["cpu"]')
    assert (cpu["threshold"], cpu["evaluation_periods"] * cpu["period"]) == (80, 300)


def figures(alarm: dict[str, Any]) -> set[tuple[str, str, tuple[tuple[str, str], ...]]]:
    """Namespace, name and dimensions of every metric that an alarm looks at."""
    looked_at = [metric for query in alarm["metric_query"] or [] for metric in query["metric"]] or [alarm]
    return {(one["namespace"], one["metric_name"], tuple((one["dimensions"] or {}).items())) for one in looked_at}


def test_alarms_look_at_figures_that_the_gateway_and_the_jobs_write(
    plan: Plan, ecs: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    namespace = variables(one(ecs, "aws_ecs_task_definition.gateway"))["FRAUD_EMF_NAMESPACE"]
    caplog.set_level("INFO", "serving.telemetry.emf")
    lines = EmfLines(namespace, GatewaySettings().model_name)
    lines.add(1.0, False, [1, 0, 0])
    lines.flush()
    lines.write_present({"ModelLoaded": 1, "StoreWaiting": 0, "SpoolBytes": 0})
    written = set()
    for record in caplog.records:
        content = record.fields  # type: ignore[attr-defined]
        for directive in content["_aws"]["CloudWatchMetrics"]:
            for metric in directive["Metrics"]:
                written.add((directive["Namespace"], metric["Name"], (("Model", content["Model"]),)))
    for counter in of_type(plan, "aws_cloudwatch_log_metric_filter"):
        (count,) = counter["metric_transformation"]
        written.add((count["namespace"], count["name"], ()))
    looked_at = set().union(*(figures(alarm) for alarm in of_type(plan, "aws_cloudwatch_metric_alarm")))
    own = {figure for figure in looked_at if not figure[0].startswith("AWS/")}
    assert len(own) == 10
    assert own <= written


def test_the_database_rings_before_it_is_full(plan: Plan) -> None:
    wanted = {
        "database-cpu": ("CPUUtilization", "GreaterThanThreshold", 80),
        "database-connections": ("DatabaseConnections", "GreaterThanThreshold", 300),
        "database-storage": ("FreeStorageSpace", "LessThanThreshold", 5_000_000_000),
    }
    for name, figure in wanted.items():
        alarm = one(plan, f'aws_cloudwatch_metric_alarm.simple["{name}"]')
        assert alarm["namespace"] == "AWS/RDS"
        assert alarm["dimensions"] == {"DBInstanceIdentifier": "fraud-detection"}
        assert (alarm["metric_name"], alarm["comparison_operator"], alarm["threshold"]) == figure


def test_silence_rings_once_a_model_is_live(mocked: dict[str, Plan]) -> None:
    live = mocked["ecs_fargate"]
    for name in ("retraining-missed", "monitoring-missed"):
        alarm = one(live, f'aws_cloudwatch_metric_alarm.simple["{name}"]')
        assert alarm["treat_missing_data"] == "breaching"
        # as far back as CloudWatch looks
        assert alarm["period"] * alarm["evaluation_periods"] <= 7 * 86400
    assert {job["state"] for job in of_type(live, "aws_scheduler_schedule")} == {"ENABLED"}
    before = mocked["options"]
    assert not any("missed" in address for address in before)
    assert {job["state"] for job in of_type(before, "aws_scheduler_schedule")} == {"DISABLED"}


def matches(pattern: str, job: str, exit_code: int | None) -> bool:
    """Whether CloudWatch's filter counts a job that ended so, None: without an exit code, as when it was killed."""
    code = "$.detail.containers[0].exitCode"
    text = pattern.strip("{} ").replace(f"{code} NOT EXISTS", str(exit_code is None))
    # a comparison with a field that is not there does not hold
    text = re.sub(rf"{re.escape(code)} (=|!=|>) (\d+)", r"(code is not None and code \1 \2)", text)
    text = text.replace("$.detail.group", "group").replace("&&", "and").replace("||", "or")
    text = re.sub(r"(?<![!=])=(?!=)", "==", text)
    return bool(eval(text, {"__builtins__": {}, "code": exit_code, "group": f"family:fraud-detection-{job}"}))


@pytest.mark.parametrize(
    ("job", "exit_code", "counted"),
    [
        # a first training counts as a retraining
        ("main", 0, {"RetrainingDone"}),
        ("retrain", 0, {"RetrainingDone"}),
        ("retrain", 1, {"JobFailed"}),
        ("retrain", 3, {"JobFailed"}),
        ("rollback", 0, set()),
        ("rollback", 2, {"JobFailed"}),
        ("monitor", 0, {"MonitoringDone"}),
        ("monitor", 4, {"MonitoringDone", "DriftBreached"}),
        # a traceback, as of every program
        ("monitor", 1, {"JobFailed"}),
        ("monitor", 2, {"JobFailed"}),
        ("monitor", 137, {"JobFailed"}),
        ("retrain", None, {"JobFailed"}),
        ("monitor", None, {"JobFailed"}),
    ],
)
def test_how_a_job_ended_is_counted_as_what_it_means(
    plan: Plan, job: str, exit_code: int | None, counted: set[str]
) -> None:
    patterns = {
        one["metric_transformation"][0]["name"]: one["pattern"]
        for one in of_type(plan, "aws_cloudwatch_log_metric_filter")
    }
    assert {name for name, pattern in patterns.items() if matches(pattern, job, exit_code)} == counted


def test_ends_of_the_jobs_that_nobody_watches_are_written_down(plan: Plan) -> None:
    rule = json.loads(one(plan, "aws_cloudwatch_event_rule.jobs_stopped")["event_pattern"])
    groups = {group.removeprefix("family:fraud-detection-") for group in rule["detail"]["group"]}
    # operators see how their own commands end
    assert groups == {"main", "retrain", "monitor", "rollback"}


def test_no_healthy_instance_is_quiet_while_app_runner_idles(apprunner: Plan, ecs: Plan) -> None:
    idle = one(apprunner, "aws_cloudwatch_metric_alarm.no_healthy_instance")
    (expression,) = [query["expression"] for query in idle["metric_query"] if query["return_data"]]
    assert expression == "IF(FILL(requests, 0) > 0, FILL(healthy, 0), 1)"
    assert idle["treat_missing_data"] == "notBreaching"
    always = one(ecs, "aws_cloudwatch_metric_alarm.no_healthy_instance")
    (query,) = always["metric_query"]
    assert query["metric"][0]["metric_name"] == "HealthyHostCount"
    assert always["treat_missing_data"] == "breaching"


def test_searches_and_charts_are_there(plan: Plan) -> None:
    searches = of_type(plan, "aws_cloudwatch_query_definition")
    assert {search["name"].removeprefix("fraud-detection/") for search in searches} == {
        "errors",
        "warnings",
        "slower than 100 ms",
        "models gone live",
        "declined",
    }
    widgets = json.loads(one(plan, "aws_cloudwatch_dashboard.platform")["dashboard_body"])["widgets"]
    metrics = json.dumps(widgets)
    assert len(widgets) == 10
    assert all(name in metrics for name in ("psi_max", "ks_max", "DatabaseConnections", "Requests", "ModelLoaded"))


def test_schedules_have_a_dead_letter_queue_and_pass_the_tags_on(plan: Plan) -> None:
    jobs = [one(plan, f'aws_scheduler_schedule.job["{job}"]') for job in ("retrain", "monitor")]
    for job in jobs:
        (target,) = job["target"]
        assert target["dead_letter_config"][0]["arn"] == "arn:aws:sqs:eu-west-3:123456789012:mock"
        assert target["ecs_parameters"][0]["propagate_tags"] == "TASK_DEFINITION"
    for service in of_type(plan, "aws_ecs_service"):
        assert service["propagate_tags"] == "SERVICE"


def test_slack_and_mail_where_they_are_wanted(apprunner: Plan, ecs: Plan) -> None:
    for plan, slack in ((apprunner, 1), (ecs, 0)):
        assert len(of_type(plan, "aws_chatbot_slack_channel_configuration")) == slack
        assert len(of_type(plan, "aws_sns_topic_subscription")) == 1


def test_the_budget_counts_the_account_until_its_tag_is_active(plan: Plan, options: Plan) -> None:
    (budget,) = of_type(plan, "aws_budgets_budget")
    assert (budget["limit_amount"], budget["cost_filter"]) == ("400", [])
    (tagged,) = of_type(options, "aws_budgets_budget")
    assert tagged["cost_filter"] == [{"name": "TagKeyValue", "values": ["user:project$bank-risk"]}]


def test_on_app_runner_the_service_is_the_seeds(apprunner: Plan) -> None:
    service = one(apprunner, "aws_apprunner_service.gateway")
    assert service["service_name"] == "fraud-detection-api"
    (instance,) = service["instance_configuration"]
    assert (instance["cpu"], instance["memory"]) == ("512", "1024")
    assert service["health_check_configuration"][0]["path"] == "/health"
    (network,) = service["network_configuration"]
    assert network["egress_configuration"][0]["egress_type"] == "VPC"
    assert network["ingress_configuration"][0]["is_publicly_accessible"] is True
    scaling = one(apprunner, "aws_apprunner_auto_scaling_configuration_version.gateway")
    assert (scaling["min_size"], scaling["max_size"]) == (1, 3)
    image = service["source_configuration"][0]["image_repository"][0]
    assert (
        image["image_identifier"]
        == f"123456789012.dkr.ecr.eu-west-3.amazonaws.com/fraud-detection-api@sha256:{'1' * 64}"
    )
    settings = image["image_configuration"][0]
    assert settings["runtime_environment_secrets"].keys() == {
        "FRAUD_BOOTSTRAP_KEY",
        "FRAUD_DATABASE_URL",
        "MLFLOW_TRACKING_PASSWORD",
    }
    assert settings["runtime_environment_secrets"].keys().isdisjoint(settings["runtime_environment_variables"])
    # tracing yielded nothing: the gateway sends no traces
    assert of_type(apprunner, "aws_apprunner_observability_configuration") == []
    assert len([address for address in apprunner if "log_retention" in address]) == 2
    assert of_type(apprunner, "aws_internet_gateway") == of_type(apprunner, "aws_ecs_task_definition.gateway") == []


def test_on_ecs_the_gateway_goes_back_when_it_is_not_well(ecs: Plan) -> None:
    service = one(ecs, "aws_ecs_service.gateway")
    assert service["name"] == "fraud-detection-api"
    assert service["deployment_circuit_breaker"] == [{"enable": True, "rollback": True}]
    assert service["alarms"] == [
        {"alarm_names": ["fraud-detection-errors", "fraud-detection-latency"], "enable": True, "rollback": True}
    ]
    assert service["network_configuration"][0]["assign_public_ip"] is False
    scaling = one(ecs, "aws_appautoscaling_target.gateway")
    assert (scaling["min_capacity"], scaling["max_capacity"]) == (1, 3)


def test_on_ecs_the_entrance_speaks_tls_alone(ecs: Plan) -> None:
    listener = one(ecs, "module.gateway_ecs[0].aws_lb_listener.https")
    assert (listener["protocol"], listener["port"]) == ("HTTPS", 443)
    assert listener["ssl_policy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    assert len(of_type(ecs, "aws_lb_listener")) == 2  # and MLflow's
    clients = [address for address in ecs if "ingress_rule.clients" in address]
    assert [ecs[address]["cidr_ipv4"] for address in clients] == ["0.0.0.0/0"]
    assert len(of_type(ecs, "aws_subnet")) == 4


def test_every_container_has_a_read_only_root_and_an_image_by_digest(mocked: dict[str, Plan]) -> None:
    for run in RUNS:
        for definition in of_type(mocked[run], "aws_ecs_task_definition"):
            found = container(definition)
            assert re.search(r"@sha256:[0-9a-f]{64}$", found["image"]), found["name"]
            # ECS Exec, on which the tunnel stands, writes to the root
            assert found["readonlyRootFilesystem"] is not definition["family"].endswith("-tunnel")


def test_the_gateway_and_the_jobs_are_users_of_their_own_in_mlflow(plan: Plan, ecs: Plan) -> None:
    gateway = one(ecs, "aws_ecs_task_definition.gateway")
    assert variables(gateway)["MLFLOW_TRACKING_USERNAME"] == "gateway"
    retrain = one(plan, 'module.task["retrain"].aws_ecs_task_definition.job')
    assert variables(retrain)["MLFLOW_TRACKING_USERNAME"] == "promotion"
    setup = one(plan, "module.mlflow_task.aws_ecs_task_definition.job")
    assert secrets(setup) >= {"USER_ADMIN", "USER_GATEWAY", "USER_PIPELINES", "USER_PROMOTION"}
    holders = [
        definition["family"]
        for definition in of_type(plan, "aws_ecs_task_definition")
        if "mlflow-admin" in definition["container_definitions"] or "ADMIN" in definition["container_definitions"]
    ]
    assert sorted(holders) == ["fraud-detection-mlflow", "fraud-detection-mlflow-setup"]


def test_what_moves_production_alone_has_the_key_to_sign_with(plan: Plan) -> None:
    jobs = of_type(plan, "aws_ecs_task_definition")
    signing = {job["family"].removeprefix("fraud-detection-") for job in jobs if "FRAUD_SIGNING_KEY" in secrets(job)}
    assert signing == {"main", "retrain", "rollback", "operate"}
    users = {job["family"]: variables(job).get("MLFLOW_TRACKING_USERNAME") for job in jobs}
    assert {family.removeprefix("fraud-detection-") for family, user in users.items() if user == "promotion"} == signing
    assert (users["fraud-detection-monitor"], users["fraud-detection-access"]) == ("pipelines", "admin")


def test_the_masters_password_is_the_database_jobs_alone(plan: Plan) -> None:
    holders = [
        definition["family"]
        for definition in of_type(plan, "aws_ecs_task_definition")
        if "secret:master" in definition["container_definitions"]
    ]
    assert holders == ["fraud-detection-database"]


def test_settings_are_ones_of_the_gateway_and_the_pipelines(plan: Plan, ecs: Plan, options: Plan) -> None:
    gateway = {f"FRAUD_{name.upper()}" for name in GatewaySettings.model_fields}
    pipelines = {f"FRAUD_{name.upper()}" for name in PipelineSettings.model_fields}
    for definition, known in (
        (one(ecs, "aws_ecs_task_definition.gateway"), gateway),
        (one(options, "aws_ecs_task_definition.gateway"), gateway),
        (one(plan, 'module.gateway_task["gateway-operate"].aws_ecs_task_definition.job'), gateway),
        (one(plan, 'module.task["retrain"].aws_ecs_task_definition.job'), pipelines),
    ):
        names = set(variables(definition)) | secrets(definition)
        assert {name for name in names if name.startswith("FRAUD_")} <= known


def test_keys_are_limited_on_both_computes(apprunner: Plan, ecs: Plan) -> None:
    (source,) = one(apprunner, "aws_apprunner_service.gateway")["source_configuration"]
    on_apprunner = source["image_repository"][0]["image_configuration"][0]["runtime_environment_variables"]
    for given in (on_apprunner, variables(one(ecs, "aws_ecs_task_definition.gateway"))):
        assert given["FRAUD_RATE_LIMIT"] == "6000/minute"
        assert given["MLFLOW_TRACKING_USERNAME"] == "gateway"
    assert GatewaySettings(rate_limit="6000/minute").rate_limit


def test_the_master_user_asks_for_rds_own_certificate(plan: Plan) -> None:
    given = variables(one(plan, "module.database_task.aws_ecs_task_definition.job"))
    assert (given["PGSSLMODE"], given["PGSSLROOTCERT"]) == ("verify-full", "/app/rds-ca.pem")
    # with whom every job's command is tested
    assert json.loads(given["OWNERS"]) == DATABASE_OWNERS


def test_workers_grow_with_the_cores(ecs: Plan, options: Plan) -> None:
    assert variables(one(ecs, "aws_ecs_task_definition.gateway"))["FRAUD_WORKERS"] == "1"
    assert variables(one(options, "aws_ecs_task_definition.gateway"))["FRAUD_WORKERS"] == "4"


def test_options_reach_what_they_are_for(options: Plan) -> None:
    gateway = variables(one(options, "aws_ecs_task_definition.gateway"))
    assert gateway["FRAUD_SHADOW_SHARE"] == "0.1"
    retrain = one(options, 'module.task["retrain"].aws_ecs_task_definition.job')
    assert variables(retrain)["FRAUD_TRIALS"] == "50"
    assert (retrain["cpu"], retrain["memory"]) == ("8192", "32768")
    balancer = one(options, "module.gateway_ecs[0].aws_lb.gateway")
    assert balancer["internal"] is True
    assert balancer["access_logs"][0]["enabled"] is True
    assert of_type(options, "aws_internet_gateway") == []
    assert len(of_type(options, "aws_wafv2_web_acl_association")) == 1
    record = one(options, "module.gateway_ecs[0].aws_route53_record.gateway[0]")
    assert (record["zone_id"], record["name"]) == ("Z0123456789", "fraud.example.com")
    assert 'module.network.aws_vpc_endpoint.service["ssmmessages"]' in options
    images = {
        container(definition)["image"].split("/")[0] for definition in of_type(options, "aws_ecs_task_definition")
    }
    # another account's, but of this region: the network has no way to any other
    assert images == {"210987654321.dkr.ecr.eu-west-3.amazonaws.com"}


def test_a_private_app_runner_is_reached_through_the_network(mocked: dict[str, Plan]) -> None:
    plan = mocked["apprunner_private"]
    service = one(plan, "aws_apprunner_service.gateway")
    assert service["network_configuration"][0]["ingress_configuration"][0]["is_publicly_accessible"] is False
    assert len(of_type(plan, "aws_apprunner_vpc_ingress_connection")) == 1
    assert len(of_type(plan, "aws_wafv2_web_acl_association")) == 1
    clients = [plan[address]["cidr_ipv4"] for address in plan if "ingress_rule.clients" in address]
    assert clients == ["10.0.0.0/8"]


def test_nothing_keeps_the_default_name_under_another(options: Plan) -> None:
    """But for the repositories, whose images all environments share."""
    for address, values in options.items():
        text = json.dumps(values).replace("/fraud-detection-", "")
        assert "fraud-detection" not in text, address
