# The gateway, on one of two computes with the same inputs and outputs.
locals {
  gateway_environment = merge({
    AWS_DEFAULT_REGION  = local.context.region
    DO_NOT_TRACK        = "1"
    FRAUD_EMF_NAMESPACE = local.metrics.namespace
    FRAUD_HOST          = "0.0.0.0"
    FRAUD_HSTS_SECONDS  = "31536000"
    FRAUD_PORT          = "8000"
    # each worker counts for itself: an instance lets at most this times its workers pass
    FRAUD_RATE_LIMIT         = var.gateway.rate_limit
    FRAUD_RELEASES_URI       = local.releases_uri
    FRAUD_STATE_DIR          = "/state"
    FRAUD_WORKERS            = tostring(max(1, floor(var.gateway.cpu / 1024)))
    MLFLOW_DISABLE_TELEMETRY = "true"
    MLFLOW_TRACKING_URI      = module.mlflow.url
    MLFLOW_TRACKING_USERNAME = "gateway"
    # new passwords are a new deployment
    SECRETS_VERSION = tostring(module.setup.secrets_version)
  }, length(var.trusted_keys) > 0 ? { FRAUD_TRUSTED_KEYS = join(",", var.trusted_keys) } : {}, var.gateway.environment)
  gateway_secrets = {
    FRAUD_BOOTSTRAP_KEY      = module.database.application_secret_arns["bootstrap-key"]
    FRAUD_DATABASE_URL       = "${module.database.database_secret_arns["gateway"]}:url::"
    MLFLOW_TRACKING_PASSWORD = module.database.application_secret_arns["mlflow-gateway"]
  }
  gateway_secret_arns = [
    module.database.application_secret_arns["bootstrap-key"],
    module.database.application_secret_arns["mlflow-gateway"],
    module.database.database_secret_arns["gateway"],
  ]

  gateway_inputs = {
    name        = "${var.name}-api"
    image       = local.images["gateway"].uri
    size        = var.gateway
    environment = local.gateway_environment
    secrets     = local.gateway_secrets
    roles       = { instance = module.gateway_role.arn, execution = module.gateway_execution.arn }
    key_arn     = module.storage.key_arn
    network = {
      subnet_ids        = module.network.private_subnet_ids
      security_group_id = module.network.security_group_ids["gateway"]
    }
  }
  gateway = one(concat(module.gateway_apprunner[*], module.gateway_ecs[*]))
}

# App Runner reads secrets by the instance's role and pulls by the other; ECS does both by the latter.
data "aws_iam_policy_document" "gateway_secrets" {
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = local.gateway_secret_arns
  }
}

module "gateway_role" {
  source  = "../modules/role"
  context = local.context
  name    = "gateway"
  service = local.apprunner ? "tasks.apprunner.amazonaws.com" : "ecs-tasks.amazonaws.com"
  policies = merge(
    { bucket = data.aws_iam_policy_document.bucket_access["gateway"].json },
    local.apprunner ? { secrets = data.aws_iam_policy_document.gateway_secrets.json } : {},
  )
}

module "gateway_execution" {
  source         = "../modules/execution_role"
  context        = local.context
  name           = "gateway"
  service        = local.apprunner ? "build.apprunner.amazonaws.com" : "ecs-tasks.amazonaws.com"
  repository_arn = local.images["gateway"].repository_arn
  log_group_arn = local.apprunner ? null : join(":", [
    "arn", local.context.partition, "logs", local.context.region, local.context.account_id,
    "log-group:/ecs/${var.name}-api",
  ])
  secret_arns = local.apprunner ? [] : local.gateway_secret_arns
  key_arn     = module.storage.key_arn
}

module "firewall" {
  source                 = "../modules/firewall"
  count                  = var.gateway.firewall ? 1 : 0
  name                   = "${var.name}-api"
  requests_per_5_minutes = var.gateway.firewall_requests
}

module "access_logs" {
  source       = "../modules/access_logs"
  count        = !local.apprunner && var.gateway.access_logs ? 1 : 0
  context      = local.context
  protect_data = var.protect_data
}

module "gateway_apprunner" {
  source  = "../modules/gateway_apprunner"
  count   = local.apprunner ? 1 : 0
  gateway = local.gateway_inputs
  entrance = {
    private      = var.gateway.private
    vpc_id       = module.network.vpc_id
    endpoint_id  = module.network.apprunner_endpoint_id
    firewall     = var.gateway.firewall
    firewall_arn = one(module.firewall[*].arn)
  }
}

module "gateway_ecs" {
  source  = "../modules/gateway_ecs"
  count   = local.apprunner ? 0 : 1
  gateway = local.gateway_inputs
  entrance = {
    private            = var.gateway.private
    vpc_id             = module.network.vpc_id
    subnet_ids         = var.gateway.private ? module.network.private_subnet_ids : module.network.public_subnet_ids
    security_group_id  = module.network.security_group_ids["entrance"]
    certificate_arn    = var.gateway_tls.certificate_arn
    hostname           = var.gateway_tls.hostname
    zone_id            = var.gateway_tls.zone_id
    access_logs        = var.gateway.access_logs
    access_logs_bucket = one(module.access_logs[*].bucket)
    firewall           = var.gateway.firewall
    firewall_arn       = one(module.firewall[*].arn)
    protect            = var.protect_data
  }
  cluster         = { arn = aws_ecs_cluster.platform.arn, name = aws_ecs_cluster.platform.name }
  rollback_alarms = module.alerting.traffic_alarms
  region          = local.context.region
  log_days        = local.log_days
}
