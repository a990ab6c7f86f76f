# A role per process, each able to do what its process does and no more. The bootstrap's boundary limits all of them.
locals {
  apprunner = var.compute == "apprunner"
  trusted = {
    gateway            = local.apprunner ? "tasks.apprunner.amazonaws.com" : "ecs-tasks.amazonaws.com"
    gateway-access     = local.apprunner ? "build.apprunner.amazonaws.com" : "ecs-tasks.amazonaws.com"
    mlflow             = "ecs-tasks.amazonaws.com"
    mlflow-execution   = "ecs-tasks.amazonaws.com"
    pipelines          = "ecs-tasks.amazonaws.com"
    jobs-execution     = "ecs-tasks.amazonaws.com"
    database-execution = "ecs-tasks.amazonaws.com"
    scheduler          = "scheduler.amazonaws.com"
  }
}

data "aws_iam_policy_document" "trust" {
  for_each = local.trusted
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = [each.value]
    }
    # App Runner names no account when it asks
    dynamic "condition" {
      for_each = endswith(each.value, "apprunner.amazonaws.com") ? [] : [local.account]
      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [condition.value]
      }
    }
  }
}

resource "aws_iam_role" "process" {
  for_each             = local.trusted
  name                 = "${var.name}-${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  permissions_boundary = local.boundary
}

locals {
  # process = places in the bucket, and whether it may write there
  bucket_access = {
    gateway   = { read = ["releases/*"], write = [] }
    pipelines = { read = ["releases/*", "data/*"], write = ["releases/*", "data/*"] }
    mlflow    = { read = ["artifacts/*"], write = ["artifacts/*"] }
  }
  foreign_data = startswith(var.training_data, "s3://") ? [split("/", trimprefix(var.training_data, "s3://"))[0]] : []
}

data "aws_iam_policy_document" "bucket_access" {
  for_each = local.bucket_access
  # without it a missing object cannot be told from a forbidden one
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.platform.arn]
  }
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = [for place in each.value.read : "${aws_s3_bucket.platform.arn}/${place}"]
  }
  dynamic "statement" {
    for_each = length(each.value.write) > 0 ? [each.value.write] : []
    content {
      sid       = "Write"
      actions   = concat(["s3:PutObject", "s3:AbortMultipartUpload"], each.key == "mlflow" ? ["s3:DeleteObject"] : [])
      resources = [for place in statement.value : "${aws_s3_bucket.platform.arn}/${place}"]
    }
  }
  dynamic "statement" {
    for_each = each.key == "pipelines" ? local.foreign_data : []
    content {
      sid       = "TrainingData"
      actions   = ["s3:GetObject", "s3:ListBucket"]
      resources = ["${local.prefix}:s3:::${statement.value}", "${local.prefix}:s3:::${statement.value}/*"]
    }
  }
  statement {
    sid       = "Key"
    actions   = length(each.value.write) > 0 ? ["kms:Decrypt", "kms:GenerateDataKey"] : ["kms:Decrypt"]
    resources = [aws_kms_key.platform.arn]
  }
}

resource "aws_iam_role_policy" "bucket_access" {
  for_each = local.bucket_access
  name     = "bucket"
  role     = aws_iam_role.process[each.key].id
  policy   = data.aws_iam_policy_document.bucket_access[each.key].json
}

locals {
  # App Runner reads secrets by the instance's role and pulls by the access role; ECS does both by the latter.
  starting = {
    gateway-access = {
      image   = "gateway"
      logs    = local.apprunner ? [] : ["${local.log_arn}:/ecs/${local.service}:*"]
      secrets = local.apprunner ? [] : local.gateway_secret_arns
    }
    mlflow-execution = {
      image   = "mlflow"
      logs    = ["${local.log_arn}:/ecs/${var.name}/mlflow:*"]
      secrets = local.mlflow_secret_arns
    }
    jobs-execution = {
      image   = "pipelines"
      logs    = ["${local.log_arn}:/ecs/${var.name}/jobs:*"]
      secrets = local.job_secret_arns
    }
    database-execution = {
      image   = "pipelines"
      logs    = ["${local.log_arn}:/ecs/${var.name}/jobs:*"]
      secrets = concat([local.master_secret_arn], [for secret in aws_secretsmanager_secret.database : secret.arn])
    }
  }
  log_arn = "${local.prefix}:logs:${var.region}:${local.account}:log-group"
}

data "aws_iam_policy_document" "starting" {
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken knows no resource
  for_each = local.starting
  statement {
    sid       = "LogIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
  statement {
    sid       = "Pull"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer"]
    resources = [data.aws_ecr_repository.image[each.value.image].arn]
  }
  dynamic "statement" {
    for_each = length(each.value.logs) > 0 ? [each.value.logs] : []
    content {
      sid       = "Log"
      actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      resources = statement.value
    }
  }
  dynamic "statement" {
    for_each = length(each.value.secrets) > 0 ? [each.value.secrets] : []
    content {
      sid       = "Secrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = statement.value
    }
  }
  dynamic "statement" {
    for_each = length(each.value.secrets) > 0 ? [aws_kms_key.platform.arn] : []
    content {
      sid       = "Key"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "starting" {
  for_each = local.starting
  name     = "start"
  role     = aws_iam_role.process[each.key].id
  policy   = data.aws_iam_policy_document.starting[each.key].json
}

data "aws_iam_policy_document" "instance" {
  #checkov:skip=CKV_AWS_356:X-Ray's two actions know no resource
  #checkov:skip=CKV_AWS_111:X-Ray's two actions know no resource
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = local.gateway_secret_arns
  }
  statement {
    sid       = "Trace"
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "instance" {
  count  = local.apprunner ? 1 : 0
  name   = "secrets"
  role   = aws_iam_role.process["gateway"].id
  policy = data.aws_iam_policy_document.instance.json
}

data "aws_iam_policy_document" "scheduler" {
  statement {
    sid       = "Run"
    actions   = ["ecs:RunTask"]
    resources = [for job in keys(local.scheduled) : "${aws_ecs_task_definition.job[job].arn_without_revision}:*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.platform.arn]
    }
  }
  statement {
    sid       = "HandOver"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.process["pipelines"].arn, aws_iam_role.process["jobs-execution"].arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
  statement {
    sid       = "DeadLetters"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.undelivered.arn]
  }
  statement {
    sid       = "QueuesKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.platform.arn]
  }
  dynamic "statement" {
    for_each = local.apprunner ? ["${local.log_arn}:/aws/apprunner/${local.service}/*"] : []
    content {
      sid       = "LogRetention"
      actions   = ["logs:PutRetentionPolicy"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "scheduler" {
  name   = "schedules"
  role   = aws_iam_role.process["scheduler"].id
  policy = data.aws_iam_policy_document.scheduler.json
}
