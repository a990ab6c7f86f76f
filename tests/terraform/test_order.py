"""What waits for what, read from Terraform's own graph."""

import re

import pytest

from tests.terraform.pages import commands
from tests.terraform.terraform_cli import Graph, Terraform

pytestmark = pytest.mark.slow

PLATFORM = "module.production.module.platform"
SETUP = f"{PLATFORM}.module.setup"
DATABASE = f"{PLATFORM}.module.database"
NETWORK = f"{PLATFORM}.module.network"


@pytest.fixture(scope="module")
def graph(everything: Terraform) -> Graph:
    return everything.graph()


def test_mlflow_starts_once_databases_tables_and_users_are_there(graph: Graph) -> None:
    before = graph.before(f"{PLATFORM}.module.mlflow.aws_ecs_service.mlflow")
    assert before >= {
        f"{DATABASE}.aws_db_instance.platform",
        f"{DATABASE}.aws_secretsmanager_secret_version.application",
        f"{DATABASE}.aws_secretsmanager_secret_version.database",
        f"{SETUP}.terraform_data.databases",
        f"{SETUP}.terraform_data.mlflow",
        f"{PLATFORM}.module.mlflow.module.execution.module.role.aws_iam_role_policy.this",
        f"{PLATFORM}.module.mlflow.module.role.aws_iam_role_policy.this",
        f"{PLATFORM}.module.mlflow.aws_lb_listener.mlflow",
        f"{NETWORK}.aws_vpc_endpoint.service",
        f"{NETWORK}.aws_vpc_endpoint.s3",
    }


def test_the_setup_runs_where_it_can(graph: Graph) -> None:
    for job in ("databases", "mlflow"):
        assert graph.before(f"{SETUP}.terraform_data.{job}") >= {
            f"{PLATFORM}.aws_ecs_cluster.platform",
            f"{DATABASE}.aws_db_instance.platform",
            f"{DATABASE}.aws_secretsmanager_secret_version.database",
            f"{NETWORK}.aws_vpc_endpoint.service",
            f"{NETWORK}.aws_vpc_security_group_ingress_rule.way",
            f"{SETUP}.module.database_execution.module.role.aws_iam_role_policy.this",
        }
    before = graph.before(f"{SETUP}.terraform_data.mlflow")
    assert before >= {
        f"{SETUP}.terraform_data.databases",
        f"{DATABASE}.aws_secretsmanager_secret_version.application",
        f"{SETUP}.module.mlflow_execution.module.role.aws_iam_role_policy.this",
    }


@pytest.mark.parametrize("service", ["gateway_apprunner.aws_apprunner_service", "gateway_ecs.aws_ecs_service"])
def test_the_gateway_starts_with_its_secrets_roles_and_users(graph: Graph, service: str) -> None:
    before = graph.before(f"{PLATFORM}.module.{service}.gateway")
    assert before >= {
        f"{SETUP}.terraform_data.databases",
        f"{SETUP}.terraform_data.mlflow",
        f"{PLATFORM}.module.gateway_execution.module.role.aws_iam_role_policy.this",
        f"{PLATFORM}.module.gateway_role.aws_iam_role_policy.this",
        f"{NETWORK}.aws_vpc_endpoint.service",
    }


def test_a_deployment_on_ecs_can_go_back_on_alarms(graph: Graph) -> None:
    before = graph.before(f"{PLATFORM}.module.gateway_ecs.aws_ecs_service.gateway")
    assert before >= {
        f"{PLATFORM}.module.alerting.aws_cloudwatch_metric_alarm.errors",
        f"{PLATFORM}.module.alerting.aws_cloudwatch_metric_alarm.latency",
    }


def test_the_restore_page_names_the_database_as_terraform_does(graph: Graph) -> None:
    (address,) = re.findall(r"^address=(\S+)$", commands("aws-restore.md"), re.MULTILINE)
    assert f"module.production.{address}" == f"{DATABASE}.aws_db_instance.platform"
    assert f"module.production.{address}" in graph.before(f"{SETUP}.terraform_data.databases")
