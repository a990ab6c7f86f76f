# Terraform itself, one role for each environment. It manages these services in one region; roles only under the
# environment's prefix, and only within the boundary, so that it cannot make any role an administrator.
data "aws_iam_policy_document" "apply" {
  for_each = var.environments
  #checkov:skip=CKV_AWS_356:what Terraform creates has no ARN yet; region, prefix and boundary limit it
  #checkov:skip=CKV_AWS_111:writing is Terraform's work; region, prefix and boundary limit it
  #checkov:skip=CKV_AWS_109:roles only under the prefix and within the boundary
  #checkov:skip=CKV_AWS_108:the role runs in an environment that wants reviewers
  #checkov:skip=CKV2_AWS_40:no iam:*; see the statements about roles
  statement {
    sid = "Services"
    actions = [
      "apprunner:*", "application-autoscaling:*", "cloudwatch:*", "ec2:*", "ecs:*", "elasticloadbalancing:*",
      "events:*", "kms:*", "logs:*", "rds:*", "scheduler:*", "secretsmanager:*", "sns:*", "sqs:*", "wafv2:*",
    ]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }
  # Slack's integration answers from other regions than most platforms stand in
  statement {
    sid       = "ServicesWithoutRegion"
    actions   = ["budgets:*", "chatbot:*", "route53:*", "sts:GetCallerIdentity"]
    resources = ["*"]
  }
  statement {
    sid     = "Buckets"
    actions = ["s3:*"]
    resources = [
      "${local.prefix}:s3:::${each.value}-*",
      "${local.prefix}:s3:::${each.value}-*/*",
    ]
  }
  statement {
    sid       = "SeeRoles"
    actions   = ["iam:Get*", "iam:List*"]
    resources = ["*"]
  }
  statement {
    sid = "RolesWithinTheBoundary"
    actions = [
      "iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:AttachRolePolicy", "iam:DetachRolePolicy",
      "iam:PutRolePermissionsBoundary",
    ]
    resources = [local.platform_roles[each.key]]
    condition {
      test     = "StringEquals"
      variable = "iam:PermissionsBoundary"
      values   = [aws_iam_policy.boundary[each.key].arn]
    }
  }
  statement {
    sid = "Roles"
    actions = [
      "iam:DeleteRole", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole",
    ]
    resources = [local.platform_roles[each.key]]
  }
  statement {
    sid       = "HandOver"
    actions   = ["iam:PassRole"]
    resources = [local.platform_roles[each.key]]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = concat(local.gateway_services, ["chatbot.amazonaws.com", "scheduler.amazonaws.com"])
    }
  }
  statement {
    sid       = "ServiceLinkedRoles"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["${local.prefix}:iam::${local.account}:role/aws-service-role/*"]
  }
}

locals {
  secret = "${local.prefix}:secretsmanager:${var.region}:${local.account}:secret"
  platform_roles = {
    for environment, name in var.environments : environment => "${local.prefix}:iam::${local.account}:role/${name}-*"
  }
}

resource "aws_iam_role_policy" "apply" {
  for_each = var.environments
  name     = "apply"
  role     = aws_iam_role.github["${each.key}-apply"].id
  policy   = data.aws_iam_policy_document.apply[each.key].json
}

# The most that any role of an environment can ever do, whatever its own policy says. It reads files anywhere, since
# training data may be another's; it writes files, reads secrets and starts tasks of its own environment alone.
data "aws_iam_policy_document" "boundary" {
  for_each = var.environments
  #checkov:skip=CKV_AWS_356:a boundary grants nothing, it only limits
  #checkov:skip=CKV_AWS_111:a boundary grants nothing, it only limits
  #checkov:skip=CKV_AWS_108:a boundary grants nothing, it only limits
  #checkov:skip=CKV_AWS_109:a boundary grants nothing, it only limits
  #checkov:skip=CKV_AWS_107:a boundary grants nothing, it only limits
  statement {
    sid = "Most"
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetAuthorizationToken",
      "ecr:GetDownloadUrlForLayer", "kms:Decrypt", "kms:GenerateDataKey", "logs:CreateLogStream", "logs:PutLogEvents",
      "logs:PutRetentionPolicy", "s3:GetObject", "s3:ListBucket", "ssmmessages:*",
      "cloudwatch:Describe*", "cloudwatch:Get*", "cloudwatch:List*",
    ]
    resources = ["*"]
  }
  statement {
    sid       = "Files"
    actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"]
    resources = ["${local.prefix}:s3:::${each.value}-${local.account}-*"]
  }
  # and those that RDS makes for its master users
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = ["${local.secret}:${each.value}/*", "${local.secret}:rds!db-*"]
  }
  statement {
    sid       = "NewKeys"
    actions   = ["secretsmanager:CreateSecret", "secretsmanager:PutSecretValue"]
    resources = ["${local.secret}:${each.value}/keys/*"]
  }
  statement {
    sid       = "Tasks"
    actions   = ["ecs:RunTask", "ecs:TagResource"]
    resources = ["${local.ecs}:task-definition/${each.value}-*", "${local.ecs}:task/${each.value}/*"]
  }
  statement {
    sid       = "DeadLetters"
    actions   = ["sqs:SendMessage"]
    resources = ["${local.prefix}:sqs:${var.region}:${local.account}:${each.value}-*"]
  }
  statement {
    sid       = "HandOver"
    actions   = ["iam:PassRole"]
    resources = [local.platform_roles[each.key]]
  }
}

resource "aws_iam_policy" "boundary" {
  for_each    = var.environments
  name        = "${each.value}-boundary"
  description = "The most that a role of the platform can do"
  policy      = data.aws_iam_policy_document.boundary[each.key].json
}
