# Of the whole account, unless its tag `project` is a cost allocation tag already; docs/aws.md says how it becomes one.
resource "aws_budgets_budget" "monthly" {
  name         = local.name
  budget_type  = "COST"
  limit_amount = tostring(var.budget.amount)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "cost_filter" {
    for_each = var.budget.by_tag ? [1] : []
    content {
      name   = "TagKeyValue"
      values = [format("user:project$%s", local.name)]
    }
  }
  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }
    content {
      comparison_operator       = "GREATER_THAN"
      threshold                 = notification.value
      threshold_type            = "PERCENTAGE"
      notification_type         = notification.key
      subscriber_sns_topic_arns = [var.topic_arn]
    }
  }
}
