# Work that ends: each job is one command of an image as an ECS task, started by a schedule, a workflow or an operator.
locals {
  name = var.context.name
  # the default sizes; var.sizes replaces them one by one
  sizes = merge({
    main     = { cpu = 4096, memory = 16384 }
    retrain  = { cpu = 4096, memory = 16384 }
    monitor  = { cpu = 1024, memory = 4096 }
    rollback = { cpu = 512, memory = 2048 }
    # promote, approve, policy, history, verify
    operate = { cpu = 1024, memory = 4096 }
    # who may do what in MLflow, by its administrator
    access = { cpu = 512, memory = 2048 }
    # keys, purge, replay
    gateway-operate = { cpu = 512, memory = 2048 }
  }, var.sizes)

  ecs_arn   = "arn:${var.context.partition}:ecs:${var.context.region}:${var.context.account_id}"
  pipelines = ["python", "-m", "pipelines"]
  pipeline_commands = {
    main     = ["main"]
    retrain  = ["retrain", "--reason", "schedule"]
    monitor  = ["monitor"]
    rollback = ["rollback", "--reason", "by hand"]
    operate  = ["history"]
    access   = ["access", "show"]
  }
  # MLflow's user and the secrets of each job: what moves Production has the one user who may, and the key to sign with
  identities = {
    pipelines = { user = "pipelines", password = var.application_secret_arns["mlflow-pipelines"], key = null }
    promotion = {
      user     = "promotion"
      password = var.application_secret_arns["mlflow-promotion"]
      key      = var.application_secret_arns["signing-key"]
    }
    administrator = { user = "admin", password = var.application_secret_arns["mlflow-admin"], key = null }
  }
  identity_of = {
    main     = "promotion"
    retrain  = "promotion"
    rollback = "promotion"
    operate  = "promotion"
    monitor  = "pipelines"
    access   = "administrator"
  }
  scheduled = {
    retrain = var.retraining_schedule
    monitor = "rate(${var.monitoring_hours} hour${var.monitoring_hours > 1 ? "s" : ""})"
  }

  pipelines_environment = merge({
    AWS_DEFAULT_REGION       = var.context.region
    DO_NOT_TRACK             = "1"
    FRAUD_DATA               = var.training_data
    FRAUD_EMF_NAMESPACE      = var.metric_namespace
    FRAUD_RELEASES_URI       = var.releases_uri
    FRAUD_STATE_DIR          = "/state"
    GX_ANALYTICS_ENABLED     = "false"
    HOME                     = "/tmp"
    MLFLOW_DISABLE_TELEMETRY = "true"
    MLFLOW_TRACKING_URI      = var.mlflow_url
  }, length(var.trusted_keys) > 0 ? { FRAUD_TRUSTED_KEYS = join(",", var.trusted_keys) } : {}, var.environment)
  pipelines_secrets = {
    FRAUD_DATABASE_URL = "${var.database_secret_arns["pipelines"]}:decisions_url::"
    FRAUD_STUDY_URL    = "${var.database_secret_arns["pipelines"]}:url::"
  }
}

resource "aws_cloudwatch_log_group" "jobs" {
  #checkov:skip=CKV_AWS_338:30 days as asked for; decisions are kept in the database, not in logs
  name              = "/ecs/${local.name}/jobs"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

module "pipelines_role" {
  source   = "../role"
  context  = var.context
  name     = "pipelines"
  service  = "ecs-tasks.amazonaws.com"
  policies = { bucket = var.pipelines_bucket_policy }
}

module "pipelines_execution" {
  source         = "../execution_role"
  for_each       = local.identities
  context        = var.context
  name           = each.key == "pipelines" ? "jobs" : each.key
  repository_arn = var.images.pipelines.repository_arn
  log_group_arn  = aws_cloudwatch_log_group.jobs.arn
  secret_arns    = compact([var.database_secret_arns["pipelines"], each.value.password, each.value.key])
  key_arn        = var.key_arn
}

moved {
  from = module.pipelines_execution
  to   = module.pipelines_execution["pipelines"]
}

module "task" {
  source      = "../task"
  for_each    = local.pipeline_commands
  context     = var.context
  job         = each.key
  image       = var.images.pipelines.uri
  size        = local.sizes[each.key]
  entry_point = local.pipelines
  command     = each.value
  environment = merge(local.pipelines_environment, {
    MLFLOW_TRACKING_USERNAME = local.identities[local.identity_of[each.key]].user
  })
  secrets = merge(
    local.pipelines_secrets,
    { MLFLOW_TRACKING_PASSWORD = local.identities[local.identity_of[each.key]].password },
    local.identity_of[each.key] == "promotion" ? { FRAUD_SIGNING_KEY = local.identities.promotion.key } : {},
  )
  task_role_arn      = module.pipelines_role.arn
  execution_role_arn = module.pipelines_execution[local.identity_of[each.key]].arn
  log_group          = aws_cloudwatch_log_group.jobs.name
}

module "scheduler_role" {
  source   = "../role"
  context  = var.context
  name     = "scheduler"
  service  = "scheduler.amazonaws.com"
  policies = { schedules = data.aws_iam_policy_document.scheduler.json }
}

data "aws_iam_policy_document" "scheduler" {
  statement {
    sid       = "Run"
    actions   = ["ecs:RunTask"]
    resources = [for job in keys(local.scheduled) : "${module.task[job].arn_without_revision}:*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [var.cluster_arn]
    }
  }
  # tags of the task definition go to the task, so that its cost has an owner
  statement {
    sid       = "Tag"
    actions   = ["ecs:TagResource"]
    resources = ["${local.ecs_arn}:task/${local.name}/*"]
    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RunTask"]
    }
  }
  statement {
    sid     = "HandOver"
    actions = ["iam:PassRole"]
    resources = concat(
      [module.pipelines_role.arn],
      [for job in keys(local.scheduled) : module.pipelines_execution[local.identity_of[job]].arn],
    )
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
    resources = [var.key_arn]
  }
  dynamic "statement" {
    for_each = length(var.foreign_log_groups) > 0 ? [1] : []
    content {
      sid     = "LogRetention"
      actions = ["logs:PutRetentionPolicy"]
      resources = [
        "arn:${var.context.partition}:logs:${var.context.region}:${var.context.account_id}:log-group:/aws/apprunner/*",
      ]
    }
  }
}

resource "aws_scheduler_schedule" "job" {
  for_each            = local.scheduled
  name                = "${local.name}-${each.key}"
  description         = "python -m pipelines ${each.key}"
  state               = var.models_live ? "ENABLED" : "DISABLED"
  schedule_expression = each.value
  kms_key_arn         = var.key_arn
  flexible_time_window {
    mode = "OFF"
  }
  target {
    arn      = var.cluster_arn
    role_arn = module.scheduler_role.arn
    ecs_parameters {
      # without its revision, so that a run takes the newest
      task_definition_arn     = module.task[each.key].arn_without_revision
      launch_type             = "FARGATE"
      enable_ecs_managed_tags = true
      propagate_tags          = "TASK_DEFINITION"
      network_configuration {
        subnets         = var.subnet_ids
        security_groups = [var.security_group_id]
      }
    }
    retry_policy {
      maximum_retry_attempts       = 5
      maximum_event_age_in_seconds = 3600
    }
    dead_letter_config {
      arn = aws_sqs_queue.undelivered.arn
    }
  }
}

# App Runner makes its log groups itself, without an end to what they keep: a schedule without code says so every day.
resource "aws_scheduler_schedule" "log_retention" {
  for_each            = var.foreign_log_groups
  name                = "${local.name}-log-retention-${each.key}"
  description         = "${var.log_days} days for ${each.value}"
  schedule_expression = "rate(1 day)"
  kms_key_arn         = var.key_arn
  flexible_time_window {
    mode = "OFF"
  }
  target {
    arn      = "arn:${var.context.partition}:scheduler:::aws-sdk:cloudwatchlogs:putRetentionPolicy"
    role_arn = module.scheduler_role.arn
    input    = jsonencode({ LogGroupName = each.value, RetentionInDays = var.log_days })
    dead_letter_config {
      arn = aws_sqs_queue.undelivered.arn
    }
  }
}

# Runs that never began: an alarm watches its length.
resource "aws_sqs_queue" "undelivered" {
  name                      = "${local.name}-undelivered"
  message_retention_seconds = 1209600
  kms_master_key_id         = var.key_id
}
