# One page: traffic, decisions, latency, errors, drift, stores, version.
locals {
  gateway_metric = {
    for name in [
      "Requests", "Errors", "Latency", "Approve", "Review", "Decline", "ModelLoaded", "StoreWaiting", "SpoolBytes",
    ] :
    name => concat([var.metrics.namespace, name], flatten([for key, value in var.metrics.dimensions : [key, value]]))
  }
  charts = [
    { title = "Requests per minute", stat = "Sum", metrics = [local.gateway_metric["Requests"]] },
    {
      title   = "Decisions per minute", stat = "Sum"
      metrics = [for decision in ["Approve", "Review", "Decline"] : local.gateway_metric[decision]]
    },
    {
      title   = "Latency in ms, median and p99", stat = "p99"
      metrics = [concat(local.gateway_metric["Latency"], [{ stat = "p50" }]), local.gateway_metric["Latency"]]
    },
    { title = "Errors per minute", stat = "Sum", metrics = [local.gateway_metric["Errors"]] },
    {
      title = "Instances without a model, predictions waiting, spool in bytes", stat = "Maximum"
      metrics = [
        concat(local.gateway_metric["ModelLoaded"], [{ stat = "Minimum" }]),
        local.gateway_metric["StoreWaiting"], local.gateway_metric["SpoolBytes"],
      ]
    },
    {
      title = "Drift breaches, jobs", stat = "Sum"
      metrics = [
        for name in ["DriftBreached", "MonitoringDone", "RetrainingDone", "JobFailed"] : [var.metrics.namespace, name]
      ]
    },
    {
      title = "CPU in percent, healthy instances", stat = "Average"
      metrics = [
        for metric in [var.gateway.metrics.cpu, var.gateway.metrics.healthy] :
        concat([metric.namespace, metric.metric], flatten([for name, value in metric.dimensions : [name, value]]))
      ]
    },
    {
      title = "Database: CPU in percent, connections", stat = "Maximum"
      metrics = [
        for name in ["CPUUtilization", "DatabaseConnections"] :
        ["AWS/RDS", name, "DBInstanceIdentifier", var.database_identifier]
      ]
    },
    {
      title = "Drift: largest PSI and KS, figures beyond their limits", stat = "Maximum"
      metrics = [
        for name in ["psi_max", "ks_max", "breaches"] :
        concat([var.metrics.namespace, name], flatten([for key, value in var.metrics.dimensions : [key, value]]))
      ]
    },
  ]
  chart_widgets = [for index, chart in local.charts : {
    type = "metric", x = index % 2 * 12, y = floor(index / 2) * 6, width = 12, height = 6
    properties = {
      title  = chart.title, stat = chart.stat, metrics = chart.metrics
      period = 60, region = var.context.region, view = "timeSeries"
    }
  }]
  version_widget = {
    type = "log", x = 0, y = 30, width = 24, height = 6
    properties = {
      title = "Model versions gone live", region = var.context.region, view = "table"
      query = join(" | ", [
        "SOURCE '${var.gateway.log_group}'", "fields @timestamp, model_version, named_by, load_ms",
        "filter message = \"model swapped\"", "sort @timestamp desc", "limit 20",
      ])
    }
  }
}

resource "aws_cloudwatch_dashboard" "platform" {
  dashboard_name = local.name
  dashboard_body = jsonencode({ widgets = concat(local.chart_widgets, [local.version_widget]) })
}
