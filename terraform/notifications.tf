resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = aws_kms_key.platform.key_id
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
      values   = [local.account]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.topic.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = toset(var.alarm_emails)
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

# Slack, by AWS's chat integration: no webhook address that could leak.
data "aws_iam_policy_document" "chat_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["chatbot.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "chat" {
  count                = var.slack == null ? 0 : 1
  name                 = "${var.name}-chat"
  assume_role_policy   = data.aws_iam_policy_document.chat_trust.json
  permissions_boundary = local.boundary
}

resource "aws_chatbot_slack_channel_configuration" "alarms" {
  count                 = var.slack == null ? 0 : 1
  configuration_name    = "${var.name}-alarms"
  iam_role_arn          = aws_iam_role.chat[0].arn
  slack_team_id         = var.slack.team_id
  slack_channel_id      = var.slack.channel_id
  sns_topic_arns        = [aws_sns_topic.alarms.arn]
  guardrail_policy_arns = ["${local.prefix}:iam::aws:policy/CloudWatchReadOnlyAccess"]
}
