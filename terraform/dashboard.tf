# One page: traffic, decisions, latency, errors, drift, version.
locals {
  own_metric = { for name in ["Requests", "Errors", "Latency", "Approve", "Review", "Decline", "ModelLoaded", "StoreWaiting", "SpoolBytes"] : name => [local.namespace, name, "Model", local.model.Model] }
  charts = [
    { title = "Requests per minute", stat = "Sum", metrics = [local.own_metric["Requests"]] },
    { title = "Decisions per minute", stat = "Sum", metrics = [local.own_metric["Approve"], local.own_metric["Review"], local.own_metric["Decline"]] },
    { title = "Latency in ms, median and p99", stat = "p99", metrics = [concat(local.own_metric["Latency"], [{ stat = "p50" }]), local.own_metric["Latency"]] },
    { title = "Errors per minute", stat = "Sum", metrics = [local.own_metric["Errors"]] },
    { title = "Instances without a model, predictions waiting, spool in bytes", stat = "Maximum", metrics = [concat(local.own_metric["ModelLoaded"], [{ stat = "Minimum" }]), local.own_metric["StoreWaiting"], local.own_metric["SpoolBytes"]] },
    { title = "Drift breaches, jobs", stat = "Sum", metrics = [for name in ["DriftBreached", "MonitoringDone", "RetrainingDone", "JobFailed"] : [local.namespace, name]] },
    {
      title   = "CPU in percent, healthy instances", stat = "Average"
      metrics = [for metric in values(local.gateway.metrics) : concat([metric.namespace, metric.metric], flatten([for name, value in metric.dimensions : [name, value]]))]
    },
  ]
  chart_widgets = [for index, chart in local.charts : {
    type       = "metric", x = index % 2 * 12, y = floor(index / 2) * 6, width = 12, height = 6
    properties = { title = chart.title, stat = chart.stat, metrics = chart.metrics, period = 60, region = var.region, view = "timeSeries" }
  }]
  version_widget = {
    type = "log", x = 0, y = 24, width = 24, height = 6
    properties = {
      title = "Model versions gone live", region = var.region, view = "table"
      query = "SOURCE '${local.gateway.log_group}' | fields @timestamp, model_version, named_by, load_ms | filter message = \"model swapped\" | sort @timestamp desc | limit 20"
    }
  }
}

resource "aws_cloudwatch_dashboard" "platform" {
  dashboard_name = var.name
  dashboard_body = jsonencode({ widgets = concat(local.chart_widgets, [local.version_widget]) })
}
