# Where alarms go, and the two alarms on the gateway's traffic that a deployment on ECS goes back on.
resource "aws_sns_topic" "alarms" {
  name              = "${var.context.name}-alarms"
  kms_master_key_id = var.key_id
}

data "aws_iam_policy_document" "topic" {
  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.context.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.topic.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = toset(var.emails)
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

# Slack, by AWS's chat integration: no webhook address that could leak.
module "chat_role" {
  source  = "../role"
  count   = var.slack == null ? 0 : 1
  context = var.context
  name    = "chat"
  service = "chatbot.amazonaws.com"
}

resource "aws_chatbot_slack_channel_configuration" "alarms" {
  count                 = var.slack == null ? 0 : 1
  configuration_name    = "${var.context.name}-alarms"
  iam_role_arn          = module.chat_role[0].arn
  slack_team_id         = var.slack.team_id
  slack_channel_id      = var.slack.channel_id
  sns_topic_arns        = [aws_sns_topic.alarms.arn]
  guardrail_policy_arns = ["arn:${var.context.partition}:iam::aws:policy/CloudWatchReadOnlyAccess"]
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${var.context.name}-errors"
  alarm_description   = "More than 5 % of the predictions were answered by a status from 500, for 2 minutes."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
  evaluation_periods  = 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  metric_query {
    id          = "share"
    label       = "errors in percent"
    expression  = "100 * errors / requests"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = { errors = "Errors", requests = "Requests" }
    content {
      id = metric_query.key
      metric {
        namespace   = var.metrics.namespace
        metric_name = metric_query.value
        dimensions  = var.metrics.dimensions
        period      = 60
        stat        = "Sum"
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "latency" {
  alarm_name          = "${var.context.name}-latency"
  alarm_description   = "1 % of the predictions take longer than 500 ms, for 2 minutes."
  namespace           = var.metrics.namespace
  metric_name         = "Latency"
  dimensions          = var.metrics.dimensions
  extended_statistic  = "p99"
  period              = 60
  evaluation_periods  = 2
  threshold           = 500
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
