# How every job ended, written down by ECS itself: a job that was killed cannot forget to say so.
resource "aws_cloudwatch_log_group" "ended" {
  #checkov:skip=CKV_AWS_338:30 days as asked for; decisions are kept in the database, not in logs
  name              = "/aws/events/${local.name}-jobs"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_cloudwatch_event_rule" "jobs_stopped" {
  name        = "${local.name}-jobs-stopped"
  description = "Jobs that stopped, with their exit codes"
  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change"]
    detail = {
      clusterArn = [var.cluster_arn]
      lastStatus = ["STOPPED"]
      # operators see how their own commands end
      group = [
        for job in keys(local.pipeline_commands) : "family:${local.name}-${job}"
        if !contains(["operate", "access"], job)
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "jobs_stopped" {
  rule = aws_cloudwatch_event_rule.jobs_stopped.name
  arn  = aws_cloudwatch_log_group.ended.arn
}

data "aws_iam_policy_document" "events_to_logs" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.ended.arn}:*"]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com", "delivery.logs.amazonaws.com"]
    }
  }
}

resource "aws_cloudwatch_log_resource_policy" "events" {
  policy_name     = "${local.name}-events"
  policy_document = data.aws_iam_policy_document.events_to_logs.json
}

locals {
  exit   = "$.detail.containers[0].exitCode"
  group  = "$.detail.group"
  family = "family:${local.name}"
  # A first training counts as a finished retraining. Exit code 4 is a breach that the monitor found.
  patterns = {
    DriftBreached = "{ (${local.exit} = 4) && (${local.group} = \"${local.family}-monitor\") }"
    JobFailed     = "{ (${local.exit} NOT EXISTS) || ((${local.exit} != 0) && (${local.exit} != 4)) }"
    MonitoringDone = join(" ", [
      "{ ((${local.exit} = 0) || (${local.exit} = 4)) &&", "(${local.group} = \"${local.family}-monitor\") }",
    ])
    RetrainingDone = join(" ", [
      "{ (${local.exit} = 0) &&",
      "((${local.group} = \"${local.family}-retrain\") || (${local.group} = \"${local.family}-main\")) }",
    ])
  }
}

resource "aws_cloudwatch_log_metric_filter" "count" {
  for_each       = local.patterns
  name           = "${local.name}-${each.key}"
  log_group_name = aws_cloudwatch_log_group.ended.name
  pattern        = each.value
  metric_transformation {
    namespace = var.metric_namespace
    name      = each.key
    value     = "1"
  }
}
