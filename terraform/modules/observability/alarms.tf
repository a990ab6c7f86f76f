# Every alarm means that a person should look; docs/operations.md says at what.
locals {
  jobs     = { namespace = var.metrics.namespace, dimensions = {} }
  gateway  = var.metrics
  database = { namespace = "AWS/RDS", dimensions = { DBInstanceIdentifier = var.database_identifier } }
  mlflow   = { namespace = "AWS/ApplicationELB", dimensions = var.mlflow_load_balancer }
  queue    = { namespace = "AWS/SQS", dimensions = { QueueName = var.undelivered_queue } }

  # above or below: the figure beyond which it rings, after so many periods of so many seconds
  alarms = merge(
    local.gateway_alarms, local.job_alarms, local.store_alarms, var.models_live ? local.silence_alarms : {},
  )

  gateway_alarms = {
    cpu = {
      text = "The gateway's CPU is above 80 % for 5 minutes. App Runner scales on concurrency: raise max or cpu."
      from = var.gateway.metrics.cpu, metric = var.gateway.metrics.cpu.metric
      stat = "Average", period = 60, times = 5, above = 80, below = null, missing = "notBreaching"
    }
    no-model = {
      text = "A running instance has no model, for 2 minutes: every prediction is answered 503."
      from = local.gateway, metric = "ModelLoaded"
      stat = "Minimum", period = 60, times = 2, above = null, below = 1, missing = "notBreaching"
    }
    spool = {
      text = "The decision database is unreachable and predictions go to the local spool, which grows until it is back."
      from = local.gateway, metric = "SpoolBytes"
      stat = "Maximum", period = 60, times = 2, above = 0, below = null, missing = "notBreaching"
    }
    queue = {
      text = "More than 1,000 predictions wait for their commit, for 3 minutes: the database is too slow."
      from = local.gateway, metric = "StoreWaiting"
      stat = "Maximum", period = 60, times = 3, above = 1000, below = null, missing = "notBreaching"
    }
  }

  job_alarms = {
    drift = {
      text = "The monitor found a breach (exit code 4); its run in MLflow says which figure."
      from = local.jobs, metric = "DriftBreached"
      stat = "Sum", period = 300, times = 1, above = 0, below = null, missing = "notBreaching"
    }
    job-failed = {
      text = "A job failed or could not start; its log stream says why."
      from = local.jobs, metric = "JobFailed"
      stat = "Sum", period = 300, times = 1, above = 0, below = null, missing = "notBreaching"
    }
    undelivered = {
      text = "A schedule could not start its job; the dead letter says why."
      from = local.queue, metric = "ApproximateNumberOfMessagesVisible"
      stat = "Maximum", period = 300, times = 1, above = 0, below = null, missing = "notBreaching"
    }
  }

  # Once a model is live, silence rings as well.
  silence_alarms = {
    retraining-missed = {
      text = "No retraining was finished for ${var.retraining_days} days."
      from = local.jobs, metric = "RetrainingDone"
      stat = "Sum", period = 86400, times = var.retraining_days, above = null, below = 1, missing = "breaching"
    }
    monitoring-missed = {
      text = "The monitor missed two of its runs."
      from = local.jobs, metric = "MonitoringDone"
      stat = "Sum", period = 3600 * var.monitoring_hours, times = 2, above = null, below = 1, missing = "breaching"
    }
  }

  store_alarms = {
    mlflow = {
      text = "MLflow does not answer: gateways go on, nothing can be promoted."
      from = local.mlflow, metric = "HealthyHostCount"
      stat = "Minimum", period = 60, times = 5, above = null, below = 1, missing = "breaching"
    }
    database-storage = {
      text = "The database has less than 5 GB left."
      from = local.database, metric = "FreeStorageSpace"
      stat = "Minimum", period = 300, times = 2, above = null, below = 5000000000, missing = "notBreaching"
    }
    database-cpu = {
      text = "The database's CPU is above 80 % for 15 minutes: a larger database.instance_class."
      from = local.database, metric = "CPUUtilization"
      stat = "Average", period = 300, times = 3, above = 80, below = null, missing = "notBreaching"
    }
    database-connections = {
      text = "The database has more than ${var.most_connections} connections; beyond its limit it refuses new ones."
      from = local.database, metric = "DatabaseConnections"
      stat = "Maximum", period = 60, times = 5, above = var.most_connections, below = null, missing = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "simple" {
  for_each            = local.alarms
  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = each.value.from.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.from.dimensions
  statistic           = each.value.stat
  period              = each.value.period
  evaluation_periods  = each.value.times
  threshold           = each.value.above != null ? each.value.above : each.value.below
  comparison_operator = each.value.above != null ? "GreaterThanThreshold" : "LessThanThreshold"
  treat_missing_data  = each.value.missing
  alarm_actions       = [var.topic_arn]
  ok_actions          = [var.topic_arn]
}

# On ECS a target that is not healthy; on App Runner, whose count of instances is 0 without traffic, requests that meet
# no instance.
resource "aws_cloudwatch_metric_alarm" "no_healthy_instance" {
  alarm_name          = "${local.name}-no-healthy-instance"
  alarm_description   = "No instance of the gateway is healthy."
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  evaluation_periods  = 2
  treat_missing_data  = var.gateway.metrics.requests == null ? "breaching" : "notBreaching"
  alarm_actions       = [var.topic_arn]
  ok_actions          = [var.topic_arn]
  metric_query {
    id          = "healthy"
    label       = "healthy instances"
    return_data = var.gateway.metrics.requests == null
    metric {
      namespace   = var.gateway.metrics.healthy.namespace
      metric_name = var.gateway.metrics.healthy.metric
      dimensions  = var.gateway.metrics.healthy.dimensions
      period      = 60
      stat        = var.gateway.metrics.requests == null ? "Minimum" : "Maximum"
    }
  }
  dynamic "metric_query" {
    for_each = var.gateway.metrics.requests == null ? [] : [var.gateway.metrics.requests]
    content {
      id = "requests"
      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.metric
        dimensions  = metric_query.value.dimensions
        period      = 60
        stat        = "Sum"
      }
    }
  }
  dynamic "metric_query" {
    for_each = var.gateway.metrics.requests == null ? [] : [1]
    content {
      id          = "while_asked"
      label       = "instances while there are requests"
      expression  = "IF(FILL(requests, 0) > 0, FILL(healthy, 0), 1)"
      return_data = true
    }
  }
}
