# Two roles that change nothing. `plan` compares everything with the state, on the main branch: before a deployment,
# and every night. `review` is a pull request's and reads the state alone: it can say what a change of the tree would
# do, and code that is not reviewed yet gets to see no secret.
data "aws_iam_policy_document" "plan" {
  #checkov:skip=CKV_AWS_356:reading has no resource in most services; the region limits it
  #checkov:skip=CKV_AWS_108:secrets of this environment alone; Terraform reads a secret's version to compare it
  for_each = var.environments
  statement {
    sid = "See"
    actions = [
      "apprunner:Describe*", "apprunner:List*", "application-autoscaling:Describe*", "application-autoscaling:List*",
      "cloudwatch:Describe*", "cloudwatch:Get*", "cloudwatch:List*", "ec2:Describe*", "ecs:Describe*", "ecs:List*",
      "elasticloadbalancing:Describe*", "events:Describe*", "events:List*", "kms:Describe*", "kms:GetKey*", "kms:List*",
      "logs:Describe*", "logs:List*", "rds:Describe*", "rds:List*", "scheduler:Get*", "scheduler:List*",
      "secretsmanager:DescribeSecret", "secretsmanager:GetRandomPassword", "secretsmanager:GetResourcePolicy",
      "secretsmanager:List*", "sns:Get*", "sns:List*", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:List*",
      "wafv2:Get*", "wafv2:List*",
    ]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }
  statement {
    sid = "SeeWithoutRegion"
    actions = [
      "budgets:ListTagsForResource", "budgets:ViewBudget", "chatbot:Describe*", "chatbot:List*", "iam:Get*",
      "iam:List*", "route53:Get*", "route53:List*", "sts:GetCallerIdentity",
    ]
    resources = ["*"]
  }
  statement {
    sid = "SeeBuckets"
    actions = [
      "s3:GetAccelerateConfiguration", "s3:GetBucket*", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration",
      "s3:GetReplicationConfiguration", "s3:ListBucket",
    ]
    resources = ["${local.prefix}:s3:::${each.value}-*"]
  }
  statement {
    sid       = "State"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.state[each.key].arn}/*"]
  }
  statement {
    sid       = "KeepPlans"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.state[each.key].arn}/plans/*"]
  }
  statement {
    sid       = "SecretsToCompare"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = ["${local.secret}:${each.value}/*"]
  }
  statement {
    sid       = "KeyOfSecrets"
    actions   = ["kms:Decrypt"]
    resources = ["${local.prefix}:kms:${var.region}:${local.account}:key/*"]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${var.region}.amazonaws.com", "s3.${var.region}.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "review" {
  #checkov:skip=CKV_AWS_356:these three know no resource
  for_each = var.environments
  statement {
    sid       = "State"
    actions   = ["s3:GetObject", "s3:ListBucket"]
    resources = [aws_s3_bucket.state[each.key].arn, "${aws_s3_bucket.state[each.key].arn}/platform.tfstate"]
  }
  statement {
    sid       = "WhatEveryPlanAsks"
    actions   = ["ec2:DescribeAvailabilityZones", "secretsmanager:GetRandomPassword", "sts:GetCallerIdentity"]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "plan" {
  for_each = var.environments
  name     = "plan"
  role     = aws_iam_role.github["${each.key}-plan"].id
  policy   = data.aws_iam_policy_document.plan[each.key].json
}

resource "aws_iam_role_policy" "review" {
  for_each = var.environments
  name     = "review"
  role     = aws_iam_role.github["${each.key}-review"].id
  policy   = data.aws_iam_policy_document.review[each.key].json
}
