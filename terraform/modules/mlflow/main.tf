# The MLflow server: private, behind an internal load balancer with TLS, with users of its own.
locals {
  name     = var.context.name
  hostname = var.tls.hostname
  # by the private network at 443; through the tunnel of docs/aws-operate.md at 8443
  addresses = [local.hostname, "${local.hostname}:8443"]
  environment = {
    AWS_DEFAULT_REGION           = var.context.region
    HOME                         = "/tmp"
    MLFLOW_ARTIFACTS_DESTINATION = "s3://${var.bucket}/artifacts"
    # presigned addresses of this region's host: the network's S3 endpoint serves no other
    MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE = "virtual"
    MLFLOW_DISABLE_TELEMETRY            = "true"
    MLFLOW_SERVER_ALLOWED_HOSTS         = join(",", local.addresses)
    MLFLOW_SERVER_CORS_ALLOWED_ORIGINS  = join(",", [for address in local.addresses : "https://${address}"])
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION  = "false"
    # new passwords are a new revision, so that the server starts with them
    SECRETS_VERSION = tostring(var.secrets_version)
  }
  secrets = {
    AUTH_DATABASE_URI              = "${var.database_secret_arns["mlflow_users"]}:url::"
    MLFLOW_AUTH_ADMIN_PASSWORD     = var.application_secret_arns["mlflow-admin"]
    MLFLOW_BACKEND_STORE_URI       = "${var.database_secret_arns["mlflow"]}:url::"
    MLFLOW_FLASK_SERVER_SECRET_KEY = var.application_secret_arns["mlflow-session"]
  }
}

resource "aws_cloudwatch_log_group" "mlflow" {
  #checkov:skip=CKV_AWS_338:30 days as asked for; decisions are kept in the database, not in logs
  name              = "/ecs/${local.name}/mlflow"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

module "execution" {
  source         = "../execution_role"
  context        = var.context
  name           = "mlflow"
  repository_arn = var.image.repository_arn
  log_group_arn  = aws_cloudwatch_log_group.mlflow.arn
  secret_arns = [
    var.database_secret_arns["mlflow"], var.database_secret_arns["mlflow_users"],
    var.application_secret_arns["mlflow-admin"], var.application_secret_arns["mlflow-session"],
  ]
  key_arn = var.key_arn
}

module "role" {
  source   = "../role"
  context  = var.context
  name     = "mlflow"
  service  = "ecs-tasks.amazonaws.com"
  policies = { bucket = var.bucket_policy }
}

resource "aws_ecs_task_definition" "mlflow" {
  family                   = "${local.name}-mlflow"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.size.cpu
  memory                   = var.size.memory
  task_role_arn            = module.role.arn
  execution_role_arn       = module.execution.arn
  volume {
    name = "tmp"
  }
  container_definitions = jsonencode([{
    name                   = "mlflow"
    image                  = var.image.uri
    essential              = true
    readonlyRootFilesystem = true
    portMappings           = [{ containerPort = 5000, hostPort = 5000, protocol = "tcp" }]
    mountPoints            = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]
    environment            = [for name, value in local.environment : { name = name, value = value }]
    secrets                = [for name, value in local.secrets : { name = name, valueFrom = value }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.mlflow.name
        awslogs-region        = var.context.region
        awslogs-stream-prefix = "mlflow"
      }
    }
  }])
}

resource "aws_ecs_service" "mlflow" {
  name                              = "${local.name}-mlflow"
  cluster                           = var.cluster_arn
  task_definition                   = aws_ecs_task_definition.mlflow.arn
  desired_count                     = 1
  launch_type                       = "FARGATE"
  availability_zone_rebalancing     = "ENABLED"
  health_check_grace_period_seconds = 120
  enable_ecs_managed_tags           = true
  propagate_tags                    = "SERVICE"
  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.security_group_ids["mlflow"]]
    assign_public_ip = false
  }
  load_balancer {
    target_group_arn = aws_lb_target_group.mlflow.arn
    container_name   = "mlflow"
    container_port   = 5000
  }
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  # the first task finds its databases, tables and users, or the circuit breaker would stop the service for good
  depends_on = [aws_lb_listener.mlflow, var.secrets_version]
}
