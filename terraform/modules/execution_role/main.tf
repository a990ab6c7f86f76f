# What starts a process before its own role counts: pull one image, write one log group, read the secrets it is given.
data "aws_iam_policy_document" "execution" {
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken knows no resource
  statement {
    sid       = "LogIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
  statement {
    sid = "Pull"
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer",
    ]
    resources = [var.repository_arn]
  }
  dynamic "statement" {
    for_each = var.log_group_arn == null ? [] : [var.log_group_arn]
    content {
      sid       = "Log"
      actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      resources = ["${statement.value}:*"]
    }
  }
  dynamic "statement" {
    for_each = length(var.secret_arns) > 0 ? [1] : []
    content {
      sid       = "Secrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = var.secret_arns
    }
  }
  dynamic "statement" {
    for_each = length(var.secret_arns) > 0 ? [1] : []
    content {
      sid       = "Key"
      actions   = ["kms:Decrypt"]
      resources = [var.key_arn]
    }
  }
}

module "role" {
  source   = "../role"
  context  = var.context
  name     = "${var.name}-execution"
  service  = var.service
  policies = { execution = data.aws_iam_policy_document.execution.json }
}
