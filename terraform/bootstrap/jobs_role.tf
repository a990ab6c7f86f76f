# Start the jobs and see how they end: workflows train and roll back without a way to MLflow.
locals {
  github_jobs = ["main", "monitor", "retrain", "rollback"]
}

data "aws_iam_policy_document" "jobs" {
  #checkov:skip=CKV_AWS_356:what a job's network is can be seen without a resource
  for_each = var.environments
  statement {
    sid       = "Run"
    actions   = ["ecs:RunTask"]
    resources = [for job in local.github_jobs : "${local.ecs}:task-definition/${each.value}-${job}:*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = ["${local.ecs}:cluster/${each.value}"]
    }
  }
  statement {
    sid       = "Follow"
    actions   = ["ecs:DescribeTasks"]
    resources = ["${local.ecs}:task/${each.value}/*"]
  }
  statement {
    sid       = "Tag"
    actions   = ["ecs:TagResource"]
    resources = ["${local.ecs}:task/${each.value}/*"]
    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RunTask"]
    }
  }
  statement {
    sid       = "Read"
    actions   = ["logs:GetLogEvents"]
    resources = ["${local.prefix}:logs:${var.region}:${local.account}:log-group:/ecs/${each.value}/jobs:*"]
  }
  statement {
    sid       = "FindTheNetwork"
    actions   = ["ec2:DescribeSecurityGroups", "ec2:DescribeSubnets"]
    resources = ["*"]
  }
  statement {
    sid     = "HandOverTheJobsRoles"
    actions = ["iam:PassRole"]
    resources = [
      "${local.prefix}:iam::${local.account}:role/${each.value}-pipelines",
      "${local.prefix}:iam::${local.account}:role/${each.value}-jobs-execution",
      "${local.prefix}:iam::${local.account}:role/${each.value}-promotion-execution",
    ]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "jobs" {
  for_each = var.environments
  name     = "jobs"
  role     = aws_iam_role.github["${each.key}-jobs"].id
  policy   = data.aws_iam_policy_document.jobs[each.key].json
}
