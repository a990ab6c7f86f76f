# Every alarm means that somebody should look; docs/operations.md says at what.
locals {
  own      = { namespace = local.namespace, dimensions = {} }
  gateways = { namespace = local.namespace, dimensions = local.model }
  # at: more than (or, where below is true, less than) this rings; times periods of so many seconds
  alarms = {
    no-healthy-instance = {
      text      = "No instance of the gateway is healthy.", source = local.gateway.metrics.healthy, metric = local.gateway.metrics.healthy.metric
      statistic = "Minimum", period = 60, times = 2, below = true, at = 1, missing = "breaching"
    }
    cpu = {
      text      = "The gateway's CPU is above 80 % for 5 minutes. App Runner scales on concurrency: raise gateway.max or cpu.", source = local.gateway.metrics.cpu, metric = local.gateway.metrics.cpu.metric
      statistic = "Average", period = 60, times = 5, below = false, at = 80, missing = "notBreaching"
    }
    no-model = {
      text      = "A running instance has no model, for 2 minutes: every prediction is answered 503.", source = local.gateways, metric = "ModelLoaded"
      statistic = "Minimum", period = 60, times = 2, below = true, at = 1, missing = "notBreaching"
    }
    spool = {
      text      = "The decision database is away and predictions go to the local spool, which grows until it is back.", source = local.gateways, metric = "SpoolBytes"
      statistic = "Maximum", period = 60, times = 2, below = false, at = 0, missing = "notBreaching"
    }
    queue = {
      text      = "More than 1,000 predictions wait for their commit, for 3 minutes: the database is too slow.", source = local.gateways, metric = "StoreWaiting"
      statistic = "Maximum", period = 60, times = 3, below = false, at = 1000, missing = "notBreaching"
    }
    drift = {
      text      = "The monitor found a breach (exit code 4); its run in MLflow says which figure.", source = local.own, metric = "DriftBreached"
      statistic = "Sum", period = 300, times = 1, below = false, at = 0, missing = "notBreaching"
    }
    job-failed = {
      text      = "A job failed or could not start; its log stream says why.", source = local.own, metric = "JobFailed"
      statistic = "Sum", period = 300, times = 1, below = false, at = 0, missing = "notBreaching"
    }
    retraining-missed = {
      text      = "No retraining was finished for ${var.retraining.most_days} days.", source = local.own, metric = "RetrainingDone"
      statistic = "Sum", period = 86400, times = var.retraining.most_days, below = true, at = 1, missing = "breaching"
    }
    monitoring-missed = {
      text      = "The monitor missed two of its runs.", source = local.own, metric = "MonitoringDone"
      statistic = "Sum", period = 3600 * var.monitoring_hours, times = 2, below = true, at = 1, missing = "breaching"
    }
    undelivered = {
      text      = "A schedule could not start its job; the dead letter says why.", source = { namespace = "AWS/SQS", dimensions = { QueueName = aws_sqs_queue.undelivered.name } }, metric = "ApproximateNumberOfMessagesVisible"
      statistic = "Maximum", period = 300, times = 1, below = false, at = 0, missing = "notBreaching"
    }
    mlflow = {
      text      = "MLflow does not answer: gateways go on, nothing can be promoted.", source = { namespace = "AWS/ApplicationELB", dimensions = { LoadBalancer = aws_lb.mlflow.arn_suffix, TargetGroup = aws_lb_target_group.mlflow.arn_suffix } }, metric = "HealthyHostCount"
      statistic = "Minimum", period = 60, times = 5, below = true, at = 1, missing = "breaching"
    }
    database-storage = {
      text      = "The database has less than 5 GB left.", source = { namespace = "AWS/RDS", dimensions = { DBInstanceIdentifier = aws_db_instance.platform.identifier } }, metric = "FreeStorageSpace"
      statistic = "Minimum", period = 300, times = 2, below = true, at = 5000000000, missing = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "simple" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = each.value.source.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.source.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.times
  threshold           = each.value.at
  comparison_operator = each.value.below ? "LessThanThreshold" : "GreaterThanThreshold"
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${var.name}-errors"
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
        namespace   = local.namespace
        metric_name = metric_query.value
        dimensions  = local.model
        period      = 60
        stat        = "Sum"
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "latency" {
  alarm_name          = "${var.name}-latency"
  alarm_description   = "1 % of the predictions take longer than 500 ms, for 2 minutes."
  namespace           = local.namespace
  metric_name         = "Latency"
  dimensions          = local.model
  extended_statistic  = "p99"
  period              = 60
  evaluation_periods  = 2
  threshold           = 500
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

locals {
  # FRAUD_MODEL_NAME's default, the only dimension of the gateway's figures
  model = { Model = "fraud-ensemble" }
}
