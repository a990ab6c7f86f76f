# Log groups, what is counted in them, and the searches that people come back to.
locals {
  namespace = "Fraud"
  log_days  = 30
  log_groups = merge(
    {
      mlflow = "/ecs/${var.name}/mlflow"
      jobs   = "/ecs/${var.name}/jobs"
      ended  = "/aws/events/${var.name}-jobs"
      # RDS makes these itself, without an end to what they keep, unless they are there before it
      postgresql = "/aws/rds/instance/${var.name}/postgresql"
      upgrade    = "/aws/rds/instance/${var.name}/upgrade"
    },
    local.apprunner ? {} : { gateway = "/ecs/${local.service}" },
  )
}

resource "aws_cloudwatch_log_group" "ours" {
  #checkov:skip=CKV_AWS_338:30 days as asked for; decisions are kept in the database, not in logs
  for_each          = local.log_groups
  name              = each.value
  retention_in_days = local.log_days
  kms_key_id        = aws_kms_key.platform.arn
}

# App Runner makes its groups itself, without an end to what they keep: a schedule without code says 30 days every day.
resource "aws_scheduler_schedule" "log_retention" {
  for_each            = local.apprunner ? { application = module.gateway_apprunner[0].log_group, service = module.gateway_apprunner[0].other_log_groups[0] } : {}
  name                = "${var.name}-log-retention-${each.key}"
  description         = "${local.log_days} days for ${each.value}"
  schedule_expression = "rate(1 day)"
  kms_key_arn         = aws_kms_key.platform.arn
  flexible_time_window {
    mode = "OFF"
  }
  target {
    arn      = "${local.prefix}:scheduler:::aws-sdk:cloudwatchlogs:putRetentionPolicy"
    role_arn = aws_iam_role.process["scheduler"].arn
    input    = jsonencode({ LogGroupName = each.value, RetentionInDays = local.log_days })
    dead_letter_config {
      arn = aws_sqs_queue.undelivered.arn
    }
  }
}

# How every job ended, written down by ECS itself: a job that was killed cannot forget to say so.
resource "aws_cloudwatch_event_rule" "ended" {
  name        = "${var.name}-jobs-ended"
  description = "Jobs that stopped, with their exit codes"
  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change"]
    detail = {
      clusterArn = [aws_ecs_cluster.platform.arn]
      lastStatus = ["STOPPED"]
      group      = [for job in keys(local.jobs) : "family:${var.name}-${job}"]
    }
  })
}

resource "aws_cloudwatch_event_target" "ended" {
  rule = aws_cloudwatch_event_rule.ended.name
  arn  = aws_cloudwatch_log_group.ours["ended"].arn
}

data "aws_iam_policy_document" "events_to_logs" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.ours["ended"].arn}:*"]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com", "delivery.logs.amazonaws.com"]
    }
  }
}

resource "aws_cloudwatch_log_resource_policy" "events" {
  policy_name     = "${var.name}-events"
  policy_document = data.aws_iam_policy_document.events_to_logs.json
}

# The gateway's own figures (Latency, Requests, Errors, Approve, Review, Decline; every minute ModelLoaded, StoreWaiting,
# SpoolBytes) come in its lines, in the embedded metric format; these are counted from how jobs ended.
locals {
  exit = "$.detail.containers[0].exitCode"
  filters = {
    DriftBreached  = { group = aws_cloudwatch_log_group.ours["ended"].name, pattern = "{ ${local.exit} = 4 }" }
    JobFailed      = { group = aws_cloudwatch_log_group.ours["ended"].name, pattern = "{ (${local.exit} NOT EXISTS) || (${local.exit} = 2) || (${local.exit} = 3) || (${local.exit} > 4) || ((${local.exit} = 1) && ($.detail.group != \"family:${var.name}-monitor\")) }" }
    RetrainingDone = { group = aws_cloudwatch_log_group.ours["ended"].name, pattern = "{ (${local.exit} = 0) && ($.detail.group = \"family:${var.name}-retrain\") }" }
    MonitoringDone = { group = aws_cloudwatch_log_group.ours["ended"].name, pattern = "{ ((${local.exit} = 0) || (${local.exit} = 4)) && ($.detail.group = \"family:${var.name}-monitor\") }" }
  }
}

resource "aws_cloudwatch_log_metric_filter" "count" {
  for_each       = local.filters
  name           = "${var.name}-${each.key}"
  log_group_name = each.value.group
  pattern        = each.value.pattern
  metric_transformation {
    namespace = local.namespace
    name      = each.key
    value     = "1"
  }
}

locals {
  searches = {
    "errors"             = "filter level = \"ERROR\""
    "warnings"           = "filter level = \"WARNING\""
    "slower than 100 ms" = "filter latency_ms > 100 | sort latency_ms desc"
    "models gone live"   = "filter message = \"model swapped\" | display @timestamp, model_version, digest, named_by, load_ms"
    "declined"           = "filter decision = \"DECLINE\" | display @timestamp, request_id, fraud_score, latency_ms"
  }
}

resource "aws_cloudwatch_query_definition" "search" {
  for_each        = local.searches
  name            = "${var.name}/${each.key}"
  log_group_names = [local.gateway.log_group]
  query_string    = "fields @timestamp, level, message, request_id, latency_ms, fraud_score, decision | ${each.value} | limit 200"
}
