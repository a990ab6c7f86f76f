# Start the jobs and see how they end: workflows train and roll back without a way to MLflow.
locals {
  github_jobs = ["main", "retrain", "rollback"]
  ecs         = "${local.prefix}:ecs:${var.region}:${local.account}"
}

data "aws_iam_policy_document" "jobs" {
  statement {
    sid       = "Run"
    actions   = ["ecs:RunTask"]
    resources = [for job in local.github_jobs : "${local.ecs}:task-definition/${var.name}-${job}:*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = ["${local.ecs}:cluster/${var.name}"]
    }
  }
  statement {
    sid       = "Follow"
    actions   = ["ecs:DescribeTasks"]
    resources = ["${local.ecs}:task/${var.name}/*"]
  }
  statement {
    sid     = "HandOverTheJobsRoles"
    actions = ["iam:PassRole"]
    resources = [
      "${local.prefix}:iam::${local.account}:role/${var.name}-pipelines",
      "${local.prefix}:iam::${local.account}:role/${var.name}-jobs-execution",
    ]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "jobs" {
  name   = "jobs"
  role   = aws_iam_role.github["jobs"].id
  policy = data.aws_iam_policy_document.jobs.json
}
