# One key for everything that rests: bucket, database, secrets, logs, queue, topic.
data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:a key's policy speaks of this key only, and without the account nobody could manage it
  #checkov:skip=CKV_AWS_111:a key's policy speaks of this key only
  #checkov:skip=CKV_AWS_356:in a key's policy * is this key
  statement {
    sid       = "AccountByItsPolicies"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${var.context.partition}:iam::${var.context.account_id}:root"]
    }
  }
  # CloudWatch Logs names the group it encrypts, and no account: this condition is the one that its documentation gives
  statement {
    sid       = "LogGroups"
    actions   = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${var.context.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${var.context.partition}:logs:${var.context.region}:${var.context.account_id}:log-group:*"]
    }
  }
  statement {
    sid       = "AlarmsSchedulesAndBudgets"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]
    principals {
      type = "Service"
      identifiers = [
        "budgets.amazonaws.com", "cloudwatch.amazonaws.com", "events.amazonaws.com", "scheduler.amazonaws.com",
      ]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.context.account_id]
    }
  }
}

resource "aws_kms_key" "platform" {
  description             = "${var.context.name}: everything at rest"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "platform" {
  name          = "alias/${var.context.name}"
  target_key_id = aws_kms_key.platform.key_id
}
