# A role of one process, inside the bootstrap's boundary. Its ARN leaves this module once its policies are attached.
data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = [var.service]
    }
    # App Runner and the chat integration name no account when they assume a role
    dynamic "condition" {
      for_each = contains(["ecs-tasks.amazonaws.com", "scheduler.amazonaws.com"], var.service) ? [1] : []
      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [var.context.account_id]
      }
    }
  }
}

resource "aws_iam_role" "this" {
  name                 = "${var.context.name}-${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.context.boundary_arn
}

resource "aws_iam_role_policy" "this" {
  for_each = var.policies
  name     = each.key
  role     = aws_iam_role.this.id
  policy   = each.value
}
