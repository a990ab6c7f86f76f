# What operators do with the gateway's own tools: keys, purge and replay run on the gateway's image and as its database
# user. A new key is shown by no log: its job puts it into Secrets Manager.
locals {
  key_prefix = "arn:${var.context.partition}:secretsmanager:${var.context.region}:${var.context.account_id}:secret"
  gateway_environment = merge(var.gateway_environment, {
    KEY_SECRETS_PREFIX = "${local.name}/keys/"
    KEY_SECRETS_KMS    = var.key_arn
  })
  gateway_tools = {
    gateway-operate = { entry_point = ["python", "-m", "serving"], command = ["keys", "list"] }
    create-key      = { entry_point = ["python", "-c", file("${path.module}/create_key.py")], command = [] }
  }
}

data "aws_iam_policy_document" "operator" {
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket_arn]
  }
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = ["${var.bucket_arn}/releases/*", "${var.bucket_arn}/exports/*"]
  }
  statement {
    sid       = "Export"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${var.bucket_arn}/exports/*"]
  }
  statement {
    sid       = "NewKeys"
    actions   = ["secretsmanager:CreateSecret", "secretsmanager:PutSecretValue"]
    resources = ["${local.key_prefix}:${local.name}/keys/*"]
  }
  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }
}

module "operator_role" {
  source   = "../role"
  context  = var.context
  name     = "operator"
  service  = "ecs-tasks.amazonaws.com"
  policies = { operate = data.aws_iam_policy_document.operator.json }
}

module "operator_execution" {
  source         = "../execution_role"
  context        = var.context
  name           = "operator"
  repository_arn = var.images.gateway.repository_arn
  log_group_arn  = aws_cloudwatch_log_group.jobs.arn
  secret_arns    = [var.database_secret_arns["gateway"], var.application_secret_arns["mlflow-gateway"]]
  key_arn        = var.key_arn
}

module "gateway_task" {
  source      = "../task"
  for_each    = local.gateway_tools
  context     = var.context
  job         = each.key
  image       = var.images.gateway.uri
  size        = local.sizes["gateway-operate"]
  entry_point = each.value.entry_point
  command     = each.value.command
  environment = local.gateway_environment
  secrets = {
    FRAUD_DATABASE_URL       = "${var.database_secret_arns["gateway"]}:url::"
    MLFLOW_TRACKING_PASSWORD = var.application_secret_arns["mlflow-gateway"]
  }
  task_role_arn      = module.operator_role.arn
  execution_role_arn = module.operator_execution.arn
  log_group          = aws_cloudwatch_log_group.jobs.name
}
