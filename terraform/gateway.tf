# The gateway, on one of two computes with the same inputs and outputs.
locals {
  releases_uri = "s3://${aws_s3_bucket.platform.bucket}/releases"

  gateway_environment = {
    AWS_DEFAULT_REGION       = var.region
    DO_NOT_TRACK             = "1"
    FRAUD_EMF_NAMESPACE      = local.namespace
    FRAUD_HOST               = "0.0.0.0"
    FRAUD_HSTS_SECONDS       = "31536000"
    FRAUD_PORT               = "8000"
    FRAUD_RELEASES_URI       = local.releases_uri
    FRAUD_STATE_DIR          = "/state"
    MLFLOW_DISABLE_TELEMETRY = "true"
    MLFLOW_TRACKING_URI      = local.mlflow_url
    MLFLOW_TRACKING_USERNAME = "admin"
  }
  gateway_secrets = {
    FRAUD_BOOTSTRAP_KEY      = aws_secretsmanager_secret.single["bootstrap-key"].arn
    FRAUD_DATABASE_URL       = "${aws_secretsmanager_secret.database["gateway"].arn}:url::"
    MLFLOW_TRACKING_PASSWORD = aws_secretsmanager_secret.single["mlflow-admin"].arn
  }
  gateway_secret_arns = [
    aws_secretsmanager_secret.single["bootstrap-key"].arn, aws_secretsmanager_secret.database["gateway"].arn,
    aws_secretsmanager_secret.single["mlflow-admin"].arn,
  ]

  gateway_inputs = {
    name        = local.service
    image       = local.images["gateway"]
    size        = var.gateway
    environment = local.gateway_environment
    secrets     = local.gateway_secrets
    roles       = { instance = aws_iam_role.process["gateway"].arn, access = aws_iam_role.process["gateway-access"].arn }
    key_arn     = aws_kms_key.platform.arn
    network = {
      subnet_ids        = [for subnet in aws_subnet.private : subnet.id]
      security_group_id = aws_security_group.member["gateway"].id
    }
  }

  gateway = one(concat(module.gateway_apprunner[*], module.gateway_ecs[*]))
}

module "gateway_apprunner" {
  source     = "./gateway_apprunner"
  count      = local.apprunner ? 1 : 0
  gateway    = local.gateway_inputs
  depends_on = [aws_iam_role_policy.starting, aws_iam_role_policy.instance, aws_iam_role_policy.bucket_access]
}

module "gateway_ecs" {
  source  = "./gateway_ecs"
  count   = local.apprunner ? 0 : 1
  gateway = local.gateway_inputs
  entry = {
    vpc_id          = aws_vpc.platform.id
    subnet_ids      = [for subnet in aws_subnet.public : subnet.id]
    certificate_arn = var.gateway_tls.certificate_arn
    hostname        = var.gateway_tls.hostname
    protect         = var.protect_data
  }
  cluster    = { id = aws_ecs_cluster.platform.id, name = aws_ecs_cluster.platform.name }
  log_group  = aws_cloudwatch_log_group.ours["gateway"].name
  region     = var.region
  depends_on = [aws_iam_role_policy.starting, aws_iam_role_policy.bucket_access]
}
